//! Who may change loaded code: one thread at a time.
//!
//! Changing code runs no bytecode, but for what other tools have put in the way: an audit hook
//! written in Python may set a breakpoint itself, or let a signal handler do so. What the thread
//! asks for that has its turn already is put off, and done when it comes to its end.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;

static TURN: Mutex<()> = Mutex::new(());
static PUT_OFF: LazyLock<Mutex<HashSet<Arc<str>>>> = LazyLock::new(Mutex::default);

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

/// The right to change loaded code, until it is dropped.
pub(super) struct Turn {
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for the turn; nothing when this thread has it.
    pub(super) fn take(py: Python<'_>) -> Option<Self> {
        if OWN.get() {
            return None;
        }
        let guard = TURN
            .lock_py_attached(py)
            .unwrap_or_else(PoisonError::into_inner);
        Some(Self::new(guard))
    }

    /// The turn, if nobody has it.
    pub(super) fn try_take() -> Option<Self> {
        TURN.try_lock().ok().map(Self::new)
    }

    fn new(guard: MutexGuard<'static, ()>) -> Self {
        OWN.set(true);
        Self { _guard: guard }
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
        OWN.set(false);
    }
}

fn put_off_files() -> MutexGuard<'static, HashSet<Arc<str>>> {
    PUT_OFF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `files` brought in line at the end of the turn.
pub(super) fn put_off(files: &HashSet<Arc<str>>) {
    put_off_files().extend(files.iter().cloned());
}
