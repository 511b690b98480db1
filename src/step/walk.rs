//! Where a step goes when a frame leaves.
//!
//! Owns the order of frames: the caller that is not passed through, the awaiter instead of the
//! event loop, and the frames of a debugger that are on the stack only because it was called.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Lines, Mode, awaiters, cancel, go_on, with};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::{hit, in_line};

/// `CO_GENERATOR`.
const GENERATOR: u32 = 0x20;
/// `CO_COROUTINE` and `CO_ITERABLE_COROUTINE`.
const AWAITED: u32 = 0x80 | 0x100;
/// `CO_ASYNC_GENERATOR`.
const ASYNC_GENERATOR: u32 = 0x200;

pub(super) fn back<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let back = frame.getattr(name!("f_back"))?;
    Ok((!back.is_none()).then_some(back))
}

fn flags(code: &Bound<'_, PyAny>) -> PyResult<u32> {
    code.getattr(name!("co_flags"))?.extract()
}

/// The caller of a frame; one that is passed through only if it is an event loop's.
fn caller<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut caller = back(frame)?;
    while let Some(at) = &caller {
        if !skips(&tracing::code_of(at)) || awaiters::is_event_loop(at) {
            break;
        }
        caller = back(at)?;
    }
    Ok(caller)
}

/// Goes on behind a frame that leaves: with its caller, or with who waits for it.
pub(super) fn leave(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(caller) = caller(frame)? else {
        return cancel(frame.py());
    };
    if awaiters::is_event_loop(&caller) && !awaiters::is_event_loop(frame) {
        let waiting = awaiters::of(frame, &caller)?;
        if waiting.is_empty() {
            return cancel(frame.py());
        }
        return go_on(&waiting, Lines::InTargets);
    }
    go_on(std::slice::from_ref(&caller), lines_behind())
}

/// Goes on with the consumer of what a frame yields.
///
/// A generator that delegates is passed over when an exception was thrown into it, so that whoever
/// threw it may be next.
pub(super) fn consume(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut consumers = Vec::new();
    let mut next = caller(frame)?;
    while let Some(at) = next {
        let delegates = flags(&tracing::code_of(&at))? & (GENERATOR | AWAITED | ASYNC_GENERATOR);
        next = if delegates == 0 { None } else { caller(&at)? };
        consumers.push(at);
    }
    if consumers.is_empty() {
        return cancel(frame.py());
    }
    go_on(&consumers, lines_behind())
}

fn lines_behind() -> Lines {
    if with(|step| step.mode == Mode::Into) == Some(true) {
        Lines::Anywhere
    } else {
        Lines::InTargets
    }
}

/// Whether a yield hands control to an event loop, or to code that is passed through, and not to a
/// consumer of values.
pub(super) fn suspends(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let flags_here = flags(code)?;
    // What `yield` gives in an asynchronous generator is wrapped, what `await` passes on is not.
    let awaits = flags_here & AWAITED != 0
        || (flags_here & ASYNC_GENERATOR != 0
            && value.get_type().name()? != "async_generator_wrapped_value");
    if !awaits {
        return Ok(false);
    }
    let mut driver = back(frame)?;
    while let Some(at) = driver {
        let code = tracing::code_of(&at);
        if flags(&code)? & (AWAITED | ASYNC_GENERATOR) == 0 {
            return Ok(awaiters::is_event_loop(&at) || skips(&code));
        }
        driver = back(&at)?;
    }
    Ok(true)
}

/// The debugger's frame that `frame` has called, if it does not run in a callback of ours; an
/// error if `frame` does not run in this thread.
pub(super) fn above(frame: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let mut above: Option<Bound<'_, PyAny>> = None;
    let mut running = tracing::current_frame(frame.py());
    while let Some(at) = running {
        if at.is(frame) {
            // What a callback of ours runs is no part of the program anyway.
            let above = above.filter(|_| !hit::in_callback());
            return Ok(above.map(Bound::unbind));
        }
        running = back(&at)?;
        above = Some(at);
    }
    Err(PyValueError::new_err(
        "the frame does not run in this thread",
    ))
}

/// Whether `frame` runs for the debugger that began the step, which has not returned yet.
pub(super) fn is_dormant(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = frame.py();
    let above = with(|step| step.above.as_ref().map(|above| above.clone_ref(py)));
    let Some(Some(above)) = above else {
        return Ok(false);
    };
    let mut at = Some(frame.clone());
    while let Some(running) = at {
        if running.is(&above) {
            return Ok(true);
        }
        if super::is_target(&running) {
            break;
        }
        at = back(&running)?;
    }
    // Its end may run code of the program: not while the step is borrowed.
    drop(with(|step| step.above.take()));
    Ok(false)
}

/// Whether `frame` was called for what a breakpoint evaluates in its line; no step begins in that.
pub(super) fn called_for_condition(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    if super::is_target(frame) {
        return Ok(false);
    }
    let mut at = back(frame)?;
    while let Some(running) = at {
        if in_line::evaluates(&running)? {
            return Ok(true);
        }
        if super::is_target(&running) {
            break;
        }
        at = back(&running)?;
    }
    Ok(false)
}

/// Whether the step of this thread passes through frames of this code.
pub(super) fn skips(code: &Bound<'_, PyAny>) -> bool {
    let py = code.py();
    let key = code.as_ptr() as usize;
    let known = with(|step| {
        let skip = step.skip.as_ref().map(|skip| skip.clone_ref(py));
        (skip, step.skipped.get(&key).copied())
    });
    let skip = match known {
        Some((Some(skip), None)) => skip,
        Some((_, known)) => return known == Some(true),
        None => return false,
    };
    let mut skips = false;
    let asked = hit::call_quietly(py, "skip predicate of a step", || {
        skips = skip.call1(py, (code,))?.is_truthy(py)?;
        Ok(())
    });
    if asked.is_ok() {
        with(|step| step.skipped.insert(key, skips));
    }
    skips
}
