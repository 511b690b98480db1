//! Stopping at single instructions of code objects, by events of monitoring (3.12 and later).
//!
//! Owns which offsets stop. Nothing is installed while there are none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::prelude::*;

use crate::ffi::tracing;
use crate::hit;
use crate::scoped::tool::{self, Events, Owner};

/// An instruction that stops.
#[derive(Debug)]
pub(crate) struct Point {
    /// Unique in the process.
    pub(crate) id: u64,
    /// The code object.
    pub(crate) code: Py<PyAny>,
    /// The byte offset of the instruction in it.
    pub(crate) offset: usize,
}

/// Called with the frame and the number of the point; it returns when the thread goes on.
pub(crate) type Sink = fn(&Bound<'_, PyAny>, u64) -> PyResult<()>;

static SINK: OnceLock<Sink> = OnceLock::new();
static ACTIVE: AtomicBool = AtomicBool::new(false);
static POINTS: Mutex<Vec<Point>> = Mutex::new(Vec::new());

/// Whether any instruction stops.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Says what a thread does that has reached one; the first one given stays.
pub(crate) fn set_sink(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Stops at these from now on, and at no others; the inner error is why that cannot be done.
pub(crate) fn stop_at(py: Python<'_>, points: Vec<Point>) -> PyResult<Result<(), String>> {
    if !tool::is_available(py) {
        return Ok(if points.is_empty() {
            Ok(())
        } else {
            Err("instruction breakpoints need sys.monitoring (3.12 and later)".to_owned())
        });
    }
    tool::release(py, Owner::Instructions)?;
    let mut done = Ok(());
    for point in &points {
        let demanded = tool::demand(
            Owner::Instructions,
            point.code.bind(py),
            Events::INSTRUCTION,
        )?;
        done = done.and(demanded);
    }
    ACTIVE.store(!points.is_empty(), Ordering::Relaxed);
    let before = std::mem::replace(
        &mut *POINTS.lock().unwrap_or_else(PoisonError::into_inner),
        points,
    );
    drop(before);
    Ok(done)
}

/// The instruction at a byte offset of `code` is about to run.
pub(crate) fn reached(code: &Bound<'_, PyAny>, offset: i32) -> PyResult<()> {
    if hit::in_callback() {
        return Ok(());
    }
    let found = {
        let points = POINTS.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |point: &&Point| {
            point.code.is(code) && usize::try_from(offset).is_ok_and(|at| at == point.offset)
        };
        points.iter().find(here).map(|point| point.id)
    };
    let py = code.py();
    if let (Some(id), Some(sink), Some(frame)) = (found, SINK.get(), tracing::current_frame(py)) {
        hit::call_quietly(py, "stop at an instruction", || sink(&frame, id))?;
    }
    Ok(())
}
