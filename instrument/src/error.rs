//! What can go wrong, and why a code object is left alone.
//!
//! [`Error`] ends the work on a whole module; [`Reason`] leaves one code object (or one
//! breakpoint) aside and is shown to the user as it stands here, everywhere.

use std::fmt;

/// Why a module could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The cause.
    pub kind: ErrorKind,
    /// Byte offset in the input, where one is known.
    pub offset: Option<usize>,
}

impl Error {
    #[cold]
    pub(crate) fn at(kind: ErrorKind, offset: usize) -> Self {
        Self {
            kind,
            offset: Some(offset),
        }
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self { kind, offset: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.offset {
            Some(offset) => write!(f, " at byte {offset}"),
            None => Ok(()),
        }
    }
}

/// The precise cause of an [`Error`].
#[allow(
    missing_docs,
    reason = "the message of each variant is its documentation"
)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    #[error("the data ends too early")]
    Truncated,
    #[error("unknown marshal type {0:#04x}")]
    UnknownType(u8),
    #[error("marshal reference {0} points to nothing that is complete")]
    BadReference(i32),
    #[error("a length of {0} makes no sense")]
    BadLength(i64),
    #[error("objects are nested deeper than {0}")]
    TooDeep(usize),
    #[error("an object where none may stand")]
    UnexpectedNull,
    #[error("{0} bytes follow the object")]
    TrailingBytes(usize),
    #[error("not a code object")]
    NotCode,
    #[error("a code object whose {0} has the wrong type")]
    BadField(&'static str),
    #[error("the input is larger than 4 GiB")]
    TooLarge,
    #[error("too short for a .pyc header")]
    ShortHeader,
    #[error("magic number {0} is of no CPython version known here")]
    UnknownMagic(u16),
    #[error("not a .pyc file")]
    NotPyc,
    #[error("unknown .pyc flags {0:#x}")]
    BadPycFlags(u32),
    #[error("no function named {0}")]
    NoFunction(String),
}

/// Why one code object, or one breakpoint, was left aside.
#[allow(
    missing_docs,
    reason = "the message of each variant is its documentation"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    #[error("the bytecode has an odd length")]
    OddLength,
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    #[error("an instruction is cut short")]
    TruncatedInstruction,
    #[error("an inline cache is not empty")]
    FilledCache,
    #[error("a jump leaves the code or lands inside an instruction")]
    BadJump,
    #[error("the line table is malformed")]
    BadLineTable,
    #[error("the line table splits an instruction")]
    SplitLocation,
    #[error("the exception table is malformed")]
    BadExceptionTable,
    #[error("the stack depth is not the same on all paths")]
    StackDepth,
    #[error("writing the unchanged code does not give the same bytes")]
    NotReproducible,
    #[error("the code never starts (no RESUME)")]
    NoStart,
    #[error("the instrumented code failed verification: {0}")]
    Verification(&'static str),
    #[error("no code at or after line {0}")]
    NoCodeAtLine(u32),
    #[error("the code is too large")]
    TooLarge,
    #[error("the expression is evaluated out of line: {0}")]
    OutOfLine(&'static str),
}

impl Reason {
    /// A short stable name for logs, telemetry and `--json`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::OddLength => "odd-length",
            Self::UnknownOpcode(_) => "unknown-opcode",
            Self::TruncatedInstruction => "truncated-instruction",
            Self::FilledCache => "filled-cache",
            Self::BadJump => "bad-jump",
            Self::BadLineTable => "bad-line-table",
            Self::SplitLocation => "split-location",
            Self::BadExceptionTable => "bad-exception-table",
            Self::StackDepth => "stack-depth",
            Self::NotReproducible => "not-reproducible",
            Self::NoStart => "no-start",
            Self::Verification(_) => "verification",
            Self::NoCodeAtLine(_) => "no-code-at-line",
            Self::TooLarge => "too-large",
            Self::OutOfLine(_) => "out-of-line",
        }
    }
}
