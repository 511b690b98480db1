//! What Python sees of the log: its target, its figures, and where it meets `fork` and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::figures::{DROPPED, Dropped, FAILED, WRITTEN};
use super::record::ThreadName;
use super::target::{Output, Target};
use super::{LAST_PATIENCE, PATIENCE};
use crate::events;
use crate::ffi::name::name;
use crate::ffi::{attach, threads};
use crate::hit;

/// Set when no thread of ours may ask for the interpreter any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// `sys.modules`
static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// A Python function that takes batches, each a list of lines of JSON.
struct Callback(Py<PyAny>);

impl Output for Callback {
    fn deliver(&self, records: &[&str]) -> Result<(), String> {
        if ENDING.load(Ordering::Acquire) {
            return Err("the program has ended".to_owned());
        }
        let delivered = attach::try_attach(|py| {
            hit::call_quietly(py, "log output", || {
                self.0.call1(py, (records,)).map(|_| ())
            })
            .map_err(|error| error.to_string())
        });
        delivered.unwrap_or_else(|| Err("the interpreter is gone".to_owned()))
    }
}

/// A module that the program has imported already.
pub(crate) fn loaded_module<'py>(py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    MODULES.get(py)?.bind(py).get_item(name).ok()?
}

/// The running thread, as `threading` names it; nothing is made that is not there.
pub(crate) fn running_thread(py: Python<'_>) -> ThreadName {
    let id = threads::number();
    let name = || -> PyResult<Option<String>> {
        let Some(threading) = loaded_module(py, "threading") else {
            return Ok(None);
        };
        let active = threading.getattr(name!("_active"))?.cast_into::<PyDict>()?;
        let Some(thread) = active.get_item(id)? else {
            return Ok(None);
        };
        thread.getattr(name!("_name"))?.extract()
    };
    // A program may have put anything there.
    let name = name().unwrap_or_default();
    let name = name.or_else(|| threads::is_main().then(|| "MainThread".to_owned()));
    ThreadName { id, name }
}

/// Sends log messages to `stderr`, `stdout`, PATH or `jsonl:PATH`.
#[pyfunction]
#[pyo3(signature = (target, limit=None))]
fn set_log_target(py: Python<'_>, target: &str, limit: Option<usize>) -> PyResult<()> {
    if limit == Some(0) {
        return Err(PyValueError::new_err(
            "a limit of 0 bytes would drop every message",
        ));
    }
    super::direct(py, target, limit).map_err(|error| {
        PyOSError::new_err(format!(
            "log messages cannot be written to {target}: {error}"
        ))
    })
}

/// Has `callback` called with batches of records, each a line of JSON.
///
/// It is called from a thread of the engine's own, in which nothing hits.
#[pyfunction]
#[pyo3(signature = (callback, limit=None))]
fn set_log_output(py: Python<'_>, callback: Py<PyAny>, limit: Option<usize>) {
    super::direct_to(py, Arc::new(Callback(callback)), limit);
}

/// What became of the records of this process.
#[pyfunction]
fn log_figures(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dropped = PyDict::new(py);
    for why in Dropped::ALL {
        dropped.set_item(why.name(), DROPPED[why as usize].get())?;
    }
    let figures = PyDict::new(py);
    figures.set_item("written", WRITTEN.get())?;
    figures.set_item("dropped", dropped)?;
    figures.set_item("failed", FAILED.get())?;
    let sink = super::current_if_any();
    figures.set_item(
        "target",
        sink.as_ref()
            .map_or_else(|| "standard error".to_owned(), |sink| sink.target.name()),
    )?;
    figures.set_item("problem", sink.and_then(|sink| sink.problem()))?;
    Ok(figures)
}

/// Writes what waits; returns how many records their target has not taken.
#[pyfunction]
fn flush_log(py: Python<'_>) -> u64 {
    super::current_if_any().map_or(0, |sink| py.detach(|| sink.flush(PATIENCE)))
}

/// Delivers what a Python function is to get, while there is an interpreter to run it.
#[pyfunction]
fn end_log_output(py: Python<'_>) {
    let sink = super::current_if_any();
    if let Some(sink) = sink.filter(|sink| matches!(sink.target, Target::Output(_))) {
        py.detach(|| sink.flush(LAST_PATIENCE));
    }
    ENDING.store(true, Ordering::Release);
}

/// `execv` or `execve`, called when what waits is written: nothing is left of a process after it.
#[pyfunction]
fn before_exec<'py>(
    py: Python<'py>,
    exec: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyCFunction>> {
    let name = match exec.getattr(name!("__name__"))?.extract::<&str>()? {
        "execve" => c"execve",
        _ => c"execv",
    };
    let exec = exec.clone().unbind();
    let call = move |args: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>| {
        let py = args.py();
        events::flush();
        flush_log(py);
        exec.call(py, args, named)
    };
    PyCFunction::new_closure(py, Some(name), None, call)
}

#[pyfunction]
fn part_log(py: Python<'_>) {
    // A batch may be on its way into a Python function, which needs the interpreter to return.
    if let Some(sink) = super::current_if_any() {
        match &sink.target {
            Target::Output(_) => py.detach(|| sink.part()),
            _ => sink.part(),
        }
    }
}

#[pyfunction]
fn resume_log() {
    if let Some(sink) = super::current_if_any() {
        sink.resume();
    }
}

#[pyfunction]
fn begin_log_in_child() {
    attach::begin_in_child();
    super::begin_in_child();
}

/// Adds what Python sees of the log, and registers what has to run around a fork and at the end.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_function(wrap_pyfunction!(set_log_target, module)?)?;
    module.add_function(wrap_pyfunction!(set_log_output, module)?)?;
    module.add_function(wrap_pyfunction!(log_figures, module)?)?;
    module.add_function(wrap_pyfunction!(flush_log, module)?)?;
    module.add_function(wrap_pyfunction!(before_exec, module)?)?;
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    let _ = MODULES.set(py, modules.cast_into::<PyDict>()?.unbind());
    let atexit = py.import("atexit")?;
    atexit.call_method1(
        name!("register"),
        (wrap_pyfunction!(end_log_output, &atexit)?,),
    )?;
    let os = py.import("os")?;
    if os.hasattr(name!("register_at_fork"))? {
        let around = PyDict::new(py);
        around.set_item("before", wrap_pyfunction!(part_log, &os)?)?;
        around.set_item("after_in_parent", wrap_pyfunction!(resume_log, &os)?)?;
        around.set_item("after_in_child", wrap_pyfunction!(begin_log_in_child, &os)?)?;
        os.call_method(name!("register_at_fork"), (), Some(&around))?;
    }
    Ok(())
}
