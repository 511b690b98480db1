//! Empties a store: the files that are the store's own, and no others.
//!
//! Directories stay, so that processes that have the store open go on using it. So do files that
//! are being written: they are removed when their writer is done for an hour.

use std::io;

use super::Root;
use crate::dir::{self, Dir};
use crate::error::PutError;
use crate::evict::{directories, now};
use crate::key::Tag;
use crate::store::{ENTRY_SUFFIX, PACK_SUFFIX};

/// What stands beside the interpreters' directories and is made anew.
const BESIDE: [&str; 3] = ["memo", "remembered", "tidied"];
/// What is known of the packs beside it.
const VERIFIED: &str = "verified";
/// How long ago a temporary file must have been written to, in seconds.
const ABANDONED: i64 = 60 * 60;

/// What clearing removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Files removed.
    pub files: u64,
    /// Bytes removed.
    pub bytes: u64,
    /// Files that are being written, and stay.
    pub in_use: u64,
    /// True when another process was evicting or repairing, so nothing was done.
    pub busy: bool,
}

impl Root {
    /// Removes the entries of these interpreters, or of all, then with the memo.
    pub fn clear(&self, tags: Option<&[Tag]>) -> Result<Cleared, PutError> {
        let mut cleared = Cleared::default();
        let Some(version) = self.writable()? else {
            return Ok(cleared);
        };
        let io = |error| PutError::io(version.path(), error);
        if !version.lock().map_err(io)? {
            cleared.busy = true;
            return Ok(cleared);
        }
        let done = clear(version, tags, &mut cleared);
        version.unlock();
        done.map_err(io)?;
        Ok(cleared)
    }
}

fn clear(version: &Dir, tags: Option<&[Tag]>, cleared: &mut Cleared) -> io::Result<()> {
    for dir in directories(version, tags)? {
        let is_version = dir.path() == version.path();
        if is_version && tags.is_some() {
            continue;
        }
        for name in dir.names()? {
            let ours = if is_version {
                BESIDE.contains(&&*name)
            } else {
                name.ends_with(PACK_SUFFIX) || name.ends_with(ENTRY_SUFFIX) || name == VERIFIED
            };
            if ours || dir::is_temp(&name) {
                remove(&dir, &name, cleared)?;
            }
        }
    }
    Ok(())
}

fn remove(dir: &Dir, name: &str, cleared: &mut Cleared) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    let stat = match dir.stat(name) {
        Ok(stat) => stat,
        Err(error) => return gone(error),
    };
    if dir::is_temp(name) && now().saturating_sub(stat.mtime) < ABANDONED {
        cleared.in_use += 1;
        return Ok(());
    }
    if let Err(error) = dir.remove(name) {
        return gone(error);
    }
    cleared.files += 1;
    cleared.bytes += stat.len;
    Ok(())
}
