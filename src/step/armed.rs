//! The events that the interpreter sends for a step.
//!
//! Owns which they are: local ones of the code objects of its targets and of what is entered while
//! stepping into, those of all code only for the latter and for exceptions. On 3.11 there are none
//! to choose: the trace function of the thread is told of everything.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{Lines, with};
use crate::scoped::tool::{self, Events, Owner};

/// The events that move a target on.
pub(super) const TARGET: Events = Events::LINE
    .with(Events::JUMP)
    .with(Events::START)
    .with(Events::RESUME)
    .with(Events::RETURN)
    .with(Events::YIELD)
    .with(Events::UNWIND);
/// The events that show the first line of a frame.
pub(super) const ENTERED: Events = Events::LINE
    .with(Events::JUMP)
    .with(Events::START)
    .with(Events::RESUME);
/// The events of all code that show which frames are entered.
pub(super) const ENTRIES: Events = Events::START.with(Events::RESUME).with(Events::THROW);

/// Has local events of a code object for the step of this thread, beside those that it has.
pub(super) fn arm(code: &Bound<'_, PyAny>, events: Events) -> PyResult<()> {
    let py = code.py();
    if !tool::is_available(py) {
        return Ok(());
    }
    let wanted = with(|step| {
        let mut events = events;
        // What has to leave first runs at full speed until then.
        if step.instructions && step.lines != Lines::Nowhere && events != Events::RETURN {
            events = events.with(Events::INSTRUCTION);
        }
        if step.values.is_some() && step.lines == Lines::InTargets && events.has(TARGET) {
            events = events.with(Events::CALL);
        }
        let known = step.armed.iter_mut().find(|(armed, _)| armed.is(code));
        match known {
            // Locations of a target may have been disabled meanwhile.
            Some((_, armed)) if armed.has(events) && !events.has(TARGET) => return None,
            Some((_, armed)) => {
                *armed = armed.with(events);
                events = *armed;
            }
            None => step.armed.push((code.clone().unbind(), events)),
        }
        Some((step.id, events))
    });
    let Some(Some((id, events))) = wanted else {
        return Ok(());
    };
    tool::demand(Owner::Step(id), code, events)?.map_err(PyRuntimeError::new_err)
}

/// Has events of all code for the step of this thread, beside those for its exceptions.
pub(super) fn everywhere(py: Python<'_>, events: Events) -> PyResult<()> {
    if !tool::is_available(py) {
        return Ok(());
    }
    let Some((id, exceptions)) = with(|step| (step.id, step.exceptions)) else {
        return Ok(());
    };
    let events = if exceptions {
        events.with(Events::RAISE)
    } else {
        events
    };
    tool::demand_everywhere(py, Owner::Step(id), events)?.map_err(PyRuntimeError::new_err)
}
