//! Expressions of the user's, compiled by the interpreter.
//!
//! `CPython` says what an expression is: what it refuses is told with its words and position.
//! Its warnings about an expression are nobody's: while one is compiled, the list of warning
//! filters begins with one that ignores all, in a context without filters of the program's.
//! Compiling runs no bytecode, so no other thread sees that list.

use crate::ffi::name::name;
use pyo3::exceptions::{PySyntaxError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

/// Compiles an expression as `eval` would; `subject` names it in messages, and its code object.
///
/// What is no expression is a `ValueError` that names the text and the position.
pub(crate) fn expression<'py>(
    py: Python<'py>,
    text: &str,
    subject: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let text = text.trim_start_matches([' ', '\t']);
    compile(py, text, &format!("<{subject}>"), "eval").map_err(|error| refusal(py, text, &error))
}

/// Compiles an expression as a function of `parameters`, and returns the function's code.
///
/// With `class` it is compiled as in the body of the class of that name, so that private names
/// are mangled. The text has to be an expression already.
pub(crate) fn function<'py>(
    py: Python<'py>,
    text: &str,
    subject: &str,
    class: Option<&str>,
    parameters: &[&str],
) -> PyResult<Bound<'py, PyAny>> {
    let lambda = format!("lambda {}: (\n{text}\n)", parameters.join(", "));
    let name = format!("<{subject}>");
    let code = match class {
        None => compile(py, &lambda, &name, "eval")?,
        Some(class) => {
            let source = format!("class {class}:\n _ = {lambda}\n");
            nested(&compile(py, &source, &name, "exec")?)?
        }
    };
    nested(&code)
}

/// The first code object among the constants of another.
pub(crate) fn nested<'py>(code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let constants = code
        .getattr(name!("co_consts"))?
        .cast_into::<PyTuple>()
        .map_err(PyErr::from)?;
    constants
        .iter()
        .find(|constant| constant.get_type().is(code.get_type()))
        .ok_or_else(|| PyValueError::new_err("the interpreter compiled no function"))
}

/// The names that a code object and those in it look up anywhere but in the scopes between them.
pub(crate) fn names(code: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let mut found = Vec::new();
    // What an assignment expression binds may be read before it is bound.
    for attribute in [name!("co_varnames"), name!("co_cellvars")] {
        found.extend(code.getattr(attribute)?.extract::<Vec<String>>()?);
    }
    let mut codes = vec![code.clone()];
    while let Some(code) = codes.pop() {
        found.extend(code.getattr(name!("co_names"))?.extract::<Vec<String>>()?);
        let constants = code
            .getattr(name!("co_consts"))?
            .cast_into::<PyTuple>()
            .map_err(PyErr::from)?;
        let inner = constants
            .iter()
            .filter(|constant| constant.get_type().is(code.get_type()));
        codes.extend(inner);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Compiles a source text, without warnings.
pub(crate) fn compile<'py>(
    py: Python<'py>,
    source: &str,
    name: &str,
    mode: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let source = PyString::new(py, source);
    compile_with(py, source.as_any(), name, mode, 0)
}

/// Compiles a source text or a syntax tree with flags of the compiler's, without warnings.
pub(crate) fn compile_with<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    name: &str,
    mode: &str,
    flags: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let compile = py.import("builtins")?.getattr(name!("compile"))?;
    let options = PyDict::new(py);
    options.set_item("dont_inherit", true)?;
    options.set_item("flags", flags)?;
    let context = py.import("contextvars")?.call_method0(name!("Context"))?;
    let filters = filters(py)?;
    let all = py.get_type::<pyo3::exceptions::PyWarning>();
    let ignore = ("ignore", py.None(), all, py.None(), 0).into_pyobject(py)?;
    filters.call_method1(name!("insert"), (0, &ignore))?;
    let code = context.call_method(name!("run"), (compile, source, name, mode), Some(&options));
    // Somebody may have changed the list, in a finalizer.
    if filters.get_item(0).is_ok_and(|first| first.is(&ignore)) {
        filters.del_item(0)?;
    }
    code
}

/// The list of warning filters that the interpreter looks at.
fn filters(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let loaded = py
        .import("sys")?
        .getattr(name!("modules"))?
        .call_method1(name!("get"), ("warnings",))?;
    if let Ok(filters) = loaded.getattr(name!("filters")) {
        return Ok(filters);
    }
    py.import("_warnings")?.getattr(name!("filters"))
}

/// What is wrong with an expression, in one line.
fn refusal(py: Python<'_>, text: &str, error: &PyErr) -> PyErr {
    let value = error.value(py);
    if !error.is_instance_of::<PySyntaxError>(py) {
        return PyValueError::new_err(format!("{text:?} is no expression: {error}"));
    }
    let said = value
        .getattr(name!("msg"))
        .and_then(|said| said.extract())
        .unwrap_or_else(|_| "invalid syntax".to_owned());
    let position = |name| value.getattr(name).and_then(|at| at.extract::<u32>());
    let at = match (position("lineno"), position("offset")) {
        (Ok(line), Ok(column)) if text.contains('\n') => {
            format!(" at line {line}, column {column}")
        }
        // What is missing has no column.
        (_, Ok(0)) => " at its end".to_owned(),
        (_, Ok(column)) => format!(" at column {column}"),
        _ => String::new(),
    };
    PyValueError::new_err(format!("{text:?} is no expression: {said}{at}"))
}
