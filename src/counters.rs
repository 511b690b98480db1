//! Figures about what the engine has done in this process since they were last reset.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::hook;
use crate::loaded::figures as loaded;
use crate::scoped::figures as scoped;

/// Every figure with its name.
fn all() -> [(&'static str, &'static AtomicU64); 11] {
    [
        ("frames_inspected", &hook::INSPECTED),
        ("frames_swapped", &hook::SWAPPED),
        ("frames_promoted", &loaded::FRAMES_PROMOTED),
        ("functions_bound", &loaded::FUNCTIONS_BOUND),
        ("constants_relinked", &loaded::CONSTANTS_RELINKED),
        ("frames_watched", &loaded::FRAMES_WATCHED),
        ("variants_made", &loaded::VARIANTS_MADE),
        ("watches_installed", &scoped::WATCHES),
        ("trace_events", &scoped::EVENTS),
        ("return_events", &scoped::RETURNS),
        ("exception_events", &scoped::EXCEPTIONS),
    ]
}

/// All figures as they are now.
pub(crate) fn now() -> impl Iterator<Item = (&'static str, u64)> {
    let read =
        |(name, counter): (&'static str, &AtomicU64)| (name, counter.load(Ordering::Relaxed));
    all().into_iter().map(read)
}

/// All figures by name.
#[pyfunction]
pub(crate) fn counters(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let figures = PyDict::new(py);
    for (name, counter) in all() {
        figures.set_item(name, counter.load(Ordering::Relaxed))?;
    }
    Ok(figures)
}

/// Counts from nothing again.
#[pyfunction]
pub(crate) fn reset_counters() {
    for (_, counter) in all() {
        counter.store(0, Ordering::Relaxed);
    }
}

/// Whether dapper's own hook is in the interpreter's eval-frame slot now.
#[pyfunction]
pub(crate) fn entry_hook_installed(py: Python<'_>) -> bool {
    hook::is_installed(py)
}

/// How deep the calling thread is in decisions of the eval-frame hook.
#[pyfunction]
pub(crate) fn inside_frame_eval() -> u32 {
    hook::depth()
}
