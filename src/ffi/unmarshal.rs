//! Objects from marshal bytes that lie anywhere in memory.
//!
//! `marshal.loads` would want an object that holds them; for a module of a warm store that is one
//! copy of all its code more. The function behind it takes an address and is the same otherwise,
//! its audit event included.

use std::ffi::{c_char, c_void};
use std::sync::OnceLock;

use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::name::name;
use super::symbols::address;

type ReadObject = unsafe extern "C" fn(*const c_char, Py_ssize_t) -> *mut PyObject;

/// What `marshal.loads` gives for the bytes.
pub(crate) fn loads<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static READ: OnceLock<Option<ReadObject>> = OnceLock::new();
    let found = READ.get_or_init(|| {
        let read = address(c"PyMarshal_ReadObjectFromString").ok()?;
        // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
        Some(unsafe { std::mem::transmute::<*mut c_void, ReadObject>(read) })
    });
    let (Some(read), Ok(length)) = (*found, Py_ssize_t::try_from(bytes.len())) else {
        let bytes = PyBytes::new(py, bytes);
        return py.import("marshal")?.call_method1(name!("loads"), (bytes,));
    };
    // SAFETY: the thread is attached; the function reads `length` bytes and keeps none of them.
    let object = unsafe { read(bytes.as_ptr().cast(), length) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }
}
