//! Python programs that are started with an environment of their own.
//!
//! What asks a process for its debugger is in the environment that children inherit. A program may
//! give a child another one: where the child is an interpreter, it is put in there as well, and
//! what is asked of any other child stays as it is.

use crate::ffi::name::name;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCFunction, PyDict, PyList, PyTuple};

use super::activation;

const SESSION: &str = "DAPPER_SESSION";

/// What stands in for a native function that starts programs; the environment is its argument
/// number `at`, and `bootstrap` the folder that a child needs on its path, if it does.
#[pyfunction]
#[pyo3(signature = (function, at, bootstrap=None))]
fn with_debugger_for_children<'py>(
    function: &Bound<'py, PyAny>,
    at: usize,
    bootstrap: Option<String>,
) -> PyResult<Bound<'py, PyCFunction>> {
    let py = function.py();
    let name = match function.getattr(name!("__name__"))?.extract::<&str>()? {
        "fork_exec" => c"fork_exec",
        "posix_spawn" => c"posix_spawn",
        "posix_spawnp" => c"posix_spawnp",
        _ => c"execve",
    };
    let function = function.clone().unbind();
    let call = move |args: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>| {
        // What is wrong with the arguments is for the function itself to say.
        let enriched = enriched(args, at, bootstrap.as_deref()).unwrap_or_default();
        function.call(args.py(), enriched.as_ref().unwrap_or(args), named)
    };
    PyCFunction::new_closure(py, Some(name), None, call)
}

/// The arguments with what the child needs, where it is an interpreter that lacks it.
fn enriched<'py>(
    args: &Bound<'py, PyTuple>,
    at: usize,
    bootstrap: Option<&str>,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let py = args.py();
    let Some(session) = activation::session_of_children() else {
        return Ok(None);
    };
    let environment = args.get_item(at)?;
    if environment.is_none() || !is_interpreter(&args.get_item(0)?)? {
        return Ok(None);
    }
    let mut wanted = vec![("DAPPER", "run".to_owned()), (SESSION, session)];
    let environment = if let Ok(lines) = environment.cast::<PyList>() {
        let value_of = |name: &str| {
            let mut lines = lines
                .iter()
                .filter_map(|line| line.extract::<Vec<u8>>().ok());
            let prefix = format!("{name}=").into_bytes();
            lines.find_map(|line| Some(line.strip_prefix(&*prefix)?.to_vec()))
        };
        if value_of(SESSION).is_some() {
            return Ok(None);
        }
        let own = value_of("PYTHONPATH").map(|own| String::from_utf8_lossy(&own).into_owned());
        wanted.extend(path(bootstrap, own));
        let replaced = |line: &Bound<'_, PyAny>| {
            let line = line.extract::<Vec<u8>>().unwrap_or_default();
            wanted
                .iter()
                .any(|(name, _)| line.starts_with(format!("{name}=").as_bytes()))
        };
        let kept = PyList::new(py, lines.iter().filter(|line| !replaced(line)))?;
        for (name, value) in &wanted {
            kept.append(PyBytes::new(py, format!("{name}={value}").as_bytes()))?;
        }
        kept.into_any()
    } else {
        let own = PyDict::new(py);
        own.call_method1(name!("update"), (&environment,))?;
        if own.contains(SESSION)? {
            return Ok(None);
        }
        let before = own
            .get_item("PYTHONPATH")?
            .and_then(|own| own.extract().ok());
        wanted.extend(path(bootstrap, before));
        for (name, value) in wanted {
            own.set_item(name, value)?;
        }
        own.into_any()
    };
    let mut all: Vec<Bound<'py, PyAny>> = args.iter().collect();
    all[at] = environment;
    PyTuple::new(py, all).map(Some)
}

fn path(bootstrap: Option<&str>, own: Option<String>) -> Option<(&'static str, String)> {
    let path = match own.filter(|own| !own.is_empty()) {
        Some(own) => format!("{}:{own}", bootstrap?),
        None => bootstrap?.to_owned(),
    };
    Some(("PYTHONPATH", path))
}

/// Whether a program, or the first word of a command, is an interpreter by its name.
fn is_interpreter(program: &Bound<'_, PyAny>) -> PyResult<bool> {
    let first = match program.cast::<PyList>() {
        Ok(words) => words.get_item(0)?,
        Err(_) => program.clone(),
    };
    let name: String = program
        .py()
        .import("os")?
        .call_method1(name!("fsdecode"), (first,))?
        .extract()?;
    let name = name.rsplit('/').next().unwrap_or_default();
    Ok(name.starts_with("python"))
}

/// Adds what this file offers to the extension module.
pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(with_debugger_for_children, module)?)
}
