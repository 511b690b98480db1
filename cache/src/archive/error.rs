//! Why an archive is not taken, each with what it holds and what is needed.

use std::io;

use super::ArchiveDigest;
use crate::error::{FormatError, OpenError, PutError};

/// Why an archive could not be read, imported or written. The messages go after its name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// Some other file.
    #[error("not an archive of a store: it does not begin like one")]
    NotAnArchive,
    /// Shorter than it says.
    #[error("{len} bytes long instead of {expected}: it was cut short; fetch or export it again")]
    CutShort {
        /// How long it is.
        len: u64,
        /// How long it should be, at least.
        expected: u64,
    },
    /// Longer than it says.
    #[error("{extra} bytes follow where it should end; fetch or export it again")]
    Trailing {
        /// How many bytes too many.
        extra: u64,
    },
    /// Another layout of archives.
    #[error(
        "an archive of version {found}, but this dapper reads version {needed}; export and import with the same dapper"
    )]
    ArchiveVersion {
        /// What the header says.
        found: u32,
        /// What is understood.
        needed: u32,
    },
    /// Entries of another store format.
    #[error(
        "holds entries of store format {found}, but this dapper needs format {}; export and import with the same dapper",
        crate::FORMAT_VERSION
    )]
    StoreFormat {
        /// What the header says.
        found: u16,
    },
    /// A changed header.
    #[error("the checksum of its header does not match: it is damaged; fetch or export it again")]
    Header,
    /// Changed somewhere.
    #[error(
        "its bytes do not match the digest at its end: it is damaged; fetch or export it again"
    )]
    Damaged,
    /// Sound, but not the one that was asked for.
    #[error("its digest is {found}, but {demanded} is demanded: it is another archive")]
    OtherDigest {
        /// Digest of the file.
        found: ArchiveDigest,
        /// What it should be.
        demanded: ArchiveDigest,
    },
    /// No signature where one is demanded.
    #[error(
        "it is not signed, but a key is set, which demands a signature; export it with the key"
    )]
    NotSigned,
    /// A signature of another key or of other bytes.
    #[error(
        "its signature does not match the key: it was signed with another key, or changed by somebody who does not have it"
    )]
    WrongSignature,
    /// Announced larger than is allowed.
    #[error("{what} of {len} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        len: u64,
        /// How large it may be.
        limit: u64,
    },
    /// Sealed bytes that no export writes.
    #[error("{0}: it was not written by this version of dapper; export it again")]
    Malformed(&'static str),
    /// Bytes that are not those of the entry.
    #[error("the entry of {path} does not match its checksum; export it again")]
    Entry {
        /// Path of the source.
        path: String,
    },
    /// Made by another engine, whose entries would never be found.
    #[error("holds code of engine {found}, but engine {needed} is needed; export it with {needed}")]
    Engine {
        /// Who made it.
        found: String,
        /// Who would use it.
        needed: String,
    },
    /// Made for interpreters whose bytecode is not known here.
    #[error("holds code for {found}, but code for {known} is needed; export it for one of those")]
    UnknownInterpreter {
        /// The interpreters it holds code for.
        found: String,
        /// Those that are known.
        known: String,
    },
    /// Made for other interpreters than are asked for.
    #[error("holds code for {found}, but not for an interpreter that is asked for")]
    NotAskedFor {
        /// The interpreters it holds code for.
        found: String,
    },
    /// Not the file any more that was checked.
    #[error("it was changed while it was read; import it when nobody writes it")]
    Changed,
    /// The operating system refused.
    #[error("it cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be written.
    #[error(transparent)]
    Put(#[from] PutError),
}

impl ArchiveError {
    /// What the head of a file tells.
    pub(super) fn of_head(error: FormatError) -> Self {
        match error {
            FormatError::Length { len, expected } => Self::CutShort { len, expected },
            FormatError::Magic => Self::NotAnArchive,
            FormatError::Format { found } => Self::StoreFormat { found },
            _ => Self::Header,
        }
    }

    /// What a failure while unpacking tells: the system's, or that of the packed bytes.
    pub(super) fn unpacking(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            Self::Io(error)
        } else {
            Self::Malformed("a packed part cannot be unpacked")
        }
    }
}
