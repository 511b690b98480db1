//! One frame runs other code: the swap in place.
//!
//! A fresh frame of the thread's data stack gets another code object and instruction pointer, and
//! more room when the other code needs more stack; its arguments, function, globals, locals and
//! caller stay. The other code has to have the same arguments, flags and local variables.
//! Relies on the layouts of [`super::layout`]; runs with the GIL held, from the eval-frame hook.

use crate::ffi::name::name;
use std::ffi::c_int;

use pyo3::ffi::{self, PyObject, PyThreadState};
use pyo3::prelude::*;

use super::layout::{Layout, Reference};
use super::symbols::InterpreterFrame;

/// The code object that a frame runs.
pub(super) fn code_of(frame: *mut InterpreterFrame, layout: &Layout) -> *mut PyObject {
    // SAFETY: callers pass a live interpreter frame of this version.
    let code = unsafe { word(frame, layout.frame.code) };
    (code & !3) as *mut PyObject
}

/// Whether a frame lies on the data stack and is about to run its first instruction.
pub(super) fn is_fresh(frame: *mut InterpreterFrame, layout: &Layout) -> bool {
    let owner = frame.wrapping_byte_add(layout.frame.owner).cast::<u8>();
    // SAFETY: callers pass a live interpreter frame of this version.
    let owner = unsafe { owner.read() };
    // SAFETY: as above.
    let instruction = unsafe { word(frame, layout.frame.instruction) };
    owner == 0 && instruction == first_instruction(code_of(frame, layout), layout)
}

/// Whether the locals of a frame are its globals.
pub(super) fn is_module(frame: *mut InterpreterFrame, layout: &Layout) -> bool {
    // SAFETY: callers pass a live interpreter frame of this version.
    let locals = unsafe { word(frame, layout.frame.locals) };
    // SAFETY: as above.
    let globals = unsafe { word(frame, layout.frame.globals) };
    locals == globals
}

fn first_instruction(code: *mut PyObject, layout: &Layout) -> usize {
    code as usize + layout.code.adaptive - 2 * layout.frame.fresh_lead
}

/// Has a fresh frame run `variant`, or says why it cannot and leaves it alone.
pub(super) fn swap(
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    layout: &Layout,
    variant: *mut PyObject,
) -> Result<(), &'static str> {
    let fields = &layout.frame;
    let needed = frame_words(variant, layout) * size_of::<usize>();
    let reserved = frame_words(code_of(frame, layout), layout) * size_of::<usize>();
    let base = frame as usize;
    if needed > reserved {
        // SAFETY: `thread` is the live thread state that the interpreter passed to the hook.
        let top = unsafe { word(thread, layout.thread.stack_top) };
        // SAFETY: as above.
        let limit = unsafe { word(thread, layout.thread.stack_limit) };
        if base + reserved != top {
            return Err("the frame is not the topmost one of its thread");
        }
        if base + needed > limit {
            return Err("no room on the data stack of the thread");
        }
        // SAFETY: the room up to `limit` belongs to this thread and nothing lies above the frame.
        unsafe { write_word(thread, layout.thread.stack_top, base + needed) };
    }
    // SAFETY: `frame` is a live, fresh frame of this version.
    let old = unsafe { word(frame, fields.code) };
    // SAFETY: callers pass a live code object; the frame owns the new reference. An untagged word
    // owns its reference in both representations.
    unsafe { ffi::Py_IncRef(variant) };
    // SAFETY: as above.
    unsafe { write_word(frame, fields.code, variant as usize) };
    let first = first_instruction(variant, layout);
    // SAFETY: `first` is where a fresh frame of the variant starts.
    unsafe { write_word(frame, fields.instruction, first) };
    if fields.reference == Reference::Strong || old & 1 == 0 {
        // SAFETY: the word just overwritten owned this reference.
        unsafe { ffi::Py_DecRef((old & !3) as *mut PyObject) };
    }
    Ok(())
}

/// Has the fresh frame of a module run `replacement`, and its function hold it.
pub(super) fn swap_module(
    py: Python<'_>,
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    layout: &Layout,
    replacement: &Py<PyAny>,
) -> Result<(), &'static str> {
    // SAFETY: `frame` is a live interpreter frame of this version.
    let function = unsafe { word(frame, layout.frame.function) } & !3;
    // SAFETY: the frame owns a reference to its function, so the object is alive.
    let function = unsafe { Bound::from_borrowed_ptr(py, function as *mut PyObject) };
    let original = code_of(frame, layout);
    // SAFETY: the frame owns a reference to its code, so the object is alive.
    let original = unsafe { Bound::from_borrowed_ptr(py, original) };
    // The trace optimiser of a JIT build takes a function's code for the code of its frame.
    function
        .setattr(name!("__code__"), replacement)
        .map_err(|_| "the function refused the code")?;
    let swapped = swap(thread, frame, layout, replacement.as_ptr());
    if swapped.is_err() {
        // What was accepted before is accepted again.
        let _ = function.setattr(name!("__code__"), original);
    }
    swapped
}

/// Makes every later frame of `original` big enough for `variant`, which generators need: they
/// are sized by the code of their function, not by that of the frame.
pub(crate) fn reserve(original: &Bound<'_, PyAny>, variant: &Bound<'_, PyAny>, layout: &Layout) {
    let field = layout.code.frame_size.unwrap_or(layout.code.stack_size);
    let needed = int(variant.as_ptr(), field);
    if needed > int(original.as_ptr(), field) {
        let field = original.as_ptr().wrapping_byte_add(field).cast::<c_int>();
        let needed = c_int::try_from(needed).unwrap_or(c_int::MAX);
        // SAFETY: `original` is a live code object and the offset that of a C `int`, which the
        // interpreter reads when it makes a frame and nowhere else.
        unsafe { field.write(needed) };
    }
}

/// How many words a frame of this code object takes.
pub(super) fn frame_words(code: *mut PyObject, layout: &Layout) -> usize {
    let fields = &layout.code;
    if let Some(frame_size) = fields.frame_size {
        return int(code, frame_size);
    }
    layout.frame.localsplus / size_of::<usize>()
        + int(code, fields.n_localsplus)
        + int(code, fields.stack_size)
}

/// A non-negative C `int` field of a code object.
pub(super) fn int(code: *mut PyObject, offset: usize) -> usize {
    let field = code.wrapping_byte_add(offset).cast::<c_int>();
    // SAFETY: callers pass a live code object and an offset of this version's layout.
    let value = unsafe { field.read() };
    usize::try_from(value).unwrap_or(usize::MAX / 64)
}

/// # Safety
/// `base` must point to a live struct that holds an aligned word at `offset`.
pub(super) unsafe fn word<T>(base: *mut T, offset: usize) -> usize {
    let field = base.wrapping_byte_add(offset).cast::<usize>();
    // SAFETY: the caller's contract.
    unsafe { field.read() }
}

/// # Safety
/// `base` must point to a live struct that holds an aligned, writable word at `offset`.
pub(super) unsafe fn write_word<T>(base: *mut T, offset: usize, value: usize) {
    let field = base.wrapping_byte_add(offset).cast::<usize>();
    // SAFETY: the caller's contract.
    unsafe { field.write(value) };
}
