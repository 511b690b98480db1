//! Keeps a store small: what was not used for longest goes first.
//!
//! Use is the modification time, which a hit renews at most once a day. Readers are not
//! disturbed: a removed file stays readable for those who opened it. Another process may remove
//! or replace a file meanwhile; a file that changed since it was looked at stays. One process
//! evicts at a time.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::dir::{self, Dir, Stat};
use crate::key::Tag;
use crate::store::{ENTRY_SUFFIX, OVERLAY, PACK_SUFFIX, PACKS, overlay_groups};

/// How long a temporary file of a writer that died stays.
const TEMP_AGE: i64 = 24 * 60 * 60;

/// What a store may hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes in entries and packs of all interpreters; above it, a tenth more is removed.
    pub max_bytes: Option<u64>,
    /// Time since the last use.
    pub max_age: Option<Duration>,
}

/// What eviction removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Files removed.
    pub files: u64,
    /// Bytes removed.
    pub bytes: u64,
    /// Bytes that stay.
    pub remaining: u64,
    /// True when another process was evicting, so nothing was done.
    pub busy: bool,
}

struct Found {
    dir: usize,
    name: String,
    stat: Stat,
}

pub(crate) fn evict(version: &Dir, limits: &Limits) -> io::Result<Removal> {
    if !version.lock()? {
        return Ok(Removal {
            busy: true,
            ..Removal::default()
        });
    }
    let removal = remove(version, limits, now());
    version.unlock();
    removal
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn remove(version: &Dir, limits: &Limits, now: i64) -> io::Result<Removal> {
    let dirs = directories(version, None)?;
    let mut removal = Removal::default();
    let mut found = Vec::new();
    for (index, dir) in dirs.iter().enumerate() {
        for name in dir.names().unwrap_or_default() {
            let Ok(stat) = dir.stat(&name) else { continue };
            if dir::is_temp(&name) {
                if now.saturating_sub(stat.mtime) > TEMP_AGE {
                    remove_file(dir, &name, stat, &mut removal)?;
                }
            } else if name.ends_with(PACK_SUFFIX) || name.ends_with(ENTRY_SUFFIX) {
                found.push(Found {
                    dir: index,
                    name,
                    stat,
                });
            }
        }
    }
    found.sort_by_key(|file| file.stat.mtime);
    let mut total: u64 = found.iter().map(|file| file.stat.len).sum();
    let target = match limits.max_bytes {
        Some(max) if total > max => max / 10 * 9,
        _ => u64::MAX,
    };
    let oldest = limits.max_age.map_or(i64::MIN, |age| {
        now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    });
    for file in &found {
        if total <= target && file.stat.mtime >= oldest {
            break;
        }
        if remove_file(&dirs[file.dir], &file.name, file.stat, &mut removal)? {
            total -= file.stat.len;
        }
    }
    removal.remaining = total;
    Ok(removal)
}

/// Every directory that holds files of the store, of these interpreters or of all; that of the
/// memo's temporary files first.
pub(crate) fn directories(version: &Dir, tags: Option<&[Tag]>) -> io::Result<Vec<Dir>> {
    let mut dirs = vec![version.try_clone()?];
    for tag in version.names()? {
        if tags.is_some_and(|tags| tags.iter().all(|wanted| wanted.as_str() != tag)) {
            continue;
        }
        // What is no directory or not trusted is not ours to clean.
        let Ok(Some(tag)) = version.child(&tag, false) else {
            continue;
        };
        if let Ok(Some(packs)) = tag.child(PACKS, false) {
            dirs.push(packs);
        }
        if let Ok(Some(overlay)) = tag.child(OVERLAY, false) {
            let groups = overlay_groups(&overlay);
            dirs.push(overlay);
            dirs.extend(groups.into_iter().map(|(_, dir)| dir));
        }
    }
    Ok(dirs)
}

/// Removes a file that is still as it was found; true when it is gone.
fn remove_file(dir: &Dir, name: &str, seen: Stat, removal: &mut Removal) -> io::Result<bool> {
    match dir.stat(name) {
        Ok(stat) if stat == seen => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    match dir.remove(name) {
        Ok(()) => {
            removal.files += 1;
            removal.bytes += seen.len;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
