//! Steps by instructions, into one call of several, and to another line.
//!
//! The interpreter tells of instructions by events of monitoring (3.12 and later), and by `opcode`
//! events of the frames that ask for them (3.11). A call is known by its offset in the frame that
//! makes it: whatever that frame calls meanwhile is run through.

use std::cell::Cell;

use pyo3::prelude::*;

use super::{ENTRIES, Lines, Mode, address, everywhere, go_on, may_stop, probes, stop, walk, with};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::hit;
use crate::scoped::tool;

/// A call with its inline caches takes no more bytes than this, nor than its arguments would.
const CALL_SIZE: usize = 10;

thread_local! {
    /// The frame and the instruction that it was sent to, until a line is told of.
    static LANDED: Cell<Option<(usize, i64)>> = const { Cell::new(None) };
}

fn place(frame: &Bound<'_, PyAny>) -> PyResult<(usize, i64)> {
    let at = frame.getattr(name!("f_lasti"))?;
    Ok((address(frame), at.extract()?))
}

/// Sends a frame whose line is told of to another one; the error is the interpreter's.
pub(crate) fn jump(frame: &Bound<'_, PyAny>, line: u32) -> PyResult<()> {
    let py = frame.py();
    let (line_name, trace_name) = (name!("f_lineno"), name!("f_trace"));
    let trace = frame.getattr(trace_name)?;
    if !tool::is_available(py) && trace.is_none() {
        // There only a frame with a trace function of its own may be sent anywhere.
        frame.setattr(trace_name, py.get_type::<PyAny>())?;
        let sent = frame.setattr(line_name, line);
        frame.setattr(trace_name, py.None())?;
        sent?;
    } else {
        frame.setattr(line_name, line)?;
    }
    LANDED.set(Some(place(frame)?));
    Ok(())
}

/// Whether the line that is told of is the one that the frame was sent to, and stopped at.
pub(super) fn has_landed(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    match LANDED.take() {
        Some(landed) => Ok(landed == place(frame)?),
        None => Ok(false),
    }
}

/// An instruction is about to run in `frame`; whether the step stopped there.
pub(crate) fn instruction(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<bool> {
    if with(|step| step.instructions) != Some(true) || !may_stop(frame, code)? {
        return Ok(false);
    }
    // What a handler begins with is of no line.
    if with(|step| step.mode == Mode::Out) == Some(true) && tracing::line_of(frame) == 0 {
        return Ok(false);
    }
    let py = frame.py();
    stop(frame, "line", py.None().bind(py))?;
    hit::pass_next(probes::follow_start(frame, code)?);
    Ok(true)
}

/// Has a frame tell of its instructions where only it can, if the step wants them.
pub(super) fn trace_instructions(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let wanted = with(|step| step.instructions && step.lines != Lines::Nowhere);
    if tool::is_available(py) || wanted != Some(true) {
        return Ok(());
    }
    frame.setattr(name!("f_trace_opcodes"), true)
}

/// Waits for one call that `frame` makes, or for its next line.
pub(super) fn await_call(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    go_on(std::slice::from_ref(frame), Lines::InTargets)?;
    everywhere(frame.py(), ENTRIES)
}

/// Whether `frame` was entered by the call that is stepped into; it is waited for no more then.
pub(super) fn is_the_call(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(Some((caller, offset))) = with(|step| step.call) else {
        return Ok(false);
    };
    let Some(back) = walk::back(frame)? else {
        return Ok(false);
    };
    if address(&back) != caller {
        return Ok(false);
    }
    let at: usize = back.getattr(name!("f_lasti"))?.extract()?;
    // Some versions point at the caches behind the call.
    if !(offset..offset + CALL_SIZE).contains(&at) {
        return Ok(false);
    }
    with(|step| step.call = None);
    Ok(true)
}
