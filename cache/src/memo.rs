//! Remembers the hash of a source by its stat, so that an unchanged file is not read again.
//!
//! One file of sorted rows serves all interpreters; it is read as it is and replaced by rename.
//! Two processes that write at once may lose rows of one of them, which costs a hash later and
//! nothing else. A stat proves nothing about a file that was still young when it was taken: an
//! edit within the same tick of the clock leaves it as it was, so such a row is not believed.
//! Whoever sets a modification time back leaves the time of the change of the inode, which nobody
//! can set.

use std::collections::HashMap;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::dir::{Dir, path_bytes};
use crate::entry::{check_row_len, first, read_head, write_head};
use crate::error::{FormatError, PutError};
use crate::field::{array, u32_at, u64_at};
use crate::key::SourceHash;
use crate::search;
use crate::source::{self, Bytes};
use crate::store::MissReason;

/// How old a file must be when its stat is taken, in nanoseconds.
const SETTLED_NS: i64 = 2_000_000_000;
/// The rows that are kept, 13 MiB of them; the oldest go first.
pub const MAX_ROWS: usize = 1 << 17;
const FILE_NAME: &str = "memo";
const MAGIC: [u8; 8] = *b"DPRMEMO\0";
const HEADER_LEN: usize = 64;
const ROW_LEN: usize = 104;
const TAKEN_AT: usize = 48;
const HASH_AT: usize = 56;
const SUM_AT: usize = 88;
type Row = [u8; ROW_LEN];
type PathDigest = [u8; 16];

/// What `stat` says about a source, and when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Modification time in nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Length in bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Time of the last change of the inode in nanoseconds since the epoch.
    pub changed_ns: i64,
    /// When the stat was taken, before the content was read, in nanoseconds since the epoch.
    pub taken_ns: i64,
}

impl Stamp {
    /// The stamp of metadata that was read just now; read the content after, not before.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, rest| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: metadata.ino(),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            taken_ns: now_ns(),
        }
    }

    /// False when the file may have been edited again without a trace in the stat.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let touched = self.mtime_ns.max(self.changed_ns);
        self.taken_ns.saturating_sub(touched) >= SETTLED_NS
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The sorted rows of one memo file.
pub struct MemoFile(Bytes);

impl MemoFile {
    /// Checks the header and takes the bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, FormatError> {
        let content = (*bytes).as_ref();
        read_head(content, MAGIC, HEADER_LEN)?;
        if array(content, 56) != Some(first::<8>(&blake3::hash(&content[..56]))) {
            return Err(FormatError::Header);
        }
        check_row_len(u32_at(content, 24).unwrap_or_default(), ROW_LEN)?;
        let expected = u64_at(content, 16)
            .and_then(|count| count.checked_mul(ROW_LEN as u64))
            .and_then(|len| len.checked_add(HEADER_LEN as u64));
        let (len, expected) = (content.len() as u64, expected.ok_or(FormatError::Bounds)?);
        if len != expected {
            return Err(FormatError::Length { len, expected });
        }
        Ok(Self(bytes))
    }

    /// The hash that is remembered for a path in exactly this state.
    #[must_use]
    pub fn get(&self, path: &Path, stamp: &Stamp) -> Option<SourceHash> {
        let digest = digest(path);
        let rows = self.rows();
        answer(rows.get(search::find(rows, &digest)?)?, stamp)
    }

    /// How many rows the file holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// True for a file without rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows are damaged or cannot be found where they stand.
    #[must_use]
    pub fn damaged(&self) -> usize {
        let rows = self.rows();
        let ordered = |pair: &[Row]| pair[0][..16] < pair[1][..16];
        let unsound = rows.iter().filter(|row| !is_sound(row)).count();
        unsound + rows.windows(2).filter(|pair| !ordered(pair)).count()
    }

    fn rows(&self) -> &[Row] {
        rows_of((*self.0).as_ref())
    }
}

fn rows_of(content: &[u8]) -> &[Row] {
    content.get(HEADER_LEN..).unwrap_or_default().as_chunks().0
}

/// A memo of what is sound in the bytes of a damaged one, and how many rows those are.
fn salvage(content: &[u8]) -> (Vec<u8>, u64) {
    let file = merge(rows_of(content).to_vec());
    let rows = rows_of(&file).len() as u64;
    (file, rows)
}

/// The memo as `info` and `verify` see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoState {
    /// Rows that the file holds.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// What is wrong with it, if anything.
    pub damage: Option<MissReason>,
}

/// Looks at the memo in the directory of a format.
pub(crate) fn inspect(dir: &Dir) -> MemoState {
    let mut state = MemoState::default();
    match dir.open_file(FILE_NAME) {
        Ok(None) => {}
        Ok(Some((file, metadata))) => {
            state.bytes = metadata.len();
            let read = source::read(&file).map_err(|error| MissReason::Unreadable(error.kind()));
            match read.and_then(|bytes| Ok(MemoFile::from_bytes(bytes)?)) {
                Ok(memo) => {
                    state.rows = memo.len() as u64;
                    state.damage = (memo.damaged() > 0).then_some(FormatError::Table.into());
                }
                Err(why) => state.damage = Some(why),
            }
        }
        Err(error) => state.damage = Some(error.into()),
    }
    state
}

/// Writes the sound rows of a damaged memo anew; returns how many they are.
pub(crate) fn repair(dir: &Dir) -> Result<u64, PutError> {
    let io = |error| PutError::io(dir.path(), error);
    let Ok(Some((file, _))) = dir.open_file(FILE_NAME) else {
        return Ok(0);
    };
    let bytes = source::read(&file).map_err(io)?;
    let (content, rows) = salvage((*bytes).as_ref());
    dir.write_file(FILE_NAME, &content).map_err(io)?;
    Ok(rows)
}

impl fmt::Debug for MemoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoFile {{ rows: {} }}", self.len())
    }
}

fn digest(path: &Path) -> PathDigest {
    first(&blake3::hash(path_bytes(path)))
}

fn row(path: &Path, stamp: &Stamp, source: &SourceHash) -> Row {
    let mut row = [0; ROW_LEN];
    row[..16].copy_from_slice(&digest(path));
    row[16..24].copy_from_slice(&stamp.mtime_ns.to_le_bytes());
    row[24..32].copy_from_slice(&stamp.size.to_le_bytes());
    row[32..40].copy_from_slice(&stamp.inode.to_le_bytes());
    row[40..48].copy_from_slice(&stamp.changed_ns.to_le_bytes());
    row[TAKEN_AT..HASH_AT].copy_from_slice(&stamp.taken_ns.to_le_bytes());
    row[HASH_AT..SUM_AT].copy_from_slice(source.as_bytes());
    let sum = first::<16>(&blake3::hash(&row[..SUM_AT]));
    row[SUM_AT..].copy_from_slice(&sum);
    row
}

fn is_sound(row: &Row) -> bool {
    row[SUM_AT..] == first::<16>(&blake3::hash(&row[..SUM_AT]))
}

fn answer(row: &Row, now: &Stamp) -> Option<SourceHash> {
    let number = |at| array(row, at).map(i64::from_le_bytes);
    let then = Stamp {
        mtime_ns: number(16)?,
        size: u64_at(row, 24)?,
        inode: u64_at(row, 32)?,
        changed_ns: number(40)?,
        taken_ns: number(TAKEN_AT)?,
    };
    let same = Stamp {
        taken_ns: now.taken_ns,
        ..then
    } == *now;
    (same && then.is_settled() && is_sound(row))
        .then(|| array(row, HASH_AT).map(SourceHash::from_bytes))?
}

fn taken(row: &Row) -> i64 {
    array(row, TAKEN_AT).map_or(i64::MIN, i64::from_le_bytes)
}

/// Rows in the order of a file, one per path: of several the one taken last, a damaged one never.
fn merge(mut rows: Vec<Row>) -> Vec<u8> {
    rows.retain(is_sound);
    if rows.len() > MAX_ROWS {
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(taken(row)));
        rows.truncate(MAX_ROWS);
    }
    rows.sort_unstable_by(|a, b| a[..16].cmp(&b[..16]).then(taken(b).cmp(&taken(a))));
    rows.dedup_by(|a, b| a[..16] == b[..16]);
    let mut file = Vec::with_capacity(HEADER_LEN + rows.len() * ROW_LEN);
    file.extend_from_slice(&write_head(MAGIC));
    file.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    file.extend_from_slice(&(ROW_LEN as u64).to_le_bytes());
    file.resize(56, 0);
    let sum = first::<8>(&blake3::hash(&file));
    file.extend_from_slice(&sum);
    for row in &rows {
        file.extend_from_slice(row);
    }
    file
}

/// The memo of one store: the file as it was when first asked, and what was learned since.
#[derive(Default)]
pub(crate) struct Memo {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// True once the file was looked for.
    looked: bool,
    file: Option<Arc<MemoFile>>,
    recent: HashMap<PathDigest, Row>,
}

impl Memo {
    // A panic while the lock was held leaves at worst a row out.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, dir: &Dir, path: &Path, stamp: &Stamp) -> Option<SourceHash> {
        let file = {
            let mut state = self.state();
            if let Some(row) = state.recent.get(&digest(path)) {
                return answer(row, stamp);
            }
            if !state.looked {
                state.looked = true;
                state.file = open(dir);
            }
            state.file.clone()
        };
        file?.get(path, stamp)
    }

    /// Remembers a hash until [`Memo::flush`] writes it; true when it is time to do so.
    pub(crate) fn put(&self, path: &Path, stamp: &Stamp, source: &SourceHash) -> bool {
        if !stamp.is_settled() {
            return false;
        }
        let mut state = self.state();
        state.recent.insert(digest(path), row(path, stamp, source));
        state.recent.len() >= MAX_ROWS / 8
    }

    pub(crate) fn flush(&self, dir: &Dir) -> Result<(), PutError> {
        let recent: Vec<Row> = self.state().recent.values().copied().collect();
        if recent.is_empty() {
            return Ok(());
        }
        let mut rows = open(dir).map_or_else(Vec::new, |file| file.rows().to_vec());
        rows.extend_from_slice(&recent);
        let content = merge(rows);
        dir.write_file(FILE_NAME, &content)
            .map_err(|e| PutError::io(dir.path(), e))?;
        let mut state = self.state();
        state.looked = true;
        state.file = MemoFile::from_bytes(Box::new(content)).ok().map(Arc::new);
        for row in recent {
            let digest: PathDigest = std::array::from_fn(|i| row[i]);
            if state.recent.get(&digest) == Some(&row) {
                state.recent.remove(&digest);
            }
        }
        Ok(())
    }
}

fn open(dir: &Dir) -> Option<Arc<MemoFile>> {
    let (file, _) = dir.open_file(FILE_NAME).ok()??;
    let bytes = source::read(&file).ok()?;
    MemoFile::from_bytes(bytes).ok().map(Arc::new)
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

#[cfg(test)]
mod tests;
