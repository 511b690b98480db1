//! Generators that nobody resumes: the end of a step that waits for their next line.
//!
//! A generator that is dropped, or closed where nothing would run, vanishes without an event.
//! A weak reference tells, and the step goes on in the frame that let the generator go.

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::{Lines, address, awaiters, go_on, skips, walk, with};
use crate::ffi::tracing;
use crate::{hit, interpreter};

/// Called when the generator is gone.
#[pyclass(frozen, module = "dapper._engine")]
struct Vanished {
    step: u64,
    frame: usize,
}

#[pymethods]
impl Vanished {
    fn __call__(&self, reference: &Bound<'_, PyAny>) -> PyResult<()> {
        let waits = with(|step| step.id == self.step && step.targets.contains(&self.frame));
        if waits != Some(true) || hit::in_callback() {
            return Ok(());
        }
        let mut running = tracing::current_frame(reference.py());
        while let Some(frame) = running {
            if !awaiters::is_event_loop(&frame) && !skips(&tracing::code_of(&frame)) {
                go_on(std::slice::from_ref(&frame), Lines::InTargets)?;
                // What the generator still does on being closed is part of the step.
                with(|step| step.targets.push(self.frame));
                return Ok(());
            }
            running = walk::back(&frame)?;
        }
        super::cancel(reference.py())
    }
}

/// Has the step of this thread go on when the generator of `frame` vanishes.
pub(super) fn await_end(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let Ok(interpreter) = interpreter::current(py) else {
        return Ok(());
    };
    let Some(generator) = tracing::generator_of(frame, interpreter.version.minor())? else {
        return Ok(());
    };
    let Some(step) = with(|step| step.id) else {
        return Ok(());
    };
    let vanished = Vanished {
        step,
        frame: address(frame),
    };
    let reference = PyWeakrefReference::new_with(&generator, Bound::new(py, vanished)?)?;
    drop(with(|step| step.vanishing.replace(reference.unbind())));
    Ok(())
}
