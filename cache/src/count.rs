//! Counts of what a store did in this process, for summaries and telemetry.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something a store counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// A lookup answered from a pack.
    PackHit,
    /// A lookup answered from the overlay.
    OverlayHit,
    /// A lookup of a key that is not stored.
    MissAbsent,
    /// A lookup that found damaged bytes only.
    MissCorrupt,
    /// A lookup that found an entry written in another format only.
    MissFormat,
    /// A lookup that found an untrusted file only.
    MissUntrusted,
    /// A lookup that the operating system refused.
    MissUnreadable,
    /// An entry written.
    Put,
    /// An entry that could not be written.
    PutFailed,
    /// A source whose hash the memo knew.
    MemoHit,
    /// A source whose hash the memo did not know.
    MemoMiss,
}

const COUNTERS: usize = Counter::MemoMiss as usize + 1;

/// A snapshot of all counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; COUNTERS]);

impl Counts {
    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Lookups that were answered.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.get(Counter::PackHit) + self.get(Counter::OverlayHit)
    }

    /// Lookups that were not answered, for whatever reason.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.0[Counter::MissAbsent as usize..=Counter::MissUnreadable as usize]
            .iter()
            .sum()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; COUNTERS]);

impl Counters {
    pub(crate) fn add(&self, counter: Counter) {
        self.0[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Counts {
        Counts(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}
