//! The name of the asyncio task that runs, asked of the native part of asyncio only.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::name::name;
use crate::log;

/// The task that runs in this thread, if one does and the program uses asyncio.
pub(super) fn running(py: Python<'_>) -> Option<String> {
    let native = log::loaded_module(py, "_asyncio")?;
    let event_loop = native.call_method0(name!("_get_running_loop")).ok()?;
    if event_loop.is_none() {
        return None;
    }
    let task = if let Ok(current) = native.getattr(name!("current_task")) {
        current.call1((&event_loop,)).ok()?
    } else {
        // Before it was native, asyncio kept a dictionary.
        let tasks = native.getattr(name!("_current_tasks")).ok()?;
        tasks.cast::<PyDict>().ok()?.get_item(&event_loop).ok()??
    };
    if task.is_none() {
        return None;
    }
    let class = native.getattr(name!("Task")).ok()?;
    // Asked of the class, as a class of the program may have its own way to name tasks.
    class
        .call_method1(name!("get_name"), (task,))
        .ok()?
        .extract()
        .ok()
}
