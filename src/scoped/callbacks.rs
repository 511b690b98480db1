//! What the interpreter calls for the events of our monitoring tool.
//!
//! Owns the callbacks, one for each event, and nothing else: each looks up who is concerned and
//! passes the event on. A location that nobody wants answers `DISABLE`, so that it costs nothing
//! from then on. An exception that comes back from a callback is one that a stop wants for the
//! program (`SystemExit`); a panic of ours never reaches it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use super::tool::{self, Events, NAMES, Owner, disable};
use super::watches::{self, Means};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::{changes, exceptions, hit, in_line, instructions, pause, step};

thread_local! {
    /// What a stop at a jump wants raised at the jump's target.
    static DEFERRED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// The frame and the instruction of a line at which a step has stopped, where a trace function
    /// will be told of the same line.
    static STOPPED: Cell<Option<(usize, i64)>> = const { Cell::new(None) };
}

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
        wrap_pyfunction!(instruction, py)?,
        wrap_pyfunction!(call, py)?,
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
    });
    match hit::spare(py, interest, Interest::Wanted)? {
        Interest::Unwanted if !is_busy() => disable(py).map(Some),
        Interest::Unwanted | Interest::Wanted => Ok(None),
    }
}

/// Whether somebody may want any line of code that another thread has just given up.
fn is_busy() -> bool {
    step::is_active() || pause::is_active() || changes::is_active()
}

/// `frame` is about to be left, which ends the life of its variables.
fn leave(py: Python<'_>) -> PyResult<()> {
    match tracing::current_frame(py) {
        Some(frame) if changes::is_active() => changes::left(&frame),
        _ => Ok(()),
    }
}

/// The frame that runs, if a step wants to know it.
fn stepping(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    if step::is_active() && !hit::in_callback() {
        return tracing::current_frame(py);
    }
    None
}

/// Whether a step has just stopped at the line that `frame` has reached.
pub(super) fn stopped_here(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(stopped) = STOPPED.take() else {
        return Ok(false);
    };
    Ok(stopped == place(frame)?)
}

fn place(frame: &Bound<'_, PyAny>) -> PyResult<(usize, i64)> {
    let instruction = frame.getattr(name!("f_lasti"))?;
    Ok((frame.as_ptr() as usize, instruction.extract()?))
}

fn arrive(code: &Bound<'_, PyAny>, line: u32, target: Option<usize>) -> PyResult<Interest> {
    let stopped = match stepping(code.py()) {
        Some(frame) => {
            let stopped = !in_line::is_at_handler(&frame)? && step::line(&frame, code, target)?;
            let traced = stopped && watches::is_traced(code);
            STOPPED.set(if traced { Some(place(&frame)?) } else { None });
            stopped
        }
        None => false,
    };
    let stopped = if changes::is_active()
        && !stopped
        && let Some(frame) = tracing::current_frame(code.py())
    {
        changes::reached(&frame)?
    } else {
        stopped
    };
    if pause::is_active()
        && !stopped
        && let Some(frame) = tracing::current_frame(code.py())
    {
        pause::reached(&frame)?;
    }
    watches::line(code, line, Means::Monitoring, stopped)
}

#[pyfunction]
fn line(code: &Bound<'_, PyAny>, line: u32) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || arrive(code, line, None))
}

/// `sys.settrace` reports a line again when control jumps back to its beginning, and monitoring
/// does not: there the jump itself is the event.
#[pyfunction]
fn jump(code: &Bound<'_, PyAny>, from: i32, to: i32) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        if to > from {
            return Ok(Interest::Unwanted);
        }
        match tracing::line_at(code, to) {
            Some(line) if tracing::line_at(code, from) == Some(line) => {
                let arrived = arrive(code, line, usize::try_from(to).ok());
                arrived.or_else(|error| defer(code, error))
            }
            _ => Ok(Interest::Unwanted),
        }
    })
}

/// Has an exception raised at the instruction that a jump leads to.
///
/// At the jump itself, 3.12 and 3.13 would look for its handlers at an address that is none.
fn defer(code: &Bound<'_, PyAny>, error: PyErr) -> PyResult<Interest> {
    match tool::demand(Owner::Jump, code, Events::INSTRUCTION)? {
        Ok(()) => {
            drop(DEFERRED.replace(Some(error)));
            Ok(Interest::Wanted)
        }
        Err(_) => Err(error),
    }
}

#[pyfunction]
fn instruction(code: &Bound<'_, PyAny>, offset: i32) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        if let Some(error) = DEFERRED.take() {
            tool::demand(Owner::Jump, code, Events::NONE)?.ok();
            return Err(error);
        }
        let stopped = match stepping(code.py()) {
            Some(frame) => step::instruction(&frame, code)?,
            None => false,
        };
        if !stopped && instructions::is_active() {
            instructions::reached(code, offset)?;
        }
        Ok(Interest::Wanted)
    })
}

fn enter(code: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        if let Some(frame) = stepping(code.py()) {
            step::entered(&frame, code)?;
        }
        // While this event is on, the first line of a function that is all on one line is
        // reported, and without it 3.13 and later keep it to themselves.
        Ok(Interest::Wanted)
    })
}

#[pyfunction]
fn start(code: &Bound<'_, PyAny>, _offset: i32) -> PyResult<Option<Py<PyAny>>> {
    enter(code)
}

/// As with `start`, a generator may go on with the line that it yielded from.
#[pyfunction]
fn resume(code: &Bound<'_, PyAny>, _offset: i32) -> PyResult<Option<Py<PyAny>>> {
    enter(code)
}

#[pyfunction]
fn throw(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    _exception: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    enter(code)
}

#[pyfunction]
fn call(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    callable: &Bound<'_, PyAny>,
    _first: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        if let Some(frame) = stepping(code.py()) {
            step::calls(&frame, callable)?;
        }
        Ok(Interest::Wanted)
    })
}

#[pyfunction]
fn leave_by_return(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    value: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        let interest = watches::left(code)?;
        leave(code.py())?;
        if let Some(frame) = stepping(code.py()) {
            if step::is_called(&frame)? {
                step::note(&frame, value)?;
            }
            step::left(&frame, Some(value))?;
        }
        Ok(interest)
    })
}

#[pyfunction]
fn leave_by_yield(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    value: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    answer(code.py(), || {
        if let Some(frame) = stepping(code.py()) {
            step::yielded(&frame, code, value)?;
        }
        Ok(Interest::Wanted)
    })
}

#[pyfunction]
fn leave_by_exception(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    exception: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    answer(py, || {
        // An event that may be had of all code only cannot be disabled.
        watches::left(code)?;
        leave(py)?;
        if exceptions::is_active()
            && let Some(frame) = tracing::current_frame(py)
        {
            exceptions::left(&frame, code, exception)?;
        }
        if let Some(frame) = stepping(py) {
            step::left(&frame, None)?;
        }
        Ok(Interest::Wanted)
    })
}

#[pyfunction]
fn raise(
    code: &Bound<'_, PyAny>,
    _offset: i32,
    exception: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    answer(py, || {
        if exceptions::is_active()
            && let Some(frame) = tracing::current_frame(py)
        {
            exceptions::raised(&frame, exception)?;
        }
        if let Some(frame) = stepping(py) {
            step::raised(&frame, code, exception)?;
        }
        Ok(Interest::Wanted)
    })
}
