//! `_engine.record_snapshot`: a snapshot of any frame, such as that of a hit in a callback.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{CaptureOptions, Capturing, Place, prepare, take};
use crate::condition;
use crate::evaluator::Evaluator;
use crate::ffi::name::name;
use crate::ffi::tracing::{code_of, current_frame, line_of};

/// Records `frame` and hands it to the log; the options are those of a capture.
#[pyfunction]
#[pyo3(signature = (frame, **options))]
fn record_snapshot(frame: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let py = frame.py();
    let running = current_frame(py);
    if !running.is_some_and(|running| frame.get_type().is(running.get_type())) {
        return Err(PyTypeError::new_err("record_snapshot() takes a frame"));
    }
    let options = options.map(CaptureOptions::from_python).transpose()?;
    let capture = options.unwrap_or_default().capture();
    let capturing = Capturing::new(Arc::new(capture.map_err(PyValueError::new_err)?));
    prepare(py);
    let code = code_of(frame);
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    let function: String = code.getattr(name!("co_qualname"))?.extract()?;
    let place = Place {
        file: &file,
        line: line_of(frame),
        function: &function,
        breakpoint: 0,
        hits: 0,
    };
    let evaluate = |_: usize, expression: &str| {
        condition::captured(frame, &Evaluator::new(expression, "capture"))
    };
    if let Some(snapshot) = take(py, &capturing, frame, &place, evaluate)? {
        snapshot.send();
    }
    Ok(())
}

/// Adds the function of this file to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(record_snapshot, module)?)?;
    Ok(())
}
