//! The code extra slot: what the eval-frame hook finds out about a code object in two reads.
//!
//! One slot a process, requested when it is first needed. Its word is empty, or the address of
//! the variant that frames of this code are to run, or (odd) the epoch in which the code was
//! looked at and nothing was wanted of it. The slot owns nothing: whoever stores a variant keeps
//! it alive, and takes it out before letting it go.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;

use super::layout::Layout;
use super::swap::word;
use super::symbols::address;

/// What the slot of a code object says.
pub(super) enum Slot {
    /// Nothing.
    Empty,
    /// It was looked at in this epoch.
    Seen(usize),
    /// Its frames are to run this code object.
    Variant(*mut PyObject),
}

type Free = Option<unsafe extern "C" fn(*mut c_void)>;
type RequestIndex = unsafe extern "C" fn(Free) -> isize;
type SetExtra = unsafe extern "C" fn(*mut PyObject, isize, *mut c_void) -> c_int;

#[derive(Clone, Copy)]
struct Extra {
    index: usize,
    set: SetExtra,
}

fn extra() -> Result<Extra, String> {
    static EXTRA: OnceLock<Result<Extra, String>> = OnceLock::new();
    EXTRA.get_or_init(request).clone()
}

fn request() -> Result<Extra, String> {
    let missing = |symbol| format!("this interpreter does not export {symbol}");
    let request = address(c"PyUnstable_Eval_RequestCodeExtraIndex")
        .or_else(|_| address(c"_PyEval_RequestCodeExtraIndex"))
        .map_err(missing)?;
    let set = address(c"PyUnstable_Code_SetExtra")
        .or_else(|_| address(c"_PyCode_SetExtra"))
        .map_err(missing)?;
    // SAFETY: CPython declares the function of either name with this signature.
    let request = unsafe { std::mem::transmute::<*mut c_void, RequestIndex>(request) };
    // SAFETY: CPython declares the function of either name with this signature.
    let set = unsafe { std::mem::transmute::<*mut c_void, SetExtra>(set) };
    // SAFETY: the thread is attached; the slot owns nothing, so there is nothing to free.
    let index = unsafe { request(None) };
    let index = usize::try_from(index)
        .map_err(|_| "other tools use all extra slots of code objects".to_owned())?;
    Ok(Extra { index, set })
}

/// The index of our slot.
pub(super) fn index() -> Result<usize, String> {
    extra().map(|extra| extra.index)
}

/// Reads the slot of a live code object.
pub(super) fn read(code: *mut PyObject, layout: &Layout, slot: usize) -> Slot {
    // SAFETY: callers pass a live code object; the field is a pointer or null.
    let extras = unsafe { word(code, layout.code.extra) } as *mut usize;
    if extras.is_null() {
        return Slot::Empty;
    }
    // SAFETY: the extras of a code object begin with their number, and the slots follow it.
    let n_slots = unsafe { word(extras, 0) };
    if slot >= n_slots {
        return Slot::Empty;
    }
    // SAFETY: as above; the slot was just found to exist.
    let value = unsafe { word(extras, (1 + slot) * size_of::<usize>()) };
    match value {
        0 => Slot::Empty,
        seen if seen & 1 == 1 => Slot::Seen(seen >> 1),
        variant => Slot::Variant(variant as *mut PyObject),
    }
}

/// The code object that frames of `code` run while the hook is installed, if it is another one.
pub(crate) fn variant_of<'py>(
    code: &Bound<'py, PyAny>,
    layout: &Layout,
) -> Option<Bound<'py, PyAny>> {
    match read(code.as_ptr(), layout, index().ok()?) {
        // SAFETY: whoever stored a variant keeps it alive, and takes it out before letting it go.
        Slot::Variant(variant) => unsafe { Bound::from_borrowed_ptr_or_opt(code.py(), variant) },
        Slot::Empty | Slot::Seen(_) => None,
    }
}

/// Has frames of `code` run `variant` while the hook is installed; the caller keeps it alive.
pub(crate) fn set_variant(
    code: &Bound<'_, PyAny>,
    variant: Option<&Bound<'_, PyAny>>,
) -> Result<(), String> {
    store(code, variant.map_or(0, |variant| variant.as_ptr() as usize))
}

/// Remembers that `code` was looked at; a failure only means that it is looked at again.
pub(super) fn mark_seen(code: &Bound<'_, PyAny>, epoch: usize) {
    let _ = store(code, epoch << 1 | 1);
}

fn store(code: &Bound<'_, PyAny>, value: usize) -> Result<(), String> {
    let extra = extra()?;
    let index = isize::try_from(extra.index).unwrap_or(isize::MAX);
    // SAFETY: the thread is attached, `code` is a live code object and the index was given to us.
    let status = unsafe { (extra.set)(code.as_ptr(), index, value as *mut c_void) };
    if status == 0 {
        return Ok(());
    }
    Err(PyErr::fetch(code.py()).to_string())
}
