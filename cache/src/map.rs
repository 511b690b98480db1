//! How the bytes of an opened file become readable.
//!
//! Mapping a file needs `unsafe`, which this crate forbids, so a [`Map`] is passed in. The crate
//! keeps what a mapping relies on: packs and memo files are written under another name, renamed
//! into place and never written or truncated afterwards, and only files that nobody but the
//! user or root can write are opened.

use std::fs::File;
use std::io::{self, Read};

/// The readable bytes of one file, kept for as long as anything points into them.
pub type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Makes the whole content of an opened file readable: [`read`], or a read-only private map.
pub type Map = fn(&File) -> io::Result<Bytes>;

/// The largest file that is read or written.
pub const MAX_FILE_LEN: u64 = 4 << 30;

/// Reads the whole file into memory: the safe default, and the choice for network file systems.
pub fn read(file: &File) -> io::Result<Bytes> {
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
