//! Who may change loaded code: one thread at a time.
//!
//! Changing code runs no bytecode, but for the self-check before the first change, and for what
//! other tools have put in the way: an audit hook written in Python may set a breakpoint itself, or
//! let a signal handler do so. What the thread asks for that has its turn already is put off, and
//! done when it comes to its end. A turn belongs to a process: a child that was forked in the
//! middle of one has nobody to wait for. Relies on the GIL, which is held wherever this is asked.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

/// Between two looks whether the turn is free; it hardly ever is not.
const PAUSE: Duration = Duration::from_micros(50);

/// The process in which a thread has the turn; 0 when none has.
static HELD_IN: AtomicU32 = AtomicU32::new(0);
static PUT_OFF: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The process in which this thread has the turn.
    static OWN: Cell<u32> = const { Cell::new(0) };
}

/// The right to change loaded code, until it is dropped.
pub(super) struct Turn(());

impl Turn {
    /// Waits for the turn; nothing when this thread has it.
    pub(super) fn take(py: Python<'_>) -> Option<Self> {
        if OWN.get() == std::process::id() {
            return None;
        }
        loop {
            if let Some(turn) = Self::try_take() {
                return Some(turn);
            }
            py.detach(|| std::thread::sleep(PAUSE));
        }
    }

    /// The turn, if nobody has it.
    pub(super) fn try_take() -> Option<Self> {
        let process = std::process::id();
        if HELD_IN.load(Ordering::Relaxed) == process {
            return None;
        }
        HELD_IN.store(process, Ordering::Relaxed);
        OWN.set(process);
        Some(Self(()))
    }

    /// The files that were put off since the turn was taken, or since this was last asked.
    #[expect(clippy::unused_self, reason = "only who has the turn may ask")]
    pub(super) fn put_off_meanwhile(&self) -> Option<HashSet<Arc<str>>> {
        let files = std::mem::take(&mut *put_off_files());
        (!files.is_empty()).then_some(files)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        OWN.set(0);
        HELD_IN.store(0, Ordering::Relaxed);
    }
}

fn put_off_files() -> MutexGuard<'static, HashSet<Arc<str>>> {
    PUT_OFF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `files` brought in line at the end of the turn.
pub(super) fn put_off(files: &HashSet<Arc<str>>) {
    put_off_files().extend(files.iter().cloned());
}
