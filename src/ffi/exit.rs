//! What runs after the interpreter: `Py_AtExit`.
//!
//! `atexit` callbacks run before the modules are taken down, and the destructors that run then are
//! still code of the program.

use std::sync::{Mutex, PoisonError};

use pyo3::ffi::{Py_AtExit, Py_IsInitialized};

static LAST: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Has `action` run when the interpreter is gone, after those given before; false when it cannot.
///
/// `action` may call nothing of Python.
pub(crate) fn after_the_interpreter(action: fn()) -> bool {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `run` has the signature that Py_AtExit takes, and the thread is attached, as
    // everything that calls into this extension is.
    if last.is_empty() && unsafe { Py_AtExit(Some(run)) } != 0 {
        return false;
    }
    last.push(action);
    true
}

/// Whether the interpreter is being taken down: modules lose their names, and nothing imports.
pub(crate) fn is_finalizing() -> bool {
    // SAFETY: may be called at any time.
    unsafe { Py_IsInitialized() == 0 }
}

extern "C" fn run() {
    let actions = std::mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner));
    for action in actions {
        // A panic must not cross into C; at this point there is nobody left to tell.
        let _ = std::panic::catch_unwind(action);
    }
}
