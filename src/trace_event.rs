//! What a debugger that stops at a probe needs of the interpreter, beside a trace function.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::ffi;
use crate::ffi::name::name;

/// Writes what was changed in `f_locals` of a frame back to its variables.
#[pyfunction]
pub(crate) fn store_locals(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let frame_type = frame.py().import("types")?.getattr(name!("FrameType"))?;
    if !frame.is_instance(&frame_type)? {
        return Err(PyTypeError::new_err("only a frame has locals to store"));
    }
    ffi::symbols::store_locals(frame);
    Ok(())
}

/// Has the opcode event that this thread is handling count as a line event, in which a frame may
/// be sent to another line; false when it does not.
#[pyfunction]
pub(crate) fn opcode_as_line(py: Python<'_>) -> bool {
    ffi::trace_event::opcode_as_line(py)
}
