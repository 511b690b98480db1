//! What `CPython` 3.11 takes the trace event for that it is handling.
//!
//! That version lets a frame be sent to another line while it handles a `line` event and in no
//! other, though its evaluation loop goes on at the new line after an `opcode` event just as well.
//! Relies on `tracing` and `tracing_what` of `PyThreadState`, which are read and compared with
//! what they have to hold in an opcode event before anything is written. Later versions read
//! their events elsewhere; there is nothing for this to do there.

use pyo3::ffi::{self, PyThreadState};
use pyo3::prelude::*;

/// `PyThreadState.tracing` and `PyThreadState.tracing_what`.
const TRACING: usize = 44;
const TRACING_WHAT: usize = 48;
/// `PyTrace_LINE` and `PyTrace_OPCODE`.
const LINE: i32 = 2;
const OPCODE: i32 = 7;

/// Has the opcode event that this thread is handling count as a line event until it ends; false
/// when there is no such event.
pub(crate) fn opcode_as_line(py: Python<'_>) -> bool {
    if py.version_info() >= (3, 12) {
        return false;
    }
    // SAFETY: the thread is attached, so it has a state.
    let state: *mut PyThreadState = unsafe { ffi::PyThreadState_Get() };
    let tracing = state.wrapping_byte_add(TRACING).cast::<i32>();
    let what = state.wrapping_byte_add(TRACING_WHAT).cast::<i32>();
    // SAFETY: the state of 3.11 is larger than this; the field is aligned, and only this thread
    // changes it.
    let depth = unsafe { tracing.read() };
    // SAFETY: as above.
    let event = unsafe { what.read() };
    if (depth, event) != (1, OPCODE) {
        return false;
    }
    // SAFETY: as above. The interpreter puts the value of before the event back after it.
    unsafe { what.write(LINE) };
    true
}
