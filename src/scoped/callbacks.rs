//! What the interpreter calls for the events of our monitoring tool.
//!
//! Owns the callbacks, one for each event, and nothing else: each looks up who is concerned and
//! passes the event on. A location that nobody wants answers `DISABLE`, so that it costs nothing
//! from then on. An exception that comes back from a callback is one that a stop wants for the
//! program (`SystemExit`); a panic of ours never reaches it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use super::tool::{NAMES, disable};
use super::watches;
use crate::ffi::tracing;
use crate::hit;

/// Whether a location has to go on sending its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Somebody may want the next one.
    Wanted,
    /// Nobody wants events from this location.
    Unwanted,
}

/// Every event and its callback, in the order of [`NAMES`].
pub(super) fn all(py: Python<'_>) -> PyResult<Vec<(&'static str, Bound<'_, PyAny>)>> {
    let callbacks = [
        wrap_pyfunction!(line, py)?,
        wrap_pyfunction!(jump, py)?,
        wrap_pyfunction!(start, py)?,
        wrap_pyfunction!(resume, py)?,
        wrap_pyfunction!(leave_by_return, py)?,
        wrap_pyfunction!(leave_by_yield, py)?,
        wrap_pyfunction!(leave_by_exception, py)?,
        wrap_pyfunction!(throw, py)?,
        wrap_pyfunction!(raise, py)?,
    ];
    let callbacks = callbacks.into_iter().map(Bound::into_any);
    Ok(NAMES.into_iter().zip(callbacks).collect())
}

fn answer(
    py: Python<'_>,
    event: impl FnOnce() -> PyResult<Interest>,
) -> PyResult<Option<Py<PyAny>>> {
    let interest = catch_unwind(AssertUnwindSafe(event)).unwrap_or_else(|_| {
        hit::tell_once("an event was lost to an error of dapper's own");
        Ok(Interest::Wanted)
    })?;
    match interest {
        Interest::Wanted => Ok(None),
        Interest::Unwanted => disable(py).map(Some),
    }
}

#[pyfunction]
fn line(code: &Bound<'_, PyAny>, line: u32) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    answer(py, || watches::line(code, line))
}

/// `sys.settrace` reports a line again when control jumps back to its beginning, and monitoring
/// does not: there the jump itself is the event.
#[pyfunction]
fn jump(code: &Bound<'_, PyAny>, from: i32, to: i32) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    answer(py, || {
        if to > from {
            return Ok(Interest::Unwanted);
        }
        match tracing::line_at(code, to) {
            Some(line) if tracing::line_at(code, from) == Some(line) => watches::line(code, line),
            _ => Ok(Interest::Unwanted),
        }
    })
}

/// Does nothing: while the event is on, the first line of a function that is all on one line is
/// reported, and without it 3.13 and later keep it to themselves.
#[pyfunction]
fn start(_code: &Bound<'_, PyAny>, _offset: i32) {}

/// Does nothing, for the same reason: a generator may go on with the line that it yielded from.
#[pyfunction]
fn resume(_code: &Bound<'_, PyAny>, _offset: i32) {}

#[pyfunction]
fn leave_by_return(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    _value: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    answer(py, || watches::left(code))
}

#[pyfunction]
fn leave_by_yield(_code: &Bound<'_, PyAny>, _offset: i32, _value: &Bound<'_, PyAny>) {}

#[pyfunction]
fn leave_by_exception(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    _exception: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    // Only a local event could be disabled.
    answer(py, || watches::left(code).map(|_| Interest::Wanted))
}

#[pyfunction]
fn throw(_code: &Bound<'_, PyAny>, _offset: i32, _exception: &Bound<'_, PyAny>) {}

#[pyfunction]
fn raise(_code: &Bound<'_, PyAny>, _offset: i32, _exception: &Bound<'_, PyAny>) {}
