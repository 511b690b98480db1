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

/// A time so far ahead is that of a clock which was wrong.
const AHEAD: i64 = 24 * 60 * 60;

/// What a store may hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes in entries and packs of all interpreters; above it, a tenth more is removed.
    pub max_bytes: Option<u64>,
    /// Time since the last use.
    pub max_age: Option<Duration>,
}

impl Limits {
    /// What a store is kept within unless somebody says otherwise: 1 GiB, and 90 days unused.
    pub const STANDARD: Self = Self {
        max_bytes: Some(1 << 30),
        max_age: Some(Duration::from_secs(90 * 24 * 60 * 60)),
    };
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

/// Removes what the limits do not allow, but nothing that was used within `spare`.
pub(crate) fn evict(version: &Dir, limits: &Limits, spare: Duration) -> io::Result<Removal> {
    if !version.lock()? {
        return Ok(Removal {
            busy: true,
            ..Removal::default()
        });
    }
    let removal = remove(version, limits, spare, now());
    version.unlock();
    removal
}

pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The state of a file; a time of use that is yet to come is brought back to now, from where the
/// file ages like any other.
fn stat_of(dir: &Dir, name: &str, now: i64) -> io::Result<Stat> {
    let stat = dir.stat(name)?;
    if stat.mtime.saturating_sub(now) > AHEAD {
        dir.touch(name)?;
        return dir.stat(name);
    }
    Ok(stat)
}

fn remove(version: &Dir, limits: &Limits, spare: Duration, now: i64) -> io::Result<Removal> {
    let dirs = directories(version, None)?;
    let mut removal = Removal::default();
    let mut found = Vec::new();
    for (index, dir) in dirs.iter().enumerate() {
        for name in dir.names().unwrap_or_default() {
            let Ok(stat) = stat_of(dir, &name, now) else {
                continue;
            };
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
    let oldest = limits
        .max_age
        .map_or(i64::MIN, |age| now.saturating_sub(seconds(age)));
    let spared = match spare {
        Duration::ZERO => i64::MAX,
        spare => now.saturating_sub(seconds(spare)),
    };
    for file in &found {
        if file.stat.mtime > spared || (total <= target && file.stat.mtime >= oldest) {
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
    let gone = dir.remove_seen(name, &seen)?;
    if gone {
        removal.files += 1;
        removal.bytes += seen.len;
    }
    Ok(gone)
}
