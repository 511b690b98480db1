//! Names of functions as breakpoints give them: `module:qualname`, with the wildcards of
//! `fnmatch`.
//!
//! `*` stands for anything, dots included, `?` for one character, `[a-z]` and `[!a-z]` for one
//! of or outside of a set; case counts. What a user cannot have meant is left out unless the
//! pattern names it: functions inside of functions (`<locals>`), lambdas, generator
//! expressions and the `__annotate__` functions that compilers make from 3.14 on.

use std::fmt;
use std::str::FromStr;

/// A function, or the functions that fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionPattern {
    module: Option<String>,
    qualname: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Why a text names no function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no function: write module:function, module:Class.method or module:Class.*")]
pub struct FunctionPatternError(String);

impl FunctionPattern {
    /// Reads `module:qualname` or a qualified name alone; space around it does not count.
    pub fn parse(text: &str) -> Result<Self, FunctionPatternError> {
        let name = text.trim();
        let (module, qualname) = match name.split_once(':') {
            Some((module, qualname)) => (Some(module), qualname),
            None => (None, name),
        };
        let is_name = |part: &str| {
            let odd = |c: char| c.is_whitespace() || "/\\():,\"'".contains(c);
            !part.is_empty() && !part.split('.').any(str::is_empty) && !part.contains(odd)
        };
        // The names of generic parameters hold spaces; nobody can want to stop in them.
        if !is_name(qualname) || module.is_some_and(|module| !is_name(module)) {
            return Err(FunctionPatternError(name.to_owned()));
        }
        Ok(Self {
            module: module.map(str::to_owned),
            qualname: qualname.to_owned(),
            tokens: tokens(qualname),
        })
    }

    /// The module, where one is named; it has no wildcards.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// The qualified name, or the pattern for it, as it was written.
    #[must_use]
    pub fn qualname(&self) -> &str {
        &self.qualname
    }

    /// Whether a function with this `co_qualname` is meant.
    #[must_use]
    pub fn matches(&self, qualname: &str) -> bool {
        let (own, last) = (last_part(&self.qualname), last_part(qualname));
        let is_nested = qualname.contains("<locals>") && !self.qualname.contains("<locals>");
        let is_unnamed = last.starts_with('<') && !own.starts_with('<');
        let is_annotations = last == "__annotate__" && own != last;
        !is_nested && !is_unnamed && !is_annotations && fits(&self.tokens, qualname)
    }
}

impl FromStr for FunctionPattern {
    type Err = FunctionPatternError;

    fn from_str(text: &str) -> Result<Self, FunctionPatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}:")?;
        }
        f.write_str(&self.qualname)
    }
}

/// What stands behind the last dot of a qualified name.
pub(crate) fn last_part(qualname: &str) -> &str {
    qualname.rsplit('.').next().unwrap_or(qualname)
}

fn tokens(pattern: &str) -> Vec<Token> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&char) = chars.get(at) {
        at += 1;
        tokens.push(match char {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match set(&chars[at..]) {
                Some((set, length)) => {
                    at += length;
                    set
                }
                // Without its end it stands for itself.
                None => Token::Char('['),
            },
            char => Token::Char(char),
        });
    }
    tokens
}

/// A set whose `[` was read, and its length; a `]` in front is one of its characters.
fn set(chars: &[char]) -> Option<(Token, usize)> {
    let negated = chars.first() == Some(&'!');
    let start = usize::from(negated);
    let length = chars.iter().skip(start + 1).position(|&char| char == ']')? + 1;
    let mut members = &chars[start..start + length];
    let mut ranges = Vec::new();
    while let Some((&from, rest)) = members.split_first() {
        if let ['-', to, rest @ ..] = rest {
            ranges.push((from, *to));
            members = rest;
        } else {
            ranges.push((from, from));
            members = rest;
        }
    }
    Some((Token::Set { negated, ranges }, start + length + 1))
}

/// Goes back to the last `*` alone, so that the time is at most that of every token at every
/// character.
fn fits(tokens: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let is_fit = match (tokens.get(token), text.get(at)) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            (Some(Token::Char(char)), Some(other)) => char == other,
            (Some(Token::One), Some(_)) => true,
            (Some(Token::Set { negated, ranges }), Some(other)) => {
                let is_in = ranges.iter().any(|(from, to)| (from..=to).contains(&other));
                is_in != *negated
            }
            (_, None) => return false,
            (None, Some(_)) => false,
        };
        if is_fit {
            token += 1;
            at += 1;
        } else if let Some((any, from)) = star {
            star = Some((any, from + 1));
            token = any + 1;
            at = from + 1;
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests;
