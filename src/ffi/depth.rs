//! How deep the calls of this thread are.
//!
//! The interpreter counts down how many more calls of Python code may nest. That costs nothing to
//! read, where to look at the frames would make objects of them. Relies on the layout of thread
//! states, which is proved by changing the limit and back.

use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;

use super::layout;

/// How many more calls may nest, and how deep they may be in all.
fn read(_py: Python<'_>, limit: usize) -> (i32, i32) {
    // SAFETY: the thread is attached, so it has a thread state.
    let state = unsafe { ffi::PyThreadState_Get() };
    let limit = state.wrapping_byte_add(limit).cast::<i32>();
    // SAFETY: thread states of every version are longer than the offset, which is aligned.
    let deepest = unsafe { limit.read() };
    // SAFETY: as above; the field before it has the same type.
    let left = unsafe { limit.wrapping_sub(1).read() };
    (left, deepest)
}

/// How many more calls may nest in this thread; nothing where that cannot be known.
pub(crate) fn calls_left(py: Python<'_>) -> Option<i32> {
    static PROVED: OnceLock<Option<usize>> = OnceLock::new();
    let offset = *PROVED.get_or_init(|| prove(py));
    offset.map(|limit| read(py, limit).0)
}

/// Runs no bytecode, so that the program never sees the other limit.
fn prove(py: Python<'_>) -> Option<usize> {
    let minor = py.version_info().minor;
    let offset = layout::of_minor(minor)?.thread.recursion_limit;
    // SAFETY: the thread is attached.
    let limit = unsafe { ffi::Py_GetRecursionLimit() };
    let before = read(py, offset);
    // SAFETY: the thread is attached, and a limit that is larger than the one before is valid.
    unsafe { ffi::Py_SetRecursionLimit(limit + 1) };
    let during = read(py, offset);
    // SAFETY: as above; it was valid before.
    unsafe { ffi::Py_SetRecursionLimit(limit) };
    let agrees = before.1 == limit && during == (before.0 + 1, limit + 1);
    agrees.then_some(offset)
}
