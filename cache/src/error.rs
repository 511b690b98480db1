//! Why a store could not be opened, written or read.

use std::io;
use std::path::{Path, PathBuf};

use crate::trust::Distrust;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody else could have written what stands there, and loading it runs it.
    #[error("refused to use the store at {}: {why}", path.display())]
    Untrusted {
        /// The directory that was refused.
        path: PathBuf,
        /// What makes it untrustworthy.
        why: Distrust,
    },
    /// The operating system refused.
    #[error("cannot open the store at {}: {source}; choose another directory", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why an entry could not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The store is used read-only.
    #[error("the store at {} is read-only", path.display())]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// The entry or the pack would be larger than the format allows.
    #[error("an entry or pack of {len} bytes is too large for the store: the limit is {limit}")]
    TooLarge {
        /// The length that was asked for.
        len: u64,
        /// The largest length that can be stored.
        limit: u64,
    },
    /// Somebody else could have made the directory that it belongs into.
    #[error("refused to write to the store at {}: {why}", path.display())]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What makes it untrustworthy.
        why: Distrust,
    },
    /// The operating system refused, for example because the disk is full.
    #[error("cannot write to the store at {}: {source}", path.display())]
    Io {
        /// The directory written to.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl PutError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<OpenError> for PutError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Untrusted { path, why } => Self::Untrusted { path, why },
            OpenError::Io { path, source } => Self::Io { path, source },
        }
    }
}

/// What is wrong with the bytes of a file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Shorter than its header, or not as long as the header says.
    #[error("{len} bytes long instead of {expected}: the file was cut short or grew")]
    Length {
        /// How long the file is.
        len: u64,
        /// How long it should be.
        expected: u64,
    },
    /// Not a file of this kind.
    #[error("not a file of this kind: the magic bytes differ")]
    Magic,
    /// Written in another format.
    #[error(
        "format {found}, but this version reads format {}; use the version that wrote it, or remove it",
        crate::FORMAT_VERSION
    )]
    Format {
        /// The format that the file names.
        found: u16,
    },
    /// Written with rows of another length than this version knows.
    #[error(
        "rows of {found} bytes, but this version reads rows of {expected}; use the version that wrote it, or remove it"
    )]
    Rows {
        /// The length that the file names.
        found: u32,
        /// The length that is read.
        expected: usize,
    },
    /// Written in another byte order.
    #[error("the byte order mark differs")]
    ByteOrder,
    /// The header was changed after it was written.
    #[error("the checksum of the header does not match")]
    Header,
    /// The table of rows was changed after it was written.
    #[error("the checksum of the table does not match")]
    Table,
    /// A row points outside the part of the file that holds entries.
    #[error("a row points outside the file")]
    Bounds,
    /// The bytes of an entry were changed after they were written.
    #[error("the checksum of the entry does not match")]
    Entry,
    /// The listing section cannot be decoded.
    #[error("the listing section is damaged")]
    Listing,
    /// Somebody else could have written it since it was opened first.
    #[error("not trusted: {0}")]
    Untrusted(Distrust),
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}
