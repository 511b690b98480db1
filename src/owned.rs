//! Breakpoints of debuggers that see to some threads themselves, such as any `bdb.Bdb`.
//!
//! Such a debugger owns threads, and its breakpoints act in those alone. Their probes sleep until
//! the debugger takes a code object over ([`wake_probes`]): where no condition could be compiled
//! in, or the probe went to another line, it looks after the line by itself.
//! Every pass is counted before its condition is evaluated. A pass that the debugger has dealt with
//! already, because it stopped at the line or sent the frame there, is left out.

use std::cell::Cell;
use std::collections::HashSet;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::breakpoint::{Breakpoint, Kind};
use crate::ffi::name::name;
use crate::ffi::{depth, tracing};
use crate::handle::Handle;
use crate::hit;
use crate::probe::probes_of;
use crate::request::{Place, Purity, Request, Terms};
use crate::{callback, condition, in_line, registry, session};

thread_local! {
    /// Whose thread it is: one bit; none for nobody's.
    static OWNER: Cell<u64> = const { Cell::new(0) };
    /// The frame, by its address, whose next pass is left out.
    static DEALT_WITH: Cell<usize> = const { Cell::new(0) };
    /// Whether the pass that is going on is left out.
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
    /// How many more calls could nest where the last pass began.
    static CALLS_LEFT: Cell<i32> = const { Cell::new(i32::MIN) };
}

/// Whether an owned breakpoint acts in this thread now.
pub(crate) fn acts(breakpoint: &Breakpoint) -> bool {
    breakpoint.request.owners & OWNER.get() != 0 && breakpoint.is_armed() && !hit::in_callback()
}

/// A pass begins; it counts if its breakpoint acts.
///
/// One that begins while its breakpoint does not is left out as a whole: whoever looks after the
/// line meanwhile has seen to it.
pub(crate) fn begin_pass(py: Python<'_>, breakpoint: &Breakpoint, acts: bool) -> PyResult<()> {
    if is_nested(py)? {
        return Ok(());
    }
    CALLS_LEFT.set(depth::calls_left(py).unwrap_or(i32::MAX));
    let is_dealt_with = DEALT_WITH.get() != 0 && is_running(py, DEALT_WITH.get());
    if is_dealt_with {
        DEALT_WITH.set(0);
    }
    LEFT_OUT.set(is_dealt_with || !acts);
    if !LEFT_OUT.get() {
        breakpoint.figures.count_started();
    }
    Ok(())
}

/// Whether the pass that has come to its hit is left out; asked once.
pub(crate) fn take_left_out(py: Python<'_>) -> PyResult<bool> {
    Ok(is_nested(py)? || LEFT_OUT.replace(false))
}

/// Whether what runs was called by the condition of the last pass, and passes nothing.
///
/// It is deeper then, which is all that is looked at in a loop or in one call after the other.
fn is_nested(py: Python<'_>) -> PyResult<bool> {
    let deeper = match depth::calls_left(py) {
        Some(left) => CALLS_LEFT.get().saturating_sub(left),
        None => i32::MAX,
    };
    if deeper <= 0 {
        return Ok(false);
    }
    let mut frame = tracing::current_frame(py).map(Bound::into_any);
    for _ in 0..deeper {
        let Some(running) = frame else {
            break;
        };
        let caller = running.getattr(name!("f_back"))?;
        if caller.is_none() {
            break;
        }
        if in_line::evaluates(&caller)? {
            return Ok(true);
        }
        frame = Some(caller);
    }
    Ok(false)
}

fn is_running(py: Python<'_>, frame: usize) -> bool {
    tracing::current_frame(py).is_some_and(|running| running.as_ptr() as usize == frame)
}

/// Says whose thread this is: one bit, or 0 for nobody's; returns whose it was.
#[pyfunction]
fn own_thread(owner: u64) -> u64 {
    DEALT_WITH.set(0);
    LEFT_OUT.set(false);
    OWNER.replace(owner)
}

/// Has the pass left out that `frame` is about to begin, if it is about to begin one.
#[pyfunction]
fn leave_out_pass(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let offset: i64 = frame.getattr(name!("f_lasti"))?.extract()?;
    let loaded = u32::try_from(offset).ok();
    let loaded = loaded.and_then(|offset| in_line::probe_at(&tracing::code_of(frame), offset));
    if loaded.is_some_and(|probe| probe.get().begins_pass()) {
        DEALT_WITH.set(frame.as_ptr() as usize);
    }
    Ok(())
}

/// Adds a breakpoint with a condition that acts in threads of these owners. One that may change
/// something, or cannot be compiled into a line, is a `ValueError`.
#[pyfunction]
fn add_owned(
    py: Python<'_>,
    path: &str,
    line: u32,
    condition: String,
    owners: u64,
    on_hit: Py<PyAny>,
) -> PyResult<Handle> {
    let place = registry::known_place(&Place::Line {
        file: path.to_owned(),
        line,
        column: None,
    });
    let terms = Terms {
        condition: Some(condition),
        ..Terms::default()
    };
    let request = Request::on_terms(&place, Kind::Stop, &terms, Purity::Require);
    let mut request = request.map_err(PyValueError::new_err)?;
    condition::check(py, &request)?;
    request.owners = owners;
    let breakpoint = session::register(py, &place, request);
    if breakpoint.inline().is_none() {
        registry::remove(breakpoint.id);
        return Err(PyValueError::new_err("the condition stays out of the line"));
    }
    callback::set_callback(breakpoint.id, on_hit);
    Ok(Handle(breakpoint))
}

/// Adds a breakpoint for a debugger that traces the frames which run its code already, until they
/// have ended.
#[pyfunction]
fn add_followed(py: Python<'_>, path: &str, line: u32, on_hit: Py<PyAny>) -> Handle {
    let file = registry::file_name(path);
    let place = Place::Line {
        file: file.to_string(),
        line,
        column: None,
    };
    let mut request = Request::plain(file, line, Kind::Stop);
    request.leaves_frames = true;
    let breakpoint = session::register(py, &place, request);
    callback::set_callback(breakpoint.id, on_hit);
    Handle(breakpoint)
}

/// The lines at which probes of these breakpoints stand in one code object, of those that are armed.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python sequences are extracted into vectors"
)]
fn probed_lines(code: &Bound<'_, PyAny>, breakpoints: Vec<u64>) -> PyResult<HashSet<u32>> {
    let mut lines = HashSet::new();
    for probe in probes_of(code)? {
        let probe = probe.get();
        let mut points = probe.breakpoints.iter();
        if points.any(|point| point.is_armed() && breakpoints.contains(&point.id)) {
            lines.insert(probe.line);
        }
    }
    Ok(lines)
}

/// Has the probes of these breakpoints act in one code object, and those of no other owned ones.
/// Returns their lines; where a condition is not compiled in, the line is not among them.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python sequences are extracted into vectors"
)]
fn wake_probes(code: &Bound<'_, PyAny>, breakpoints: Vec<u64>) -> PyResult<Vec<u32>> {
    let mut lines = Vec::new();
    for probe in probes_of(code)? {
        let probe = probe.get();
        let Some(breakpoint) = probe.owned() else {
            continue;
        };
        let is_meant = breakpoint.is_armed()
            && breakpoints.contains(&breakpoint.id)
            && probe.line == breakpoint.request.line;
        if probe.wake(is_meant) && !lines.contains(&probe.line) {
            lines.push(probe.line);
        }
    }
    Ok(lines)
}

/// Whether a frame, or one that has called it, is in a condition that is evaluated in its line.
#[pyfunction]
fn is_evaluating(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    in_line::runs_for_condition(frame)
}

/// Adds what this file offers to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(own_thread, module)?)?;
    module.add_function(wrap_pyfunction!(leave_out_pass, module)?)?;
    module.add_function(wrap_pyfunction!(add_owned, module)?)?;
    module.add_function(wrap_pyfunction!(add_followed, module)?)?;
    module.add_function(wrap_pyfunction!(probed_lines, module)?)?;
    module.add_function(wrap_pyfunction!(wake_probes, module)?)?;
    module.add_function(wrap_pyfunction!(is_evaluating, module)?)?;
    Ok(())
}
