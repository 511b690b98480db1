//! Read-only memory maps of the store's files.

use std::fs::File;
use std::io;

use cache::Bytes;

/// Maps the whole of an opened file of the store, or reads it when `DAPPER_NO_MMAP` is set.
pub fn map(file: &File) -> io::Result<Bytes> {
    if std::env::var_os("DAPPER_NO_MMAP").is_some_and(|value| !value.is_empty()) {
        return cache::read(file);
    }
    // SAFETY: the store only opens files that nobody but the user or root can write, and that are
    // written under another name, renamed into place and never changed or truncated afterwards.
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Box::new(map))
}
