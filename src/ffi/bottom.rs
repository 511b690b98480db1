//! Code that runs as if nobody had called it.
//!
//! A frame finds its caller where the thread keeps its innermost frame. From a call on that never
//! returns, that place holds what it holds in a thread that has just begun: the frames in between
//! stay alive below. Relies on `current_frame` of the thread state (of its `cframe` up to 3.12),
//! which is read and compared with the frame that is running before anything is written.

use std::ptr;

use pyo3::ffi::{self, METH_O, PyMethodDef, PyMethodDefPointer, PyObject, PyThreadState};
use pyo3::prelude::*;

use super::layout::FRAME_OF_OBJECT;
use super::swap::{word, write_word};
use super::tracing::current_frame;

/// `PyThreadState.cframe`, up to 3.12.
const CFRAME: usize = 56;
/// `PyThreadState.current_frame`, from 3.13 on.
const CURRENT_FRAME: usize = 72;
/// `PyThreadState.base_frame`, from 3.15 on: what a thread that has just begun has for a frame.
const BASE_FRAME: usize = 80;

/// Has the frames of this thread forget who called them, where that can be had.
fn put_callers_aside(py: Python<'_>) {
    let Some(running) = current_frame(py) else {
        return;
    };
    // SAFETY: the thread is attached, so it has a state.
    let state: *mut PyThreadState = unsafe { ffi::PyThreadState_Get() };
    let version = py.version_info();
    let place = if version >= (3, 13) {
        state.wrapping_byte_add(CURRENT_FRAME).cast::<usize>()
    } else {
        let cframe = state.wrapping_byte_add(CFRAME).cast::<*mut usize>();
        // SAFETY: the state is larger than this, and the field is set as long as it lives.
        let cframe = unsafe { cframe.read() };
        // In 3.11 a flag comes first.
        cframe.wrapping_add(usize::from(version < (3, 12)))
    };
    // SAFETY: a field of the thread's state, or of a structure that it points to.
    let frame = unsafe { word(place, 0) };
    // SAFETY: `running` is a live frame object.
    let expected = unsafe { word(running.as_ptr(), FRAME_OF_OBJECT) };
    if frame != expected {
        return;
    }
    let nobody = if version >= (3, 15) {
        // SAFETY: the state is larger than this.
        unsafe { word(state, BASE_FRAME) }
    } else {
        0
    };
    // SAFETY: the field was just found to hold the innermost frame, only this thread changes it, and
    // the frames below never run again.
    unsafe { write_word(place, 0, nobody) };
}

/// The status of a process that an interrupt has ended.
const INTERRUPTED: i32 = 130;

/// Runs its argument, whose frames have no callers, and ends the process as the interpreter ends
/// one whose program is at its end.
///
/// What runs when the interpreter is gone may drop references: so this is no function of the kind
/// in which they are given back at once.
unsafe extern "C" fn run_program(_module: *mut PyObject, run: *mut PyObject) -> *mut PyObject {
    Python::attach(put_callers_aside);
    // SAFETY: the interpreter calls this attached and with a live object.
    let result = unsafe { ffi::PyObject_CallNoArgs(run) };
    if !result.is_null() {
        // SAFETY: the thread is attached, and nothing of what is on the stack runs again.
        unsafe { ffi::Py_Exit(0) }
    }
    // SAFETY: the object is there as long as the interpreter.
    let interrupt = unsafe { ffi::PyExc_KeyboardInterrupt };
    // SAFETY: the call has failed, so that there is an exception.
    let is_interrupt = unsafe { ffi::PyErr_ExceptionMatches(interrupt) } != 0;
    // SAFETY: as above; `SystemExit` ends the process here.
    unsafe { ffi::PyErr_PrintEx(1) };
    // SAFETY: as for the other.
    unsafe { ffi::Py_Exit(if is_interrupt { INTERRUPTED } else { 1 }) }
}

/// Adds `run_program` to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The interpreter keeps the address.
    let definition = Box::leak(Box::new(PyMethodDef {
        ml_name: c"run_program".as_ptr(),
        ml_meth: PyMethodDefPointer {
            PyCFunction: run_program,
        },
        ml_flags: METH_O,
        ml_doc: c"run_program(run, /)\n--\n\n".as_ptr(),
    }));
    // SAFETY: the definition lives for ever and says how the function is called.
    let function = unsafe { ffi::PyCFunction_NewEx(definition, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception.
    let function = unsafe { Bound::from_owned_ptr_or_err(module.py(), function) }?;
    module.add("run_program", function)
}
