//! Keeping a store within its limits: when asked to, and by itself beside those who write.
//!
//! Whoever writes also tidies, once an hour at the most or after a sixteenth of the limit was
//! written, so that the cost is a comparison at a write and one `stat` at the end of a process.
//! The time at which anybody last did is the modification time of a file beside the memo.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Access, Store};
use crate::error::PutError;
use crate::evict::{self, Limits, Removal};

/// Its modification time says when the store was last tidied.
const MARKER: &str = "tidied";
const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);
/// What was written or used so recently stays, whatever the limits say.
const SPARE: Duration = Duration::from_secs(60 * 60);
const PORTION: u64 = 16;

impl Store {
    /// Removes what is older or more than the limits allow, for all interpreters.
    pub fn evict(&self, limits: &Limits) -> Result<Removal, PutError> {
        self.evict_but(limits, Duration::ZERO)
    }

    fn evict_but(&self, limits: &Limits, spare: Duration) -> Result<Removal, PutError> {
        let dir = self.writable(self.version.as_ref())?;
        let removal = evict::evict(dir, limits, spare).map_err(|e| PutError::io(dir.path(), e));
        self.refresh();
        removal
    }

    /// Has the store kept within limits by this process, when it writes; the first call counts.
    pub fn keep_within(&self, limits: Limits) {
        // A later call changes nothing, as documented.
        let _ = self.limits.set(limits);
    }

    /// Keeps the store within its limits if this process has written and it is time to.
    ///
    /// Call it when the work is done. What was used within the last hour stays.
    pub fn tidy(&self) -> Option<Removal> {
        let limits = self.limits.get()?;
        if self.access != Access::ReadWrite || self.written.load(Ordering::Relaxed) == 0 {
            return None;
        }
        (self.wrote_a_portion(limits) || self.is_due()).then(|| self.tidy_now(limits))?
    }

    /// Counts what was written to the overlay, and tidies when that has become much.
    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        if let Some(limits) = self.limits.get()
            && self.wrote_a_portion(limits)
        {
            self.tidy_now(limits);
        }
    }

    fn wrote_a_portion(&self, limits: &Limits) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        limits.max_bytes.is_some_and(|max| written > max / PORTION)
    }

    fn tidy_now(&self, limits: &Limits) -> Option<Removal> {
        let dir = self.version.as_ref()?;
        self.written.store(0, Ordering::Relaxed);
        // Before the work, so that others leave it to us; without the mark they do it too.
        let _ = dir.write_file(MARKER, &[]);
        // What cannot be removed now is tried again by the next process that writes.
        self.evict_but(limits, SPARE).ok()
    }

    /// Whether nobody has tidied for long, or at a time that is yet to come.
    fn is_due(&self) -> bool {
        let Some(Ok(mark)) = self.version.as_ref().map(|dir| dir.stat(MARKER)) else {
            return true;
        };
        let at = u64::try_from(mark.mtime).map(Duration::from_secs);
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let age = at.ok().and_then(|at| since.checked_sub(at));
        age.is_none_or(|age| age > TIDY_EVERY)
    }
}
