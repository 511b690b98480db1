//! The attributes that an object holds itself, read without running any code of its class.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

/// The dictionary of an object, if it has one: what `object.__dict__` is, whatever its class
/// makes of the name. Not for modules and classes, which keep theirs elsewhere.
pub(crate) fn own<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    // SAFETY: the thread is attached and `object` is alive; the second argument is not used.
    let found = unsafe { ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut()) };
    // SAFETY: the function returns a new reference, or null with an exception set.
    let found = unsafe { Bound::from_owned_ptr_or_err(object.py(), found) };
    found.ok()?.cast_into().ok()
}

/// The native function by which instances of a class make their `repr`, by address: a class
/// without one of its own has that of the class it inherits it from.
pub(crate) fn repr_slot(class: &Bound<'_, PyType>) -> usize {
    // SAFETY: the thread is attached, `class` is a type, and the slot is one of a type's.
    unsafe { ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_repr) as usize }
}
