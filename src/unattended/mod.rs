//! Breakpoints of a process that nobody attends: those of the file that `DAPPER_BREAKPOINTS` names.
//!
//! The file is read when the process starts and whenever it changes; what is new is armed and what
//! is gone is taken out while the program runs ([`watch`]). Nobody could answer a stop here: it is
//! refused, and the others are armed. A file that cannot be read leaves everything as it is.
//! Python registers what follows up a change: hooks, and the binding of loaded code.

mod watch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::breakpoint::{Breakpoint, Kind, Request};
use crate::breakpoint_file::{self, FileBreakpoint};
use crate::condition;
use crate::ffi::attach;
use crate::ffi::name::name;
use crate::hit;
use crate::modules;
use crate::registry;
use crate::request::Purity;
use crate::session;
use watch::Watch;

/// What the file asks for, with what stands for it.
static ARMED: Mutex<Vec<(FileBreakpoint, Arc<Breakpoint>)>> = Mutex::new(Vec::new());
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);
/// The state of the file when it was last read.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// Set when no thread of ours may ask for the interpreter any more.
static ENDING: AtomicBool = AtomicBool::new(false);

fn watched() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the breakpoints what the file at `path` asks for; returns the files that are concerned.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python paths are extracted into values"
)]
fn follow_file(py: Python<'_>, path: PathBuf) -> Vec<String> {
    // Before it is read: a change that comes meanwhile is seen as one.
    SEEN.store(state_of(&path), Ordering::Release);
    let rows = match breakpoint_file::read(&path) {
        Ok(rows) => rows,
        Err(error) => {
            hit::tell_once(&format!("breakpoints stay as they are: {error}"));
            return Vec::new();
        }
    };
    let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut concerned = Vec::new();
    let mut before = std::mem::take(&mut *armed);
    for row in wanted(rows, &path) {
        let known = before.iter().position(|(known, _)| *known == row);
        armed.push(if let Some(at) = known {
            before.swap_remove(at)
        } else {
            let request = match request_of(py, &row) {
                Ok(request) => request,
                Err(problem) => {
                    hit::tell_once(&format!("{}: {}: {problem}", path.display(), row.place));
                    continue;
                }
            };
            let breakpoint = session::register(py, &row.place, request);
            if let Err(error) = modules::meet_loaded(py, &breakpoint) {
                hit::tell_once(&format!("{}: {}: {error}", path.display(), row.place));
            }
            concerned.extend(breakpoint.files());
            (row, breakpoint)
        });
    }
    for (_, gone) in before {
        registry::remove(gone.id);
        concerned.extend(gone.files());
    }
    concerned.sort_unstable();
    concerned.dedup();
    concerned.iter().map(ToString::to_string).collect()
}

/// What changes whenever the file does; stands for a file that is not there, too.
fn state_of(path: &Path) -> u64 {
    let mut state = DefaultHasher::new();
    if let Ok(found) = path.metadata() {
        (found.len(), found.modified().ok(), found.created().ok()).hash(&mut state);
    }
    state.finish()
}

/// The rows that can be carried out here.
fn wanted(rows: Vec<FileBreakpoint>, path: &Path) -> Vec<FileBreakpoint> {
    let (stops, others): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.kind == Kind::Stop);
    for stop in stops {
        hit::tell_once(&format!(
            "{}: the stop at {} is left out, for nobody attends this process: \
             use kind \"log\", \"count\" or \"snapshot\"",
            path.display(),
            stop.place
        ));
    }
    others
}

/// What a row asks for, if its expressions compile.
fn request_of(py: Python<'_>, row: &FileBreakpoint) -> Result<Request, String> {
    let place = registry::known_place(&row.place);
    let request = Request::on_terms(&place, row.kind, &row.terms, Purity::default())?;
    condition::check(py, &request).map_err(|error| error.value(py).to_string())?;
    Ok(request)
}

/// Has `changed` called, without arguments, whenever the file at `path` may have changed.
#[pyfunction]
fn watch_file(path: PathBuf, changed: Py<PyAny>) -> PyResult<()> {
    let path = std::path::absolute(path)?;
    let file = path.clone();
    let call = move || {
        let seen = SEEN.load(Ordering::Acquire) == state_of(&file);
        if seen || ENDING.load(Ordering::Acquire) {
            return;
        }
        // None when the interpreter is going down, where nothing is to be armed.
        let _ = attach::try_attach(|py| {
            hit::call_quietly(py, "change of the breakpoint file", || {
                changed.call0(py).map(|_| ())
            })
        });
    };
    let mut watch = Watch::new(path.clone(), Arc::new(call));
    watch.start().map_err(|error| {
        PyOSError::new_err(format!("{} cannot be watched: {error}", path.display()))
    })?;
    *watched() = Some(watch);
    session::conclude_at_the_end();
    Ok(())
}

fn end(py: Python<'_>) {
    let parting = watched().as_mut().and_then(Watch::take);
    if let Some(parting) = parting {
        // It may be waiting for the interpreter.
        py.detach(|| parting.end());
    }
}

fn start() {
    if let Some(watch) = watched().as_mut()
        && let Err(error) = watch.start()
    {
        hit::tell_once(&format!(
            "the breakpoint file is not watched any more: {error}"
        ));
    }
}

#[pyfunction]
fn end_watch(py: Python<'_>) {
    ENDING.store(true, Ordering::Release);
    end(py);
}

#[pyfunction]
fn part_watch(py: Python<'_>) {
    end(py);
}

#[pyfunction]
fn resume_watch() {
    start();
}

#[pyfunction]
fn begin_watch_in_child() {
    if let Some(watch) = watched().as_mut() {
        watch.in_child();
    }
    start();
}

/// Adds the functions of this file, and registers what has to run around a fork and at the end.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_function(wrap_pyfunction!(follow_file, module)?)?;
    module.add_function(wrap_pyfunction!(watch_file, module)?)?;
    let atexit = py.import("atexit")?;
    atexit.call_method1(name!("register"), (wrap_pyfunction!(end_watch, &atexit)?,))?;
    let os = py.import("os")?;
    if os.hasattr(name!("register_at_fork"))? {
        let around = PyDict::new(py);
        around.set_item("before", wrap_pyfunction!(part_watch, &os)?)?;
        around.set_item("after_in_parent", wrap_pyfunction!(resume_watch, &os)?)?;
        around.set_item(
            "after_in_child",
            wrap_pyfunction!(begin_watch_in_child, &os)?,
        )?;
        os.call_method(name!("register_at_fork"), (), Some(&around))?;
    }
    Ok(())
}
