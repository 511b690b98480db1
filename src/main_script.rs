//! The main script: the one module that no loader loads.
//!
//! The interpreter compiles and runs it from C. This waits for its first frame with the
//! eval-frame hook, instruments the very code object that the frame is about to run, has it
//! swapped, and is gone: everything else about the start of the program stays as it is.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::breakpoint::Tier;
use crate::ffi::hook::{self, Choice, Decision};
use crate::ffi::name::name;
use crate::importer;
use crate::interpreter;
use crate::registry;

/// The script that the interpreter was started with, until its first frame begins.
struct Main {
    /// What breakpoints call the file that its code comes from.
    file: Arc<str>,
    /// Whether somebody may still ask for breakpoints in it, so that it is waited for in any case.
    keeps: bool,
}

static AWAITED: Mutex<Option<Main>> = Mutex::new(None);

/// Waits for the first frame of the main script at `path`, if its file wants probes, or, with
/// `in_any_case`, may come to want them before it begins: what is asked for later finds loaded
/// code, and this is none until it runs.
///
/// Returns the reason when the script cannot be reached.
#[pyfunction]
pub(crate) fn await_main(
    py: Python<'_>,
    path: &str,
    in_any_case: bool,
) -> PyResult<Option<String>> {
    registry::meet("__main__", path);
    let wanted = registry::wanted(path);
    // What is no file, as standard input, may be read bit by bit; nothing would end the wait.
    let keeps = in_any_case && Path::new(path).is_file();
    if wanted.is_none() && !keeps {
        return Ok(None);
    }
    let globals = namespace(py)?;
    let awaited = interpreter::current(py)
        .map_err(str::to_owned)
        .and_then(|interpreter| {
            let decision = Decision { choose, replaced };
            hook::await_frame(&globals, interpreter.version.minor(), decision)
        });
    if let Err(reason) = awaited {
        if let Some(wanted) = wanted {
            wanted.refuse(&reason);
        }
        return Ok(Some(reason));
    }
    let file = registry::file_name(path);
    *awaited_main() = Some(Main { file, keeps });
    Ok(None)
}

/// Stops waiting for the main script, unless somebody may still ask for breakpoints in it.
pub(crate) fn cancel(py: Python<'_>) {
    let mut awaited = awaited_main();
    if awaited.as_ref().is_some_and(|main| main.keeps) {
        return;
    }
    *awaited = None;
    drop(awaited);
    hook::cancel(py);
}

/// Whether the main script is being waited for.
#[pyfunction]
pub(crate) fn awaits_main() -> bool {
    awaited_main().is_some()
}

/// Whether an eval-frame function other than the interpreter's own is installed.
#[pyfunction]
pub(crate) fn eval_frame_hooked(py: Python<'_>) -> bool {
    hook::is_hooked(py)
}

fn awaited_main() -> MutexGuard<'static, Option<Main>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn namespace(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let main = py.import("__main__")?.getattr(name!("__dict__"))?;
    Ok(main.cast_into::<PyDict>()?)
}

fn choose(code: &Bound<'_, PyAny>) -> Choice {
    let path = code
        .getattr(name!("co_filename"))
        .and_then(|path| path.extract::<String>());
    let Ok(path) = path else { return Choice::Wait };
    let file = registry::file_name(&path);
    let expected = awaited_main().as_ref().map(|main| Arc::clone(&main.file));
    if expected.is_none_or(|expected| expected != file) && !has_begun(code.py()) {
        return Choice::Wait;
    }
    registry::meet("__main__", &path);
    let Some(variant) = importer::variant_of(code, Tier::Entry) else {
        *awaited_main() = None;
        return Choice::Original;
    };
    if let Some(main) = &mut *awaited_main() {
        main.file = file;
    }
    Choice::Replace(variant.unbind())
}

/// Whether the main program runs, from another file than was expected: compiled code says where it
/// comes from itself, and of a folder or an archive a module is run.
fn has_begun(py: Python<'_>) -> bool {
    let has = |name: &str| -> PyResult<bool> {
        let found = namespace(py)?.get_item(name)?;
        Ok(found.is_some_and(|found| !found.is_none()))
    };
    has("__file__").unwrap_or(true) || has("__spec__").unwrap_or(true)
}

fn replaced(_py: Python<'_>, outcome: Result<(), &'static str>) {
    let main = awaited_main().take();
    if let (Some(main), Err(reason)) = (main, outcome)
        && let Some(wanted) = registry::wanted(&main.file)
    {
        wanted.lose(reason);
    }
}
