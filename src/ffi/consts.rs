//! Changes the constants of code objects: of one that nobody runs yet, and nested code in any.
//!
//! A variant comes out of `marshal.loads` with `None` where its probes belong. Until it is first
//! executed or hashed, and while its constants tuple belongs to it alone, storing into that tuple
//! cannot be observed: no instruction has been specialised on the old constant (3.14+), no
//! borrowed reference to it is on a stack (3.15), and no hash of the tuple is cached (3.14+).
//! Nested code is what `MAKE_FUNCTION` takes right after it was loaded, without another
//! instruction between: replacing it decides which code the functions made from now on get.

use crate::ffi::name::name;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::layout::Layout;
use super::swap::{word, write_word};

/// The references to a constants tuple just read from its code object: the code's and ours.
const UNSHARED: u32 = 2;

/// Stores `constants` (index, object) into the constants of `code`.
///
/// `Ok(false)` means that the tuple is shared with another object or too short, and nothing was
/// stored. The code object must be fresh: never executed, never hashed.
pub(crate) fn replace(code: &Bound<'_, PyAny>, constants: &[(usize, Py<PyAny>)]) -> PyResult<bool> {
    let py = code.py();
    let tuple = code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?;
    let n_constants = tuple.len();
    if reference_count(tuple.as_any()) != UNSHARED
        || constants.iter().any(|(index, _)| *index >= n_constants)
    {
        return Ok(false);
    }
    let pointer = tuple.into_ptr();
    // SAFETY: `pointer` carries the reference given up by `into_ptr`; the code object owns the
    // other one, so the tuple lives on. One reference left is what `PyTuple_SetItem` requires.
    unsafe { ffi::Py_DecRef(pointer) };
    let mut stored = Ok(true);
    for (index, object) in constants {
        let index = ffi::Py_ssize_t::try_from(*index).unwrap_or(ffi::Py_ssize_t::MAX);
        let object = object.clone_ref(py).into_ptr();
        // SAFETY: the thread is attached, `pointer` is a live tuple whose only reference is the
        // code object's, and the reference to `object` is given away.
        if unsafe { ffi::PyTuple_SetItem(pointer, index, object) } != 0 {
            stored = Err(PyErr::fetch(py));
            break;
        }
    }
    stored
}

/// Has the functions that `code` makes from now on run `nested`, which takes the place of the
/// nested code object at `index` of its constants.
///
/// The caller keeps what stood there alive: another thread may be between loading it and making
/// its function.
pub(crate) fn relink(
    code: &Bound<'_, PyAny>,
    index: usize,
    nested: &Bound<'_, PyAny>,
    layout: &Layout,
) -> PyResult<()> {
    let tuple = code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?;
    // Finds out whether there is such an item.
    tuple.get_item(index)?;
    let slot = layout.tuple_items + index * size_of::<usize>();
    // SAFETY: `tuple` is a live tuple with an item at `index`.
    let old = unsafe { word(tuple.as_ptr(), slot) };
    let nested = nested.clone().into_ptr() as usize;
    // SAFETY: as above; the tuple owns the reference given up here.
    unsafe { write_word(tuple.as_ptr(), slot, nested) };
    // SAFETY: the tuple owned this reference, and no longer does.
    unsafe { ffi::Py_DecRef(old as *mut ffi::PyObject) };
    Ok(())
}

/// The reference count of a mortal object: 3.12+ keep it in the low 32 bits of the word.
pub(crate) fn reference_count(object: &Bound<'_, PyAny>) -> u32 {
    let pointer = object.as_ptr().cast::<u32>();
    // SAFETY: `object` is alive, and every object of the GIL builds of 3.11 to 3.15 starts with
    // its reference count, little-endian.
    unsafe { pointer.read() }
}
