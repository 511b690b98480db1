//! Interpreter functions that the stable ABI does not declare, found by name at run time.
//!
//! Looking them up instead of linking them lets the extension load, and say what is missing, in
//! an interpreter that does not export one of them.

use crate::ffi::name::name;
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

use pyo3::ffi::{PyInterpreterState, PyObject, PyThreadState};
use pyo3::prelude::*;

use super::tracing;

/// An interpreter frame, opaque: its fields are reached through `layout`.
#[repr(C)]
pub(crate) struct InterpreterFrame {
    opaque: [usize; 0],
}

/// The signature of an eval-frame function (PEP 523), the same in all versions.
pub(crate) type EvalFrame =
    unsafe extern "C" fn(*mut PyThreadState, *mut InterpreterFrame, c_int) -> *mut PyObject;

type GetEvalFrame = unsafe extern "C" fn(*mut PyInterpreterState) -> EvalFrame;
type SetEvalFrame = unsafe extern "C" fn(*mut PyInterpreterState, EvalFrame);

/// The functions that read and replace the eval-frame hook.
#[derive(Clone, Copy)]
pub(crate) struct EvalFrameSymbols {
    /// `_PyInterpreterState_GetEvalFrameFunc`
    pub(crate) get: GetEvalFrame,
    /// `_PyInterpreterState_SetEvalFrameFunc`
    pub(crate) set: SetEvalFrame,
    /// `_PyEval_EvalFrameDefault`
    pub(crate) default: EvalFrame,
}

impl EvalFrameSymbols {
    /// Finds the three functions, or names the one that is missing.
    pub(crate) fn find() -> Result<Self, &'static str> {
        let get = address(c"_PyInterpreterState_GetEvalFrameFunc")?;
        let set = address(c"_PyInterpreterState_SetEvalFrameFunc")?;
        let default = address(c"_PyEval_EvalFrameDefault")?;
        Ok(Self {
            // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
            get: unsafe { std::mem::transmute::<*mut c_void, GetEvalFrame>(get) },
            // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
            set: unsafe { std::mem::transmute::<*mut c_void, SetEvalFrame>(set) },
            // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
            default: unsafe { std::mem::transmute::<*mut c_void, EvalFrame>(default) },
        })
    }
}

pub(super) fn address(name: &'static CStr) -> Result<*mut c_void, &'static str> {
    // SAFETY: `name` is a C string, and RTLD_DEFAULT searches the objects already loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        return Err(name.to_str().unwrap_or("a function of the interpreter"));
    }
    Ok(found)
}

/// `CO_OPTIMIZED`: local variables are in slots.
const OPTIMIZED: u32 = 1;

/// Writes what a debugger changed in `frame.f_locals` into the variables of the frame.
///
/// Up to 3.12 `f_locals` is a copy, which the interpreter writes back after a trace function and
/// nowhere else; from 3.13 on it is the frame itself, and this does nothing. The variables of a
/// module or class body are its namespace: writing that into the variables of a comprehension in
/// it, which are none of the namespace, would take their values away.
pub(crate) fn store_locals(frame: &Bound<'_, PyAny>) {
    static STORE: OnceLock<Option<usize>> = OnceLock::new();
    let flags = tracing::code_of(frame)
        .getattr(name!("co_flags"))
        .and_then(|flags| flags.extract::<u32>());
    if flags.is_ok_and(|flags| flags & OPTIMIZED == 0) {
        return;
    }
    let found = STORE.get_or_init(|| address(c"PyFrame_LocalsToFast").ok().map(|at| at as usize));
    if let Some(found) = *found {
        // SAFETY: CPython declares `void PyFrame_LocalsToFast(PyFrameObject *, int)`.
        let store = unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*mut PyObject, c_int)>(found)
        };
        // SAFETY: the thread is attached, and `frame` is a live frame object of this thread.
        unsafe { store(frame.as_ptr(), 1) };
    }
}
