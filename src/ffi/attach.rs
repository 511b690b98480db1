//! How a native thread of ours gets the interpreter.
//!
//! From 3.15 on an interpreter calls itself initialized only when `site` has run, and a program
//! that waits for its debugger does so from there.

use pyo3::prelude::*;

use super::exit;

/// Calls `act` with the interpreter; nothing when it is being taken down, or is gone.
pub(crate) fn try_attach<R>(act: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    if exit::is_starting() {
        // SAFETY: this extension is loaded by an interpreter that runs Python code and has not
        // begun to go down, so a thread state can be made.
        return Some(unsafe { Python::attach_unchecked(act) });
    }
    Python::try_attach(act)
}
