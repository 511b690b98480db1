//! Where the parts of a replacement field end, found as CPython finds them.
//!
//! An expression ends at a `}`, `!`, `:` or `=` outside of brackets and strings that is no
//! part of `!=`, `==`, `<=` or `>=` (`fstring_find_expr` in `Parser/string_parser.c` up to
//! 3.11, the tokenizer since PEP 701). A `:` or `=` there ends it even behind a lambda and in
//! `:=`, as in CPython. Fields of f-strings inside may hold any quote, as PEP 701 has it;
//! which version compiles that is not known here.

use super::template::TemplateErrorKind;

/// CPython's limit for brackets (`MAXLEVEL` in `Parser/lexer/state.h`).
const MAX_BRACKETS: usize = 200;
/// f-strings in fields of f-strings.
const MAX_STRINGS: usize = 16;
/// A field in the format spec of a field may have a spec, but no fields in that.
const MAX_SPECS: usize = 2;

/// What is wrong, and the byte at which.
pub(super) type Problem = (TemplateErrorKind, usize);

/// The parts of a field as byte offsets in the text.
#[derive(Clone, Debug)]
pub(super) struct RawField {
    /// The expression, with the space around it.
    pub(super) expression: (usize, usize),
    /// Where the text that `=` shows ends: behind the `=` and the space that follows.
    pub(super) shown: Option<usize>,
    pub(super) conversion: Option<u8>,
    pub(super) spec: Option<(usize, usize)>,
    /// Fields in the spec, without their braces' positions: each with those.
    pub(super) nested: Vec<(usize, RawField, usize)>,
}

/// Reads a text from a byte on.
pub(super) struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    pub(super) at: usize,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    /// Reads the field whose `{` was just read; stops behind its `}`.
    pub(super) fn field(&mut self) -> Result<RawField, Problem> {
        self.field_in(0, 0)
    }

    fn field_in(&mut self, specs: usize, strings: usize) -> Result<RawField, Problem> {
        let open = self.at - 1;
        let unclosed = (TemplateErrorKind::Unclosed, open);
        let start = self.at;
        self.expression(open, strings)?;
        let expression = (start, self.at);
        let written = self.text[start..self.at].trim();
        if written.is_empty() {
            return Err((TemplateErrorKind::Empty, open));
        }
        let mut shown = None;
        if self.peek(0) == Some(b'=') {
            self.at += 1;
            self.space();
            shown = Some(self.at);
        }
        let mut conversion = None;
        if self.peek(0) == Some(b'!') {
            self.at += 1;
            conversion = self.peek(0).filter(|letter| b"rsa".contains(letter));
            if conversion.is_none() {
                return Err((TemplateErrorKind::Conversion, self.at - 1));
            }
            self.at += 1;
            self.space();
        }
        let mut spec = None;
        let mut nested = Vec::new();
        if self.peek(0) == Some(b':') {
            if is_lambda(written) {
                return Err((TemplateErrorKind::Lambda, open));
            }
            self.at += 1;
            let start = self.at;
            loop {
                match self.peek(0).ok_or(unclosed.clone())? {
                    b'}' => break,
                    b'{' if specs + 1 == MAX_SPECS => {
                        return Err((TemplateErrorKind::TooDeep, self.at));
                    }
                    b'{' => {
                        let open = self.at;
                        self.at += 1;
                        let field = self.field_in(specs + 1, strings)?;
                        nested.push((open, field, self.at));
                    }
                    _ => self.at += 1,
                }
            }
            spec = Some((start, self.at));
        }
        match self.peek(0) {
            Some(b'}') => self.at += 1,
            Some(_) => return Err((TemplateErrorKind::Trailing, self.at)),
            None => return Err(unclosed),
        }
        Ok(RawField {
            expression,
            shown,
            conversion,
            spec,
            nested,
        })
    }

    fn space(&mut self) {
        while self
            .peek(0)
            .is_some_and(|byte| b" \t\n\r\x0c".contains(&byte))
        {
            self.at += 1;
        }
    }

    /// Goes to the byte that ends the expression of the field opened at `open`.
    fn expression(&mut self, open: usize, strings: usize) -> Result<(), Problem> {
        let mut brackets: Vec<u8> = Vec::new();
        loop {
            let unclosed = || (TemplateErrorKind::Unclosed, open);
            let byte = self.peek(0).ok_or_else(unclosed)?;
            match byte {
                b'\'' | b'"' => self.string(b"", strings)?,
                b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. => self.word(strings)?,
                // A comment takes the brace with it.
                b'#' => {
                    while self.peek(0).ok_or_else(unclosed)? != b'\n' {
                        self.at += 1;
                    }
                }
                b'(' | b'[' | b'{' => {
                    if brackets.len() == MAX_BRACKETS {
                        return Err((TemplateErrorKind::TooDeep, self.at));
                    }
                    brackets.push(byte);
                    self.at += 1;
                }
                b'}' if brackets.is_empty() => return Ok(()),
                b')' | b']' | b'}' => {
                    let opened = match byte {
                        b')' => b'(',
                        b']' => b'[',
                        _ => b'{',
                    };
                    if brackets.pop() != Some(opened) {
                        return Err((TemplateErrorKind::Bracket(byte.into()), self.at));
                    }
                    self.at += 1;
                }
                b'!' | b'=' | b'<' | b'>' if self.peek(1) == Some(b'=') => self.at += 2,
                b'!' | b':' | b'=' if brackets.is_empty() => return Ok(()),
                b'\\' => self.at = self.bytes.len().min(self.at + 2),
                _ => self.at += 1,
            }
        }
    }

    /// A name, number or keyword, and the string that it is the prefix of.
    fn word(&mut self, strings: usize) -> Result<(), Problem> {
        let start = self.at;
        while let Some(b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80..) = self.peek(0) {
            self.at += 1;
        }
        let prefix = &self.bytes[start..self.at];
        let is_prefix = prefix.len() <= 2 && prefix.iter().all(|byte| b"rRbBuUfFtT".contains(byte));
        match self.peek(0) {
            Some(b'\'' | b'"') if is_prefix => self.string(prefix, strings),
            _ => Ok(()),
        }
    }

    /// A string literal from its quote on.
    fn string(&mut self, prefix: &[u8], strings: usize) -> Result<(), Problem> {
        let start = self.at;
        let quote = self.bytes[start];
        let unterminated = (TemplateErrorKind::String, start);
        let raw = prefix.iter().any(|byte| b"rR".contains(byte));
        let fields = prefix.iter().any(|byte| b"fFtT".contains(byte));
        let triple = self.bytes[start..].starts_with(&[quote; 3]);
        let quotes = if triple { 3 } else { 1 };
        self.at += quotes;
        if fields && strings == MAX_STRINGS {
            return Err((TemplateErrorKind::TooDeep, start));
        }
        loop {
            let byte = self.peek(0).ok_or(unterminated.clone())?;
            match byte {
                _ if byte == quote && self.closes(quote, quotes) => {
                    self.at += quotes;
                    return Ok(());
                }
                b'\n' if !triple => return Err(unterminated),
                // `\N{...}` names a character; `\{` starts a field behind a backslash.
                b'\\' if fields && !raw && self.bytes[self.at..].starts_with(b"\\N{") => {
                    while self.peek(0).ok_or(unterminated.clone())? != b'}' {
                        self.at += 1;
                    }
                }
                b'\\' if fields && matches!(self.peek(1), Some(b'{' | b'}')) => self.at += 1,
                b'\\' => self.at = self.bytes.len().min(self.at + 2),
                b'{' if fields && self.peek(1) == Some(b'{') => self.at += 2,
                b'{' if fields => {
                    self.at += 1;
                    self.field_in(0, strings + 1)?;
                }
                _ => self.at += 1,
            }
        }
    }

    fn closes(&self, quote: u8, quotes: usize) -> bool {
        (1..quotes).all(|ahead| self.peek(ahead) == Some(quote))
    }
}

/// Whether the text starts with the keyword.
fn is_lambda(text: &str) -> bool {
    let rest = text.strip_prefix("lambda");
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()))
}
