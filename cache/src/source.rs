//! Where the bytes of the store are read from: always a copy in memory of one's own.
//!
//! Nothing is mapped. Whoever shortens a mapped file has the processes killed that touch what is
//! missing (SIGBUS), and whoever writes into it changes bytes behind a checksum that has been
//! verified. A copy stays what it was when it was checked; it costs a microsecond or two for each
//! entry. A pack is opened, judged and closed for each piece, so that no descriptor is held: the
//! program may need all it is allowed, or close those that it does not know.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use crate::dir::{Dir, FileError};
use crate::error::FormatError;

/// The readable bytes of one file or entry, kept for as long as anything points into them.
pub type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The largest file that is read or written.
pub const MAX_FILE_LEN: u64 = 4 << 30;

/// Reads the whole file into memory.
pub(crate) fn read(file: &File) -> io::Result<Bytes> {
    let len = file.metadata()?.len();
    if len > MAX_FILE_LEN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut source = file;
    source.by_ref().take(len).read_to_end(&mut bytes)?;
    Ok(Box::new(bytes))
}

/// Reads a piece of a file that is `len` bytes long; one that ends before the piece does is one
/// that was cut short.
pub(crate) fn read_piece(
    file: &File,
    len: u64,
    piece: Range<usize>,
) -> Result<Vec<u8>, FormatError> {
    let unreadable = |error: io::Error| FormatError::Unreadable(error.kind());
    if len < piece.end as u64 {
        let expected = piece.end as u64;
        return Err(FormatError::Length { len, expected });
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(piece.len())
        .map_err(|_| FormatError::Unreadable(io::ErrorKind::OutOfMemory))?;
    while bytes.len() < piece.len() {
        let at = piece.start as u64 + bytes.len() as u64;
        // Into memory that was not cleaned beforehand.
        match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => {
                return Err(FormatError::Length {
                    len: file.metadata().map_err(unreadable)?.len(),
                    expected: piece.end as u64,
                });
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(unreadable(error.into())),
        }
    }
    bytes.truncate(piece.len());
    Ok(bytes)
}

/// What a pack is read from.
pub(crate) enum Source {
    Bytes(Bytes),
    File { dir: Arc<Dir>, name: String },
}

impl Source {
    /// Copies a piece.
    pub(crate) fn read(&self, piece: Range<usize>) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Bytes(bytes) => {
                let content = (**bytes).as_ref();
                let piece = content.get(piece).ok_or(FormatError::Bounds)?;
                Ok(piece.to_vec())
            }
            Self::File { dir, name } => match dir.open_file(name) {
                Ok(Some((file, metadata))) => read_piece(&file, metadata.len(), piece),
                Ok(None) => Err(FormatError::Unreadable(io::ErrorKind::NotFound)),
                Err(FileError::Untrusted(why)) => Err(FormatError::Untrusted(why)),
                Err(FileError::Io(error)) => Err(FormatError::Unreadable(error.kind())),
            },
        }
    }
}
