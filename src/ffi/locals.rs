//! The local variables of a running frame, read and set where they are.
//!
//! `frame.f_locals` of 3.12 and before copies all of them into the dictionary that the program may
//! have got from `locals()`: what is read here changes nothing that the program can see. Slots are
//! those of `co_varnames`, then the cells that are no arguments, then the free variables.
//! Relies on a layout that the self-check of [`super::prove`] has proved.

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use super::layout::{FRAME_OF_OBJECT, Layout, Reference};
use super::swap::word;

/// What the slot of a running frame holds; a cell for what inner functions share.
///
/// `slot` is below `co_nlocalsplus` of the code that the frame runs.
pub(crate) fn slot<'py>(
    frame: &Bound<'py, PyAny>,
    layout: &Layout,
    slot: usize,
) -> Option<Bound<'py, PyAny>> {
    // SAFETY: callers pass frame objects, which hold the address of their frame there.
    let inner = unsafe { word(frame.as_ptr(), FRAME_OF_OBJECT) } as *mut PyObject;
    let offset = layout.frame.localsplus + slot * size_of::<usize>();
    // SAFETY: the frame of a running frame object is alive, and has a word for each slot.
    let value = unsafe { word(inner, offset) };
    // Where references are tagged, the low bits are no address; elsewhere they are zero.
    let value = (value & !3) as *mut PyObject;
    // SAFETY: the running frame holds a reference to what is in its slots, or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(frame.py(), value) }
}

/// Puts a value, or nothing, into the slot of a frame; false where slots are no plain pointers,
/// and the frame's own `f_locals` sets them.
///
/// As for [`slot`]; the frame is not executing bytecode meanwhile.
pub(crate) fn set_slot(
    frame: &Bound<'_, PyAny>,
    layout: &Layout,
    slot: usize,
    value: Option<Bound<'_, PyAny>>,
) -> bool {
    if layout.frame.reference != Reference::Strong {
        return false;
    }
    // SAFETY: callers pass frame objects, which hold the address of their frame there.
    let inner = unsafe { word(frame.as_ptr(), FRAME_OF_OBJECT) } as *mut PyObject;
    let offset = layout.frame.localsplus + slot * size_of::<usize>();
    let place = inner.wrapping_byte_add(offset).cast::<*mut PyObject>();
    let value = value.map_or(std::ptr::null_mut(), Bound::into_ptr);
    // SAFETY: the frame has a word for each slot, which the attached thread alone touches; the
    // reference that `value` owned is the slot's from now on.
    let before = unsafe { place.replace(value) };
    // SAFETY: what was in the slot was the slot's own reference, or null.
    drop(unsafe { Bound::from_owned_ptr_or_opt(frame.py(), before) });
    true
}
