//! Log messages: text with replacement fields, `request {n} took {t:.3f}s`.
//!
//! A field is that of an f-string: `{expression}`, `{expression!r}`, `{expression:spec}`,
//! `{expression=}`; a spec may hold fields. `{{` and `}}` stand for braces. A `}` that closes
//! nothing is text, as other Python debuggers have it; an empty `{}` is an error, as the
//! mistake would otherwise show only at the first hit. Backslashes are text: the message is
//! data, not a literal. Each field becomes an expression of its own whose value is the finished
//! text, so that one that fails does not take the others with it.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::expression::{Expression, NotSpliced, Purity};
use super::scan::{Problem, RawField, Scan};

/// Longer messages are refused.
const MAX_LENGTH: usize = 1 << 16;

/// A log message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a [`Template`]; no two texts follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What stands for itself, braces already single.
    Text(String),
    /// What is computed.
    Field(Box<Field>),
}

/// A replacement field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field as it was written, with its braces.
    pub text: String,
    /// An expression that gives the finished text of the field and compiles on every supported
    /// version: an f-string where a pair of quotes serves, a call of `str.format` otherwise
    /// (up to 3.11 an f-string holds neither its own quotes nor a backslash).
    pub source: String,
    /// The expression between the braces.
    pub expression: Expression,
    /// For `{x=}`: the text in front of the value, `x=`.
    pub shown: Option<String>,
    /// What `!r`, `!s` or `!a` asks for. A field with `=` and neither this nor a spec has
    /// [`Conversion::Repr`].
    pub conversion: Option<Conversion>,
    /// What stands behind the `:`, as it was written.
    pub spec: Option<String>,
    /// The expressions of the fields in the spec.
    pub nested: Vec<Expression>,
}

/// How a value becomes text before it is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// `!s`
    Str,
    /// `!r`
    Repr,
    /// `!a`
    Ascii,
}

/// Why a text is no log message, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The cause.
    pub kind: TemplateErrorKind,
    /// The character at which, from 0.
    pub position: usize,
}

/// The cause of a [`TemplateError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateErrorKind {
    /// A `{` without its `}`.
    Unclosed,
    /// `{}`, or a field of space alone.
    Empty,
    /// A string in a field that does not end.
    String,
    /// A closing bracket that closes nothing.
    Bracket(char),
    /// `!` followed by something else than `r`, `s` or `a`.
    Conversion,
    /// Something between the end of the expression and the `}`.
    Trailing,
    /// `{lambda x: x}`: the `:` would start a format spec.
    Lambda,
    /// Brackets, f-strings or format specs that are nested too deeply.
    TooDeep,
    /// A null character, which no Python source may hold.
    Null,
    /// More than 64 KiB.
    TooLong,
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.position + 1;
        match self.kind {
            TemplateErrorKind::Unclosed => write!(
                f,
                "unclosed {{ at column {column}: close it with }} or write {{{{ for a brace"
            ),
            TemplateErrorKind::Empty => write!(
                f,
                "empty field at column {column}: put an expression between {{ and }} \
                 or write {{{{}}}} for braces"
            ),
            TemplateErrorKind::String => {
                write!(f, "unterminated string at column {column}")
            }
            TemplateErrorKind::Bracket(bracket) => {
                write!(f, "{bracket} at column {column} closes nothing")
            }
            TemplateErrorKind::Conversion => write!(
                f,
                "bad conversion at column {column}: write !r, !s or !a in front of : or }}"
            ),
            TemplateErrorKind::Trailing => {
                write!(f, "unexpected text at column {column}: expected }} there")
            }
            TemplateErrorKind::Lambda => write!(
                f,
                "a lambda in the field at column {column}: put it in parentheses"
            ),
            TemplateErrorKind::TooDeep => write!(f, "nested too deeply at column {column}"),
            TemplateErrorKind::Null => write!(f, "a null character at column {column}"),
            TemplateErrorKind::TooLong => {
                write!(f, "a log message of more than {MAX_LENGTH} bytes")
            }
        }
    }
}

impl Template {
    /// Reads a log message.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let pieces = read(text).map_err(|(kind, byte)| TemplateError {
            kind,
            position: text[..byte].chars().count(),
        })?;
        let mut sources = Vec::new();
        for piece in &pieces {
            if let RawPiece::Field(_, field, _) = piece {
                sources.push(slice(text, field.expression));
                sources.extend(
                    field
                        .nested
                        .iter()
                        .map(|(_, n, _)| slice(text, n.expression)),
                );
            }
        }
        let mut expressions = Expression::of_fields(&sources).into_iter();
        let mut next = || expressions.next().expect("there is one for each source");
        let pieces = pieces.into_iter().map(|piece| match piece {
            RawPiece::Text(text) => Piece::Text(text),
            RawPiece::Field(start, field, end) => Piece::Field(Box::new(Field {
                text: text[start..end].to_owned(),
                source: source(text, &field),
                expression: next(),
                shown: field
                    .shown
                    .map(|end| text[field.expression.0..end].to_owned()),
                conversion: conversion(&field),
                spec: field.spec.map(|spec| slice(text, spec).to_owned()),
                nested: field.nested.iter().map(|_| next()).collect(),
            })),
        });
        Ok(Self {
            pieces: pieces.collect(),
        })
    }

    /// The parts in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The replacement fields in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Field(field) => Some(&**field),
        })
    }

    /// All expressions, those in format specs included.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.fields().flat_map(Field::expressions)
    }

    /// The free names that the fields load, ascending, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self.expressions().flat_map(Expression::names).collect();
        names.into_iter().collect()
    }

    /// Whether every field can be compiled into the line.
    pub fn splice(&self) -> Result<(), NotSpliced> {
        self.expressions().try_for_each(Expression::splice)
    }

    /// Pure when every field is.
    #[must_use]
    pub fn purity(&self) -> Purity {
        let mut purities = self.expressions().map(Expression::purity);
        let impure = purities.find(|purity| **purity != Purity::Pure);
        impure.cloned().unwrap_or(Purity::Pure)
    }
}

/// The message in the form that [`Template::parse`] takes: every brace of a text is doubled.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&doubled(text)),
            Piece::Field(field) => f.write_str(&field.text),
        })
    }
}

impl Field {
    /// The expression of the field, then those in its spec.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        std::iter::once(&self.expression).chain(&self.nested)
    }
}

impl Conversion {
    /// The letter behind the `!`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Str => 's',
            Self::Repr => 'r',
            Self::Ascii => 'a',
        }
    }
}

/// A piece whose expressions are not looked at yet; fields with their first and last byte.
enum RawPiece {
    Text(String),
    Field(usize, RawField, usize),
}

fn read(text: &str) -> Result<Vec<RawPiece>, Problem> {
    if text.len() > MAX_LENGTH {
        return Err((TemplateErrorKind::TooLong, 0));
    }
    if let Some(null) = text.find('\0') {
        return Err((TemplateErrorKind::Null, null));
    }
    let mut scan = Scan::new(text);
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut from = 0;
    while let Some(byte) = scan.peek(0) {
        let is_doubled = scan.peek(1) == Some(byte);
        match byte {
            b'{' | b'}' if is_doubled => {
                plain.push_str(&text[from..=scan.at]);
                scan.at += 2;
                from = scan.at;
            }
            b'{' => {
                let start = scan.at;
                plain.push_str(&text[from..start]);
                scan.at += 1;
                let field = scan.field()?;
                if !plain.is_empty() {
                    pieces.push(RawPiece::Text(std::mem::take(&mut plain)));
                }
                from = scan.at;
                pieces.push(RawPiece::Field(start, field, from));
            }
            _ => scan.at += 1,
        }
    }
    plain.push_str(&text[from..]);
    if !plain.is_empty() {
        pieces.push(RawPiece::Text(plain));
    }
    Ok(pieces)
}

fn slice(text: &str, (start, end): (usize, usize)) -> &str {
    &text[start..end]
}

fn doubled(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn conversion(field: &RawField) -> Option<Conversion> {
    match field.conversion {
        Some(b'r') => Some(Conversion::Repr),
        Some(b'a') => Some(Conversion::Ascii),
        Some(_) => Some(Conversion::Str),
        None if field.shown.is_some() && field.spec.is_none() => Some(Conversion::Repr),
        None => None,
    }
}

/// See [`Field::source`].
fn source(text: &str, field: &RawField) -> String {
    quoted(text, field).unwrap_or_else(|| formatted(text, field))
}

/// The field as an f-string.
fn quoted(text: &str, field: &RawField) -> Option<String> {
    let nested = field.nested.iter().map(|(_, nested, _)| nested);
    // Up to 3.11 a backslash or a comment in an expression is refused. From 3.12 on, what `=`
    // shows ends at the first `!`, that of `!=` included.
    let is_refused = |field: &RawField| {
        let expression = slice(text, field.expression);
        expression.contains(['\\', '#']) || field.shown.is_some() && expression.contains('!')
    };
    if std::iter::once(field).chain(nested).any(is_refused) {
        return None;
    }
    let mut body = String::from("{");
    write_field(text, field, &mut body);
    body.push('}');
    // A source file has no carriage return that is not read as a line end.
    if body.contains('\r') {
        return None;
    }
    let quotes = ["'", "\"", "'''", "\"\"\""].into_iter().find(|quotes| {
        let lines = quotes.len() == 3;
        !body.contains(quotes) && (lines || !body.contains('\n'))
    })?;
    // A backslash in a spec is text.
    let prefix = if body.contains('\\') { "rf" } else { "f" };
    Some(format!("{prefix}{quotes}{body}{quotes}"))
}

/// The inside of a field, without space that means nothing.
fn write_field(text: &str, field: &RawField, out: &mut String) {
    let (start, end) = field.expression;
    out.push_str(&text[start..field.shown.unwrap_or(end)]);
    if let Some(letter) = field.conversion {
        out.extend(['!', letter.into()]);
    }
    let Some((start, end)) = field.spec else {
        return;
    };
    out.push(':');
    let mut from = start;
    for (open, nested, close) in &field.nested {
        out.push_str(&text[from..=*open]);
        write_field(text, nested, out);
        out.push('}');
        from = *close;
    }
    out.push_str(&text[from..end]);
}

/// The field as `'{0!r:>{1}}'.format((x), (width))`.
fn formatted(text: &str, field: &RawField) -> String {
    let mut format = String::new();
    let mut arguments = Vec::new();
    write_format(text, field, &mut format, &mut arguments);
    format!("{}.format({})", literal(&format), arguments.join(", "))
}

fn write_format(text: &str, field: &RawField, format: &mut String, arguments: &mut Vec<String>) {
    let (start, end) = field.expression;
    if let Some(shown) = field.shown {
        format.push_str(&doubled(&text[start..shown]));
    }
    // Writing to a string does not fail.
    let _ = write!(format, "{{{}", arguments.len());
    arguments.push(format!("({})", &text[start..end]));
    if let Some(conversion) = conversion(field) {
        format.extend(['!', conversion.letter()]);
    }
    if let Some((start, end)) = field.spec {
        format.push(':');
        let mut from = start;
        for (open, nested, close) in &field.nested {
            format.push_str(&text[from..*open]);
            write_format(text, nested, format, arguments);
            from = *close;
        }
        format.push_str(&text[from..end]);
    }
    format.push('}');
}

/// A Python string literal.
fn literal(text: &str) -> String {
    let mut out = String::from("'");
    for char in text.chars() {
        match char {
            '\'' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(char),
        }
    }
    out.push('\'');
    out
}
