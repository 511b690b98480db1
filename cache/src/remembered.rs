//! The lines that breakpoints were last on, by source: what is worth preparing for the next
//! session.
//!
//! One file for all interpreters, read as a whole and replaced by rename. It is a convenience:
//! a damaged file is an empty one, and of two processes that write at once one may lose its
//! sets. The number of sets, of lines and of bytes is bounded, the oldest sets go first.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::{first, read_head, write_head};
use crate::error::FormatError;
use crate::field::array;

pub(crate) const FILE_NAME: &str = "remembered";
/// A longer file is not read.
pub(crate) const MAX_LEN: u64 = 16 << 20;
const MAGIC: [u8; 8] = *b"DPRLINES";
const HEADER_LEN: usize = 32;
/// Sets that are kept of one path.
const SETS_OF_PATH: usize = 4;
/// Sets that are kept at all.
const MAX_SETS: usize = 4096;
const MAX_LINES: usize = 256;
const MAX_PATH: usize = 1024;
/// A set that is used again is written again at most this often, in seconds.
const RENEW_AFTER: u64 = 24 * 60 * 60;

/// Lines of one source that held breakpoints at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineSet {
    /// Absolute path of the source, links resolved.
    pub path: String,
    /// BLAKE3 of the source as it was then.
    pub source: [u8; 32],
    /// When they were last used, in seconds since the epoch.
    pub used: u64,
    /// The lines as requested, ascending, each once.
    pub lines: Vec<u32>,
}

impl LineSet {
    fn is_small(&self) -> bool {
        !self.lines.is_empty() && self.lines.len() <= MAX_LINES && self.path.len() <= MAX_PATH
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.path, &self.source, &self.lines) == (&other.path, &other.source, &other.lines)
    }
}

/// Reads the content of a file of sets.
pub fn decode(content: &[u8]) -> Result<Vec<LineSet>, FormatError> {
    read_head(content, MAGIC, HEADER_LEN)?;
    let (header, body) = content.split_at(HEADER_LEN);
    if array(header, 16) != Some(first::<16>(&blake3::hash(body))) {
        return Err(FormatError::Entry);
    }
    codec::decode_sets(body)
}

/// The content of a file of sets.
pub(crate) fn encode(sets: &[LineSet]) -> Option<Vec<u8>> {
    let body = codec::encode_sets(sets)?;
    let mut content = Vec::with_capacity(HEADER_LEN + body.len());
    content.extend_from_slice(&write_head(MAGIC));
    content.extend_from_slice(&first::<16>(&blake3::hash(&body)));
    content.extend_from_slice(&body);
    (content.len() as u64 <= MAX_LEN).then_some(content)
}

/// What is to be kept of `old` and `new` sets; `None` when that is `old`, near enough.
pub(crate) fn merge(old: &[LineSet], new: &[LineSet]) -> Option<Vec<LineSet>> {
    let is_known = |set: &&LineSet| {
        let same = old.iter().find(|other| set.is_like(other));
        same.is_some_and(|other| set.used.saturating_sub(other.used) < RENEW_AFTER)
    };
    let fresh: Vec<&LineSet> = new.iter().filter(|set| set.is_small()).collect();
    if fresh.iter().all(is_known) {
        return None;
    }
    let mut all: Vec<LineSet> = fresh.into_iter().chain(old).cloned().collect();
    // Stable: of equally old sets the new ones come first.
    all.sort_by_key(|set| Reverse(set.used));
    let mut of_path: HashMap<String, Vec<LineSet>> = HashMap::new();
    all.retain(|set| {
        let kept = of_path.entry(set.path.clone()).or_default();
        let repeats = kept.iter().any(|other| other.is_like(set));
        let keep = !repeats && kept.len() < SETS_OF_PATH;
        if keep {
            kept.push(set.clone());
        }
        keep
    });
    all.truncate(MAX_SETS);
    Some(all)
}

#[cfg(test)]
mod tests;
