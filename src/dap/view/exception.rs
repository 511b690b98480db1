//! `exceptionInfo`: the exception of a stop, with those that it came from and those it groups.

use std::time::Duration;

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use serde_json::{Value, json};

use super::guard::{guarded, last_line};
use crate::dap::parked::without_nulls;
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::Scene;
use crate::ffi::name::{Name, name};
use crate::log::loaded_module;

/// How long one text of an exception may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How deep chains and groups are followed, and how many exceptions of one group.
const DEEPEST: usize = 20;
const MOST_GROUPED: usize = 50;
/// How much of a traceback is told.
const MOST_TRACE: usize = 100_000;

/// `exceptionInfo`
pub(super) fn exception_info(scene: &mut Scene<'_>, _request: &Request) -> Answer {
    let Some((exception, mode)) = &scene.why.exception else {
        return Err(Refusal::new("the thread did not stop at an exception"));
    };
    let mut seen = Vec::new();
    let details = details(exception, &mut seen);
    let body = json!({
        "exceptionId": full_name(&exception.get_type()),
        "description": message(exception),
        "breakMode": mode,
        "details": details,
    });
    Ok(without_nulls(body))
}

/// The name of a class with its module, but for builtin ones.
fn full_name(class: &Bound<'_, PyType>) -> String {
    let name = class.qualname().map(|name| name.to_string());
    let name = name.unwrap_or_else(|_| "?".to_owned());
    match class.module().map(|module| module.to_string()) {
        Ok(module) if module != "builtins" => format!("{module}.{name}"),
        _ => name,
    }
}

/// What an exception says, with its notes.
fn message(exception: &Bound<'_, PyAny>) -> String {
    let py = exception.py();
    let text = || {
        let mut text = exception.str()?.to_string_lossy().into_owned();
        let notes = exception.getattr_opt(name!("__notes__"))?.into_iter();
        for notes in notes {
            for note in notes.try_iter()?.take(MOST_GROUPED) {
                text.push('\n');
                text.push_str(&note?.str()?.to_string_lossy());
            }
        }
        Ok(text)
    };
    let said = guarded(py, Some(PATIENCE), text);
    said.unwrap_or_else(|error| format!("<its text: {}>", last_line(py, &error)))
}

fn details(exception: &Bound<'_, PyAny>, seen: &mut Vec<usize>) -> Value {
    let class = exception.get_type();
    let name = class.qualname().map(|name| name.to_string());
    seen.push(exception.as_ptr() as usize);
    let inner: Vec<Value> = behind(exception)
        .into_iter()
        .filter_map(|inner| {
            let known = seen.contains(&(inner.as_ptr() as usize)) || seen.len() > DEEPEST;
            (!known).then(|| details(&inner, seen))
        })
        .collect();
    seen.pop();
    without_nulls(json!({
        "message": message(exception),
        "typeName": name.unwrap_or_else(|_| "?".to_owned()),
        "fullTypeName": full_name(&class),
        "stackTrace": trace(exception),
        "innerException": inner,
    }))
}

/// The exception that this one came from, and those that it groups.
fn behind<'py>(exception: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    let there = |name: &'static Name| {
        exception
            .getattr(name)
            .ok()
            .filter(|value| !value.is_none())
    };
    let hides = || -> PyResult<bool> {
        exception
            .getattr(name!("__suppress_context__"))?
            .is_truthy()
    };
    let before = there(name!("__cause__")).or_else(|| {
        if hides().unwrap_or(false) {
            None
        } else {
            there(name!("__context__"))
        }
    });
    let mut found: Vec<Bound<'py, PyAny>> = before.into_iter().collect();
    if is_group(exception)
        && let Some(grouped) = there(name!("exceptions"))
        && let Ok(grouped) = grouped.cast::<PyTuple>()
    {
        found.extend(grouped.iter().take(MOST_GROUPED));
    }
    found.retain(PyAnyMethods::is_instance_of::<PyBaseException>);
    found
}

fn is_group(exception: &Bound<'_, PyAny>) -> bool {
    let builtins = exception.py().import("builtins");
    let group = builtins.and_then(|builtins| builtins.getattr(name!("BaseExceptionGroup")));
    group.is_ok_and(|group| exception.is_instance(&group).unwrap_or(false))
}

/// The traceback of one exception as the interpreter prints it, without those of others.
fn trace(exception: &Bound<'_, PyAny>) -> Option<String> {
    let py = exception.py();
    let traceback = exception.getattr(name!("__traceback__")).ok()?;
    if traceback.is_none() {
        return None;
    }
    let format = || {
        let module = match loaded_module(py, "traceback") {
            Some(module) => module,
            None => py.import("traceback")?.into_any(),
        };
        let lines = module.call_method1(name!("format_tb"), (&traceback,))?;
        let mut text = String::new();
        for line in lines.try_iter()? {
            text.push_str(&line?.cast::<PyString>()?.to_string_lossy());
            if text.len() > MOST_TRACE {
                text.push_str("...\n");
                break;
            }
        }
        Ok(text)
    };
    guarded(py, Some(PATIENCE), format).ok()
}
