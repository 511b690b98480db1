//! What the engine knows about the thread that asks.

use std::cell::Cell;

use pyo3::prelude::*;

use crate::ffi::hook;
use crate::ffi::name::name;
use crate::hit;

thread_local! {
    static STOPS: Cell<u64> = const { Cell::new(0) };
}

/// The state of one thread when it asked.
#[pyclass(frozen, get_all, module = "dapper")]
pub(crate) struct ThreadInfo {
    /// What `threading.get_ident` says.
    thread_id: u64,
    /// How deep this thread is in decisions of the eval-frame hook and in callbacks of breakpoints.
    /// While it is not 0, nothing hits in this thread: this is the guard against recursion.
    inside_frame_eval: u32,
    /// How many stops this thread has carried out.
    stops: u64,
}

#[pymethods]
impl ThreadInfo {
    fn __repr__(&self) -> String {
        format!(
            "<ThreadInfo {}: inside_frame_eval={}, stops={}>",
            self.thread_id, self.inside_frame_eval, self.stops
        )
    }
}

/// Counts a stop of the running thread.
pub(crate) fn count_stop() {
    STOPS.set(STOPS.get() + 1);
}

/// What is known about the running thread.
#[pyfunction]
fn thread_info(py: Python<'_>) -> PyResult<ThreadInfo> {
    Ok(ThreadInfo {
        thread_id: py
            .import("_thread")?
            .call_method0(name!("get_ident"))?
            .extract()?,
        inside_frame_eval: hook::depth() + u32::from(hit::in_callback()),
        stops: STOPS.get(),
    })
}

/// Adds what this file offers to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ThreadInfo>()?;
    module.add_function(wrap_pyfunction!(thread_info, module)?)?;
    Ok(())
}
