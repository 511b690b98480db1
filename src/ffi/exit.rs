//! What runs after the interpreter: `Py_AtExit`.
//!
//! `atexit` callbacks run before the modules are taken down, and the destructors that run then are
//! still code of the program.

use std::sync::OnceLock;

use pyo3::ffi::{Py_AtExit, Py_IsInitialized};

static LAST: OnceLock<fn()> = OnceLock::new();

/// Has `action` run when the interpreter is gone; false when it cannot, or one was given before.
///
/// `action` may call nothing of Python.
pub(crate) fn after_the_interpreter(action: fn()) -> bool {
    if LAST.set(action).is_err() {
        return false;
    }
    // SAFETY: `run` has the signature that Py_AtExit takes, and the thread is attached, as
    // everything that calls into this extension is.
    unsafe { Py_AtExit(Some(run)) == 0 }
}

/// Whether the interpreter is being taken down: modules lose their names, and nothing imports.
pub(crate) fn is_finalizing() -> bool {
    // SAFETY: may be called at any time.
    unsafe { Py_IsInitialized() == 0 }
}

extern "C" fn run() {
    if let Some(action) = LAST.get() {
        // A panic must not cross into C; at this point there is nobody left to tell.
        let _ = std::panic::catch_unwind(action);
    }
}
