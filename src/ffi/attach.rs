//! How a native thread of ours gets the interpreter.
//!
//! From 3.15 on an interpreter calls itself initialized only when `site` has run, and a program
//! that waits for its debugger does so from there. Up to 3.13 a thread that asks for the GIL of an
//! interpreter that is going down is unwound, which native code below it does not survive: so
//! before that begins the way in is closed, and who is inside is waited for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::exit;

/// How long threads are waited for that are inside.
const PATIENCE: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_micros(200);

/// How many threads of ours are inside, or on their way.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static CLOSED: AtomicBool = AtomicBool::new(false);

struct Visit;

impl Visit {
    fn begin() -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let visit = Self;
        (!CLOSED.load(Ordering::SeqCst)).then_some(visit)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Calls `act` with the interpreter; nothing when it is being taken down, or is gone.
pub(crate) fn try_attach<R>(act: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let _visit = Visit::begin()?;
    if exit::is_starting() {
        // SAFETY: this extension is loaded by an interpreter that runs Python code and has not
        // begun to go down, so a thread state can be made.
        return Some(unsafe { Python::attach_unchecked(act) });
    }
    Python::try_attach(act)
}

/// Lets no thread of ours in any more, and waits a while for those that are inside.
pub(crate) fn close(py: Python<'_>) {
    CLOSED.store(true, Ordering::SeqCst);
    py.detach(|| {
        let until = Instant::now() + PATIENCE;
        while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < until {
            std::thread::sleep(MOMENT);
        }
    });
}

/// Begins anew in a child of a fork, which has none of the parent's other threads.
pub(crate) fn begin_in_child() {
    INSIDE.store(0, Ordering::SeqCst);
}
