//! The main script: the one module that no loader loads.
//!
//! The interpreter compiles and runs it from C. This waits for its first frame with the
//! eval-frame hook, instruments the very code object that the frame is about to run, has it
//! swapped, and is gone: everything else about the start of the program stays as it is.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::breakpoint::Tier;
use crate::ffi::hook::{self, Choice, Decision};
use crate::ffi::name::name;
use crate::importer;
use crate::interpreter;
use crate::registry::{self, WantedFile};

static AWAITED: Mutex<Option<WantedFile>> = Mutex::new(None);

/// Waits for the first frame of the main script at `path`, if its file wants probes.
///
/// Returns the reason when the script cannot be reached.
#[pyfunction]
pub(crate) fn await_main(py: Python<'_>, path: &str) -> PyResult<Option<String>> {
    registry::meet("__main__", path);
    let Some(wanted) = registry::wanted(path) else {
        return Ok(None);
    };
    let globals = py
        .import("__main__")?
        .getattr(name!("__dict__"))?
        .cast_into::<PyDict>()?;
    let awaited = interpreter::current(py)
        .map_err(str::to_owned)
        .and_then(|interpreter| {
            let decision = Decision { choose, replaced };
            hook::await_frame(&globals, interpreter.version.minor(), decision)
        });
    if let Err(reason) = awaited {
        wanted.refuse(&reason);
        return Ok(Some(reason));
    }
    remember(Some(wanted));
    Ok(None)
}

/// Stops waiting for the main script.
pub(crate) fn cancel(py: Python<'_>) {
    hook::cancel(py);
    remember(None);
}

/// Whether the main script is being waited for.
#[pyfunction]
pub(crate) fn awaits_main() -> bool {
    AWAITED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .is_some()
}

/// Whether an eval-frame function other than the interpreter's own is installed.
#[pyfunction]
pub(crate) fn eval_frame_hooked(py: Python<'_>) -> bool {
    hook::is_hooked(py)
}

fn remember(wanted: Option<WantedFile>) -> Option<WantedFile> {
    let mut awaited = AWAITED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    std::mem::replace(&mut awaited, wanted)
}

fn choose(code: &Bound<'_, PyAny>) -> Choice {
    let path = code
        .getattr(name!("co_filename"))
        .and_then(|path| path.extract::<String>());
    let Ok(path) = path else { return Choice::Wait };
    let awaited = AWAITED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let expected = awaited.as_ref().map(|wanted| wanted.file.clone());
    drop(awaited);
    if expected.is_none_or(|expected| *expected != *registry::file_name(&path)) {
        return Choice::Wait;
    }
    let variant = importer::variant_of(code, Tier::Entry);
    if variant.is_none() {
        remember(None);
    }
    variant.map_or(Choice::Original, |variant| {
        Choice::Replace(variant.unbind())
    })
}

fn replaced(_py: Python<'_>, outcome: Result<(), &'static str>) {
    let wanted = remember(None);
    if let (Some(wanted), Err(reason)) = (wanted, outcome) {
        wanted.lose(reason);
    }
}
