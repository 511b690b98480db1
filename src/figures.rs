//! How often a breakpoint was passed, what came of it, and what it cost.
//!
//! All of it is counted by whoever passes, without a lock. Time is measured in the first passes
//! and in one of [`SAMPLE`] after that, and stands for those that were not measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One pass of so many is measured.
const SAMPLE: u64 = 64;

/// The figures of one breakpoint.
#[derive(Debug, Default)]
pub struct Figures {
    hits: AtomicU64,
    fired: AtomicU64,
    evaluations: AtomicU64,
    held: AtomicU64,
    errors: AtomicU64,
    passes: AtomicU64,
    nanoseconds: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Whether conditions were evaluated in the line, where nobody counts.
    uncounted: AtomicBool,
}

impl Figures {
    /// Conditions are evaluated where nobody counts.
    pub fn leave_uncounted(&self) {
        self.uncounted.store(true, Ordering::Relaxed);
    }

    /// Counts an evaluation that begins.
    pub fn count_started(&self) {
        self.evaluations.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts that a condition which was counted when it began held.
    pub fn count_held(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a pass at which the condition held, and returns how many there were.
    pub fn count_hit(&self) -> u64 {
        self.hits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a hit that the hit rule let through.
    pub fn count_fired(&self) {
        self.fired.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an evaluation of the condition that came to an end.
    pub fn count_evaluation(&self, held: bool) {
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        if held {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an evaluation of the condition that failed, and that was counted when it began;
    /// `error` says how.
    pub fn count_error(&self, error: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_owned());
    }

    /// Begins a pass; for how many passes its time stands, if it is to be measured.
    pub fn begin_pass(&self) -> Option<u32> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        match pass {
            0..SAMPLE => Some(1),
            _ if pass.is_multiple_of(SAMPLE) => u32::try_from(SAMPLE).ok(),
            _ => None,
        }
    }

    /// Adds the time of passes.
    pub fn spend(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How often the condition held; the hit rule compares this.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often condition and hit rule let it do what it is for.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }

    /// How often the condition was evaluated, if that is known.
    pub fn evaluations(&self) -> Option<u64> {
        let counted = !self.uncounted.load(Ordering::Relaxed);
        counted.then(|| self.evaluations.load(Ordering::Relaxed))
    }

    /// How often the condition raised.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Which share of the evaluations came out true.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 53 bits"
    )]
    pub fn true_share(&self) -> Option<f64> {
        let evaluations = self.evaluations()?;
        let held = self.held.load(Ordering::Relaxed);
        (evaluations > 0).then(|| held as f64 / evaluations as f64)
    }

    /// What the condition raised last.
    pub fn last_error(&self) -> Option<String> {
        let last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    /// How long evaluating took, callbacks aside: measured, and extrapolated.
    pub fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(Ordering::Relaxed)
    }

    /// Counts from nothing again.
    pub fn reset(&self) {
        let all = [
            &self.hits,
            &self.fired,
            &self.evaluations,
            &self.held,
            &self.errors,
            &self.passes,
            &self.nanoseconds,
        ];
        for figure in all {
            figure.store(0, Ordering::Relaxed);
        }
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = None;
    }
}
