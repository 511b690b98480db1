//! Which packs were read whole and found sound, and the state they were in.
//!
//! A pack is never written again once it is in place, so one that is still in that state does
//! not have to be read again to say so. Damage that leaves no trace in the state of the file is
//! found when an entry is read, and by a check that does not ask here. A damaged row does not
//! count, and a damaged file has none.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::entry::{first, read_head, write_head};
use crate::error::FormatError;

pub(crate) const FILE_NAME: &str = "verified";
const MAGIC: [u8; 8] = *b"DPRSOUND";
const HEADER_LEN: usize = 16;
const ROW_LEN: usize = 80;
/// The rows that are kept; a store with more packs has the others read again.
const MAX_ROWS: usize = 4096;
/// A longer file is not read.
pub(crate) const MAX_LEN: u64 = (HEADER_LEN + ROW_LEN * MAX_ROWS) as u64;

/// The name of a pack and what the system says of its file, as one row without its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackState([u8; ROW_LEN - 16]);

impl PackState {
    pub(crate) fn of(name: &str, metadata: &Metadata) -> Self {
        let mut state = [0; ROW_LEN - 16];
        state[..16].copy_from_slice(&first::<16>(&blake3::hash(name.as_bytes())));
        let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        let modified = nanoseconds(metadata.mtime(), metadata.mtime_nsec());
        // The time of the last change of any kind, which nobody can set back.
        let changed = nanoseconds(metadata.ctime(), metadata.ctime_nsec());
        state[16..24].copy_from_slice(&metadata.size().to_le_bytes());
        state[24..32].copy_from_slice(&modified.to_le_bytes());
        state[32..40].copy_from_slice(&changed.to_le_bytes());
        state[40..48].copy_from_slice(&metadata.ino().to_le_bytes());
        state[48..56].copy_from_slice(&metadata.dev().to_le_bytes());
        Self(state)
    }
}

/// Reads the content of a file of rows.
pub fn decode(content: &[u8]) -> Result<Vec<PackState>, FormatError> {
    read_head(content, MAGIC, HEADER_LEN)?;
    let (rows, rest) = content[HEADER_LEN..].as_chunks::<ROW_LEN>();
    if !rest.is_empty() || rows.len() > MAX_ROWS {
        return Err(FormatError::Bounds);
    }
    let sound = |row: &&[u8; ROW_LEN]| row[64..] == first::<16>(&blake3::hash(&row[..64]));
    let state = |row: &[u8; ROW_LEN]| PackState(std::array::from_fn(|i| row[i]));
    Ok(rows.iter().filter(sound).map(state).collect())
}

/// The content of a file of rows.
pub(crate) fn encode(states: &[PackState]) -> Vec<u8> {
    let mut content = write_head(MAGIC).to_vec();
    for PackState(state) in states.iter().take(MAX_ROWS) {
        content.extend_from_slice(state);
        content.extend_from_slice(&first::<16>(&blake3::hash(state)));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(count: u8) -> Vec<PackState> {
        (0..count).map(|n| PackState([n; 64])).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        for count in [0, 1, 3] {
            let states = states(count);
            assert_eq!(decode(&encode(&states)), Ok(states));
        }
    }

    #[test]
    fn a_damaged_row_counts_as_none() {
        let content = encode(&states(2));
        for at in 0..content.len() {
            let mut damaged = content.clone();
            damaged[at] ^= 0x10;
            let found = decode(&damaged).unwrap_or_default();
            assert!(found.len() < 2, "byte {at}");
            assert!(found.iter().all(|state| states(2).contains(state)));
            let cut = decode(&content[..at]).unwrap_or_default();
            assert!(cut.len() < 2, "cut at {at}");
        }
    }
}
