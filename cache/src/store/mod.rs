//! The store of one interpreter's entries: packs, overlay and memo under one root.
//!
//! ```text
//! <root>/
//!   v2/                          one directory per FORMAT_VERSION, others are left alone
//!     CACHEDIR.TAG  .gitignore   kept out of backups and commits
//!     memo                       stat of a source -> its hash, for all interpreters
//!     remembered                 lines that breakpoints were last on, for all interpreters
//!     cpython-313-3571/          cache tag and magic number
//!       packs/9f3c…a1.pack       immutable; many entries each
//!       packs/verified           which packs were read whole and found sound
//!       overlay/4e/07…b2.entry   one entry each, named by the key
//! ```
//! Readers take no lock. A lookup asks the packs, newest first, then the overlay; a damaged entry
//! is passed over, so storing it again mends it. A pack that is gone when an entry of it is wanted
//! was merged or evicted by another process: the directory is read again.

mod check;
mod list;
mod lookup;
mod merge;
mod remember;
mod repair;
mod tidy;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::count::{Counter, Counters, Counts};
use crate::dir::{self, Dir};
use crate::entry::{self, Entry, Origin, Parts};
use crate::error::{OpenError, PutError};
use crate::evict::Limits;
use crate::key::{FORMAT_VERSION, Key, SourceHash, Tag};
use crate::memo::{Memo, Stamp};
use crate::pack::{HEADER_LEN, Pack, PackWriter};
use crate::source::{self, Source};
use crate::trust::Trust;

pub(crate) use list::overlay_groups;
pub use list::{Damage, Listed};
pub use lookup::{Lookup, MissReason, Refused};
pub use repair::Repair;

pub(crate) const PACKS: &str = "packs";
pub(crate) const OVERLAY: &str = "overlay";
pub(crate) const PACK_SUFFIX: &str = ".pack";
pub(crate) const ENTRY_SUFFIX: &str = ".entry";
/// A use is recorded at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a listing that changes under the reader is read again.
const REFRESH_TRIES: usize = 8;
/// Waits for a merge to end, each twice as long as the one before: 0.2 s in all.
const PATIENCE: u32 = 12;
const SHORT_WAIT: Duration = Duration::from_micros(50);
/// What is told of an entry whose pack is no longer there.
const GONE: MissReason = MissReason::Unreadable(std::io::ErrorKind::NotFound);
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This directory holds code instrumented by dapper. It can be removed at any time.\n";

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is created or changed.
    ReadOnly,
    /// Directories are made when missing; a store that cannot be written is used read-only.
    ReadWrite,
}

/// An opened store; it can be shared between threads and used on after a fork.
pub struct Store {
    root: PathBuf,
    tag: Tag,
    access: Access,
    /// Missing parts of a store that may not be created are `None`: every lookup misses.
    version: Option<Dir>,
    packs: Option<Arc<Dir>>,
    overlay: Option<Dir>,
    opened: RwLock<Arc<Opened>>,
    memo: Memo,
    counters: Counters,
    /// What [`Store::tidy`] keeps the store within.
    limits: OnceLock<Limits>,
    /// Bytes written since the store was last tidied.
    written: Arc<AtomicU64>,
}

#[derive(Default)]
struct Opened {
    packs: Vec<Arc<OpenPack>>,
    refused: Vec<Refused>,
}

struct OpenPack {
    name: String,
    inode: u64,
    mtime: SystemTime,
    pack: Pack,
    touched: AtomicBool,
}

impl Store {
    /// Opens the entries of one kind of interpreter in the store at `root`.
    ///
    /// An absent store opened [`Access::ReadOnly`] is empty. One of another user's is refused
    /// unless `trust` names its root, and is never written.
    pub fn open(root: &Path, tag: &Tag, access: Access, trust: &Trust) -> Result<Self, OpenError> {
        let mut writable = access == Access::ReadWrite;
        let mut step = |dir: Option<Dir>| {
            writable = writable && dir.as_ref().is_some_and(Dir::is_writable);
            (dir, writable)
        };
        let child = |(parent, create): &(Option<Dir>, bool), name: &str| match parent {
            Some(parent) => parent.child(name, *create),
            None => Ok(None),
        };
        let top = step(Dir::open(root, access == Access::ReadWrite, trust)?);
        let version = step(child(&top, &format!("v{FORMAT_VERSION}"))?);
        let of_tag = step(child(&version, tag.as_str())?);
        let packs = step(child(&of_tag, PACKS)?);
        // Asked of the same parent, so that it is made even beside packs that are not ours.
        let overlay = step(child(&of_tag, OVERLAY)?);
        let access = if overlay.1 {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        let store = Self {
            root: root.to_owned(),
            tag: tag.clone(),
            access,
            version: version.0,
            packs: packs.0.map(Arc::new),
            overlay: overlay.0,
            opened: RwLock::default(),
            memo: Memo::default(),
            counters: Counters::default(),
            limits: OnceLock::new(),
            written: Arc::default(),
        };
        store.mark();
        store.refresh();
        Ok(store)
    }

    /// The directory the store was opened at.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The interpreter's directory in the store.
    #[must_use]
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// What the store can be used for, which may be less than was asked.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// Packs that were passed over, with their reasons.
    #[must_use]
    pub fn refused(&self) -> Vec<Refused> {
        self.opened().refused.clone()
    }

    /// Opens packs that were added since, and lets go of those that were removed.
    pub fn refresh(&self) {
        let Some(dir) = &self.packs else { return };
        let known = self.opened();
        let mut opened = open_packs(dir, &known);
        // A pack that was merged away while the directory was read is listed as another one.
        // Removing many takes a while, in which every listing is overtaken: it is waited for.
        for turn in 0..PATIENCE {
            let Err(()) = opened else { break };
            std::thread::sleep(SHORT_WAIT * (1 << turn));
            opened = open_packs(dir, &known);
        }
        let Ok(opened) = opened else { return };
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
    }

    fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.opened.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks an entry up; its checksum is verified before it is handed out.
    #[must_use]
    pub fn get(&self, key: &Key) -> Lookup {
        let mut packed = self.get_from_packs(key);
        for _ in 0..REFRESH_TRIES {
            if !matches!(packed, Err(GONE)) {
                break;
            }
            self.refresh();
            packed = self.get_from_packs(key);
        }
        let mut reason = match packed {
            Ok(entry) => {
                self.counters.add(Counter::PackHit);
                return Lookup::Hit(entry);
            }
            Err(why) => why,
        };
        match self.get_from_overlay(key) {
            Ok(entry) => {
                self.counters.add(Counter::OverlayHit);
                return Lookup::Hit(entry);
            }
            Err(MissReason::Absent) => {}
            Err(why) => reason = why,
        }
        self.counters.add(reason.counter());
        Lookup::Miss(reason)
    }

    fn get_from_packs(&self, key: &Key) -> Result<Entry, MissReason> {
        let mut reason = MissReason::Absent;
        for open in &self.opened().packs {
            match open.pack.get(key) {
                Some(Ok(entry)) => {
                    self.touch_pack(open);
                    return Ok(entry);
                }
                Some(Err(error)) if reason != GONE => reason = error.into(),
                Some(Err(_)) | None => {}
            }
        }
        Err(reason)
    }

    fn get_from_overlay(&self, key: &Key) -> Result<Entry, MissReason> {
        let overlay = self.overlay.as_ref().ok_or(MissReason::Absent)?;
        let (group, name) = entry_name(key);
        let group = overlay.child(&group, false)?.ok_or(MissReason::Absent)?;
        let (file, metadata) = group.open_file(&name)?.ok_or(MissReason::Absent)?;
        let bytes = source::read(&file).map_err(|e| MissReason::Unreadable(e.kind()))?;
        let entry = entry::read_file(bytes, key)?;
        if self.access == Access::ReadWrite && is_stale(metadata.modified().ok()) {
            // A lost touch makes the entry look older to eviction, nothing else.
            let _ = dir::touch(&file);
        }
        Ok(entry)
    }

    /// True when an entry is stored under the key; its bytes are not looked at.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        if self.opened().packs.iter().any(|p| p.pack.contains(key)) {
            return true;
        }
        let (group, name) = entry_name(key);
        let group = self.overlay.as_ref().map(|dir| dir.child(&group, false));
        matches!(group, Some(Ok(Some(group))) if group.has(&name))
    }

    /// Stores one entry in the overlay, over what stands under the key there.
    pub fn put(&self, key: &Key, parts: Parts<'_>, origin: &Origin) -> Result<(), PutError> {
        let stored = self.put_in_overlay(key, parts, origin);
        self.counters.add(if stored.is_ok() {
            Counter::Put
        } else {
            Counter::PutFailed
        });
        stored
    }

    fn put_in_overlay(&self, key: &Key, parts: Parts<'_>, origin: &Origin) -> Result<(), PutError> {
        let dir = self.writable(self.overlay.as_ref())?;
        let content = entry::write_file(key, parts, origin)?;
        let (group, name) = entry_name(key);
        let gone = || PutError::io(dir.path(), std::io::ErrorKind::NotFound.into());
        let group = dir.child(&group, true)?.ok_or_else(gone)?;
        group
            .write_file(&name, &content)
            .map_err(|e| PutError::io(group.path(), e))?;
        self.wrote(content.len() as u64);
        Ok(())
    }

    /// Starts a pack; call [`Store::refresh`] after finishing it to read from it here.
    pub fn pack_writer(&self) -> Result<PackWriter, PutError> {
        let dir = self.writable(self.packs.as_deref())?;
        let dir = dir.try_clone().map_err(|e| PutError::io(dir.path(), e))?;
        PackWriter::create(dir, Arc::clone(&self.written))
    }

    /// The hash of a source that is still in this state, if it is remembered.
    #[must_use]
    pub fn memo_get(&self, path: &Path, stamp: &Stamp) -> Option<SourceHash> {
        let dir = self.version.as_ref();
        let found = dir.and_then(|dir| self.memo.get(dir, path, stamp));
        let hit = found.is_some();
        self.counters.add(if hit {
            Counter::MemoHit
        } else {
            Counter::MemoMiss
        });
        found
    }

    /// Remembers the hash of a source; written by [`Store::flush`] or when the store is dropped.
    ///
    /// A source that was modified less than two seconds before the stamp was taken is left out.
    pub fn memo_put(&self, path: &Path, stamp: &Stamp, source: &SourceHash) {
        if self.memo.put(path, stamp, source) {
            // Kept in memory and tried again later.
            let _ = self.flush();
        }
    }

    /// Writes what is to be remembered about sources.
    pub fn flush(&self) -> Result<(), PutError> {
        match (&self.version, self.access) {
            (Some(dir), Access::ReadWrite) => self.memo.flush(dir),
            _ => Ok(()),
        }
    }

    fn writable<'a>(&self, dir: Option<&'a Dir>) -> Result<&'a Dir, PutError> {
        match (dir, self.access) {
            (Some(dir), Access::ReadWrite) => Ok(dir),
            _ => Err(PutError::ReadOnly {
                path: self.root.clone(),
            }),
        }
    }

    fn touch_pack(&self, open: &OpenPack) {
        let due = self.access == Access::ReadWrite && is_stale(Some(open.mtime));
        if !due || open.touched.swap(true, Ordering::Relaxed) {
            return;
        }
        let file = self.packs.as_ref().map(|dir| dir.open_file(&open.name));
        if let Some(Ok(Some((file, _)))) = file {
            // A lost touch makes the pack look older to eviction, nothing else.
            let _ = dir::touch(&file);
        }
    }

    fn mark(&self) {
        let (Some(dir), Access::ReadWrite) = (&self.version, self.access) else {
            return;
        };
        for (name, content) in [("CACHEDIR.TAG", CACHEDIR_TAG), (".gitignore", "*\n")] {
            if !dir.has(name) {
                // Backups and commits grow without them; the store works all the same.
                let _ = dir.write_file(name, content.as_bytes());
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What the memo loses is hashed again.
        let _ = self.flush();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Store {{ root: {}, tag: {} }}",
            self.root.display(),
            self.tag
        )
    }
}

/// How many packs are used, and how many entries they list.
pub(crate) fn n_entries(store: &Store) -> (u64, u64) {
    let opened = store.opened();
    let entries = opened.packs.iter().map(|open| open.pack.len() as u64).sum();
    (opened.packs.len() as u64, entries)
}

/// Fails when a pack that is listed is gone.
fn open_packs(dir: &Arc<Dir>, known: &Opened) -> Result<Opened, ()> {
    let mut opened = Opened::default();
    for name in settled_names(dir) {
        if !name.ends_with(PACK_SUFFIX) || dir::is_temp(&name) {
            continue;
        }
        match open_pack(dir, &name, known) {
            Ok(Some(pack)) => opened.packs.push(pack),
            Ok(None) => return Err(()),
            Err(why) => opened.refused.push(Refused {
                path: dir.path().join(&name),
                why,
            }),
        }
    }
    let newest_first = |a: &Arc<OpenPack>, b: &Arc<OpenPack>| {
        b.mtime.cmp(&a.mtime).then_with(|| a.name.cmp(&b.name))
    };
    opened.packs.sort_by(newest_first);
    Ok(opened)
}

/// The names in a directory to which others add, and from which they remove.
///
/// A directory is read in parts: while that goes on, a merged pack may come where was read
/// already, and those it stands for may go before they are reached. What was read twice over is
/// what was there.
fn settled_names(dir: &Dir) -> Vec<String> {
    let mut names = dir.names().unwrap_or_default();
    for _ in 0..REFRESH_TRIES {
        let again = dir.names().unwrap_or_default();
        if again == names {
            break;
        }
        names = again;
    }
    names
}

fn open_pack(
    dir: &Arc<Dir>,
    name: &str,
    known: &Opened,
) -> Result<Option<Arc<OpenPack>>, MissReason> {
    let Some((file, metadata)) = dir.open_file(name)? else {
        return Ok(None);
    };
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    if let Some(same) = known
        .packs
        .iter()
        .find(|p| p.name == name && p.inode == inode)
    {
        return Ok(Some(Arc::clone(same)));
    }
    let header_len = usize::try_from(metadata.len()).map_or(HEADER_LEN, |n| n.min(HEADER_LEN));
    let header = source::read_piece(&file, metadata.len(), 0..header_len)?;
    let source = Source::File {
        dir: Arc::clone(dir),
        name: name.to_owned(),
    };
    Ok(Some(Arc::new(OpenPack {
        name: name.to_owned(),
        inode,
        mtime: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        pack: Pack::open(&header, metadata.len(), source)?,
        touched: AtomicBool::new(false),
    })))
}

/// The directory in the overlay and the file in it.
fn entry_name(key: &Key) -> (String, String) {
    let hex = key.to_string();
    (hex[..2].to_owned(), format!("{}{ENTRY_SUFFIX}", &hex[2..]))
}

/// Whether a use is to be recorded: the last one was long ago, or at a time that is yet to come.
fn is_stale(mtime: Option<SystemTime>) -> bool {
    mtime.is_some_and(|mtime| match SystemTime::now().duration_since(mtime) {
        Ok(age) => age > TOUCH_EVERY,
        Err(ahead) => ahead.duration() > TOUCH_EVERY,
    })
}
