//! The answers of a store: an entry, or the reason why there is none.

use std::fmt;
use std::path::PathBuf;

use crate::count::Counter;
use crate::dir::FileError;
use crate::entry::Entry;
use crate::error::{FormatError, OpenError};
use crate::trust::Distrust;

/// The answer to a lookup.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The entry; its checksum matched.
    Hit(Entry),
    /// No usable entry.
    Miss(MissReason),
}

impl Lookup {
    /// The entry of a hit.
    #[must_use]
    pub fn hit(self) -> Option<Entry> {
        match self {
            Self::Hit(entry) => Some(entry),
            Self::Miss(_) => None,
        }
    }
}

/// Why a lookup gave no entry, or a file was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MissReason {
    /// No entry is stored under the key.
    #[error("not stored")]
    Absent,
    /// What is stored is damaged.
    #[error("damaged: {0}")]
    Corrupt(FormatError),
    /// What is stored was written in another format.
    #[error("written in another format: {0}")]
    Format(FormatError),
    /// Somebody else could have written it.
    #[error("not trusted: {0}")]
    Untrusted(Distrust),
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::ErrorKind),
}

impl MissReason {
    /// A short, stable name.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Corrupt(_) => "corrupt",
            Self::Format(_) => "format",
            Self::Untrusted(_) => "untrusted",
            Self::Unreadable(_) => "unreadable",
        }
    }

    pub(super) fn counter(self) -> Counter {
        match self {
            Self::Absent => Counter::MissAbsent,
            Self::Corrupt(_) => Counter::MissCorrupt,
            Self::Format(_) => Counter::MissFormat,
            Self::Untrusted(_) => Counter::MissUntrusted,
            Self::Unreadable(_) => Counter::MissUnreadable,
        }
    }
}

impl From<FormatError> for MissReason {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Format { .. } | FormatError::Rows { .. } => Self::Format(error),
            FormatError::Untrusted(why) => Self::Untrusted(why),
            FormatError::Unreadable(kind) => Self::Unreadable(kind),
            _ => Self::Corrupt(error),
        }
    }
}

impl From<FileError> for MissReason {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Untrusted(why) => Self::Untrusted(why),
            FileError::Io(error) => Self::Unreadable(error.kind()),
        }
    }
}

impl From<OpenError> for MissReason {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Untrusted { why, .. } => Self::Untrusted(why),
            OpenError::Io { source, .. } => Self::Unreadable(source.kind()),
        }
    }
}

/// A pack that was passed over when the store was opened.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Why it is not used.
    pub why: MissReason,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not used: {}", self.path.display(), self.why)?;
        if let MissReason::Corrupt(_) = self.why {
            f.write_str("; dapper-instrument cache verify --repair removes it")?;
        }
        Ok(())
    }
}
