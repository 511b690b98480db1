//! The code that a function object holds, stored without telling the interpreter.
//!
//! Assigning `__code__` clears the version of the function, and from 3.13 on calls to it are never
//! specialised again. The specialised forms of a call check the version and read the code when
//! they run, so a variant that takes the same arguments and has the same local variables can be
//! stored in place: call sites stay as fast as they were, and restoring leaves no trace. A JIT
//! takes the code for granted once it has seen it, so the attribute is assigned where one is on.

use crate::ffi::name::name;
use pyo3::ffi;
use pyo3::prelude::*;

use super::layout::Layout;
use super::swap::{word, write_word};

/// Has the calls of `function` from now on run `code`, a variant of what it runs or the original.
pub(crate) fn set_code(
    function: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    layout: Option<&Layout>,
) -> PyResult<()> {
    let Some(layout) = layout else {
        return function.setattr(name!("__code__"), code);
    };
    let pointer = function.as_ptr();
    // SAFETY: callers pass a live function object of this version.
    let old = unsafe { word(pointer, layout.function.code) };
    let new = code.clone().into_ptr() as usize;
    // SAFETY: as above; the function owns the reference given up here.
    unsafe { write_word(pointer, layout.function.code, new) };
    // SAFETY: the function owned this reference, and no longer does.
    unsafe { ffi::Py_DecRef(old as *mut ffi::PyObject) };
    Ok(())
}

/// What holds code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A function.
    Function,
    /// A generator, a coroutine or an asynchronous generator.
    Generator,
}

/// The address of the file name in the code of a function or generator, read in place: two loads
/// where attributes would take two calls. Nothing when there is no code any more.
pub(crate) fn file_name_address(
    object: &Bound<'_, PyAny>,
    holder: Holder,
    layout: &Layout,
) -> Option<usize> {
    let offset = match holder {
        Holder::Function => layout.function.code,
        Holder::Generator => layout.generator.code,
    };
    // SAFETY: callers pass a live object of that type; its layout was proved.
    let code = unsafe { word(object.as_ptr(), offset) } & !3;
    if code == 0 {
        return None;
    }
    // SAFETY: the object holds its code, which is a live code object.
    Some(unsafe { word(code as *mut ffi::PyObject, layout.code.file_name) })
}
