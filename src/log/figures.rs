//! How many records were written, dropped and failed in this process, and why they were dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use super::target::Target;

/// A number that only grows.
pub(super) struct Figure(AtomicU64);

/// Records that their target has taken.
pub(super) static WRITTEN: Figure = Figure(AtomicU64::new(0));
/// Records that their target refused.
pub(super) static FAILED: Figure = Figure(AtomicU64::new(0));
/// Records that were never offered to their target, by the reason.
pub(super) static DROPPED: [Figure; Dropped::ALL.len()] =
    [const { Figure(AtomicU64::new(0)) }; Dropped::ALL.len()];

impl Figure {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts from nothing, as a child of `fork` does.
pub(super) fn reset() {
    for figure in [&WRITTEN, &FAILED].into_iter().chain(&DROPPED) {
        figure.0.store(0, Ordering::Relaxed);
    }
}

/// Why a record was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// As much waits as may wait.
    Slow,
    /// The record alone is longer than what may wait.
    TooLong,
    /// The program ended before its reader took the record.
    AtExit,
}

impl Dropped {
    pub(super) const ALL: [Self; 3] = [Self::Slow, Self::TooLong, Self::AtExit];

    /// The word that figures use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::TooLong => "too_long",
            Self::AtExit => "at_exit",
        }
    }

    /// As the stream tells it.
    pub(super) fn reason(self, target: &Target, limit: usize) -> String {
        match self {
            Self::Slow | Self::AtExit => target.too_slow(),
            Self::TooLong => format!("longer than the {limit} bytes that may wait"),
        }
    }
}
