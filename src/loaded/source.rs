//! The code of a module as its source says: what requested lines are measured by, and where the
//! original of code comes from that was born as a variant.
//!
//! Kept for each file with breakpoints, by the content of the file. Compiling shows the program
//! nothing: no warning is raised a second time, and no bytecode runs.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cache::SourceHash;
use instrument::LineMap;
use pyo3::exceptions::PySyntaxWarning;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::tree::dumps;
use crate::ffi::name::name;
use crate::interpreter;

/// The reason of breakpoints whose file is not what was loaded.
pub(super) const CHANGED: &str = "its file changed after it was loaded";

/// A module, compiled from its source.
#[derive(Clone)]
pub(super) struct Module {
    pub(super) code: Arc<Py<PyAny>>,
    pub(super) map: Arc<LineMap>,
    /// What `marshal` wrote for it before the program's code came into it.
    pub(super) marshalled: Arc<[u8]>,
    pub(super) digest: [u8; 32],
}

/// The digest of the source of each file that was instrumented while it was loaded.
static LOADED_FROM: LazyLock<Mutex<HashMap<Arc<str>, [u8; 32]>>> = LazyLock::new(Mutex::default);
static MODULES: LazyLock<Mutex<HashMap<Arc<str>, Module>>> = LazyLock::new(Mutex::default);

/// Remembers the source that an instrumented module was loaded from; `known` is its content, if
/// it has been read already.
pub(crate) fn remember_source(file: &Arc<str>, known: Option<&SourceHash>) {
    let digest = match known {
        Some(hash) => *hash.as_bytes(),
        None => match std::fs::read(&**file) {
            Ok(content) => *SourceHash::of(&content).as_bytes(),
            Err(_) => return,
        },
    };
    let mut loaded = LOADED_FROM.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.insert(Arc::clone(file), digest);
}

/// The files that were instrumented while they were loaded.
pub(super) fn instrumented_files() -> Vec<Arc<str>> {
    let loaded = LOADED_FROM.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.keys().cloned().collect()
}

/// Forgets what was compiled for `file`.
pub(super) fn forget(file: &str) {
    let old = MODULES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(file);
    drop(old);
}

/// The module of `file` as its source is now, or why there is none.
pub(super) fn module(py: Python<'_>, file: &Arc<str>) -> PyResult<Result<Module, String>> {
    let content = match std::fs::read(&**file) {
        Ok(content) => content,
        Err(error) => return Ok(Err(format!("its source cannot be read: {error}"))),
    };
    let digest = *SourceHash::of(&content).as_bytes();
    let loaded_from = {
        let loaded = LOADED_FROM.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.get(file).copied()
    };
    if loaded_from.is_some_and(|known| known != digest) {
        return Ok(Err(CHANGED.to_owned()));
    }
    let known = {
        let modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        modules.get(file).cloned()
    };
    if let Some(module) = known.filter(|module| module.digest == digest) {
        return Ok(Ok(module));
    }
    let code = match compile(py, file, &content) {
        Ok(code) => code,
        Err(error) => return Ok(Err(format!("its source does not compile: {error}"))),
    };
    let version = match interpreter::current(py) {
        Ok(interpreter) => interpreter.version,
        Err(reason) => return Ok(Err(reason.to_owned())),
    };
    let marshalled = dumps(&code)?;
    let map = match instrument::line_map(version, &marshalled) {
        Ok(map) => map,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let module = Module {
        code: Arc::new(code.unbind()),
        map: Arc::new(map),
        marshalled: marshalled.into(),
        digest,
    };
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let old = modules.insert(Arc::clone(file), module.clone());
    drop(modules);
    drop(old);
    Ok(Ok(module))
}

/// Compiles as an import does, without a word about what the first compilation has said already.
fn compile<'py>(py: Python<'py>, file: &str, content: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let filters = py
        .import("warnings")?
        .getattr(name!("filters"))?
        .cast_into::<PyList>()?;
    let silent = (
        "ignore",
        py.None(),
        py.get_type::<PySyntaxWarning>(),
        py.None(),
        0,
    );
    filters.insert(0, silent)?;
    let code = py.import("builtins")?.call_method1(
        name!("compile"),
        (PyBytes::new(py, content), file, "exec", 0, true, -1),
    );
    filters.del_item(0)?;
    code
}
