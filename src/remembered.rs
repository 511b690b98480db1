//! The lines that breakpoints were on in this process, for the store to remember.
//!
//! A debugger sets breakpoints one by one and takes them out one by one, so of sets that
//! contain each other the largest is kept, and beside it the last one that was not empty.
//! `dapper-instrument precompile` prepares the variants for them. Breakpoints on columns and
//! functions are left out: the store knows lines alone.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use cache::LineSet;

use crate::registry::{self, WantedFile};

/// Sets that do not contain each other, of one file.
const MOST: usize = 3;

/// What one file had.
struct Recent {
    largest: Vec<LineSet>,
    last: LineSet,
}

static RECENT: LazyLock<Mutex<HashMap<Arc<str>, Recent>>> = LazyLock::new(Mutex::default);

/// Takes note of what a file wants; `source` is the digest of its content.
pub(crate) fn note(wanted: &WantedFile, source: &[u8; 32]) {
    if wanted.every_line || wanted.picks_code() || registry::is_pseudo(&wanted.file) {
        return;
    }
    let mut lines = wanted.lines();
    lines.sort_unstable();
    lines.dedup();
    if lines.is_empty() {
        return;
    }
    let used = SystemTime::now().duration_since(UNIX_EPOCH);
    let set = LineSet {
        path: wanted.file.to_string(),
        source: *source,
        used: used.unwrap_or_default().as_secs(),
        lines,
    };
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(recent) = recent.get_mut(&wanted.file) {
        recent.add(set);
        return;
    }
    let largest = vec![set.clone()];
    recent.insert(Arc::clone(&wanted.file), Recent { largest, last: set });
}

/// What there is to remember.
pub(crate) fn sets() -> Vec<LineSet> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let of_file = |recent: &Recent| {
        let mut sets = recent.largest.clone();
        if !sets.contains(&recent.last) {
            sets.push(recent.last.clone());
        }
        sets
    };
    recent.values().flat_map(of_file).collect()
}

impl Recent {
    fn add(&mut self, set: LineSet) {
        self.largest.retain(|other| !contains(&set, other));
        if !self.largest.iter().any(|other| contains(other, &set)) {
            self.largest.push(set.clone());
            let surplus = self.largest.len().saturating_sub(MOST);
            self.largest.drain(..surplus);
        }
        self.last = set;
    }
}

/// Whether one set has all lines of another of the same content.
fn contains(set: &LineSet, other: &LineSet) -> bool {
    let has = |line: &u32| set.lines.binary_search(line).is_ok();
    set.source == other.source && other.lines.iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[u32]) -> LineSet {
        LineSet {
            path: "/a.py".to_owned(),
            source: [1; 32],
            used: 0,
            lines: lines.to_vec(),
        }
    }

    fn after(sets: &[&[u32]]) -> (Vec<Vec<u32>>, Vec<u32>) {
        let first = set(sets[0]);
        let mut recent = Recent {
            largest: vec![first.clone()],
            last: first,
        };
        for lines in &sets[1..] {
            recent.add(set(lines));
        }
        let largest = recent.largest.into_iter().map(|set| set.lines);
        (largest.collect(), recent.last.lines)
    }

    #[test]
    fn the_largest_set_and_the_last_one_stay() {
        let (largest, last) = after(&[&[1], &[1, 2], &[1, 2, 3], &[2, 3], &[3]]);
        assert_eq!((largest, last), (vec![vec![1, 2, 3]], vec![3]));
        let (largest, last) = after(&[&[1], &[2], &[3], &[4], &[1]]);
        assert_eq!((largest, last), (vec![vec![3], vec![4], vec![1]], vec![1]));
    }
}
