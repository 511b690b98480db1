//! Which exceptions an exception breakpoint means: all, those of some classes, or those for which
//! an expression is true.
//!
//! Owns the conditions of filters and the paths of `exceptionOptions`. A condition is evaluated in
//! the frame at which the exception is seen, with the exception as `e` and as `exc`. Names of
//! classes mean these and their subclasses, with or without the module in front; so does an
//! expression whose value is a class or a tuple of classes. What a condition raises is told once,
//! and the program does not stop for it: exceptions pass through many frames, and few of them have
//! the names of a condition.

use pyo3::exceptions::{PyNameError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use serde::Deserialize;

use crate::compile;
use crate::condition;
use crate::dap::session;
use crate::evaluator::Evaluator;
use crate::ffi::name::name;
use serde_json::json;

/// At which moment an exception is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Raised,
    UserUnhandled,
    Uncaught,
}

impl Moment {
    /// As the engine names it.
    pub(super) fn engine_name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::UserUnhandled => "user_unhandled",
            Self::Uncaught => "uncaught",
        }
    }

    /// The moment of a filter of the client's.
    pub(super) fn of_filter(name: &str) -> Option<Self> {
        match name {
            "raised" => Some(Self::Raised),
            "userUnhandled" => Some(Self::UserUnhandled),
            "uncaught" => Some(Self::Uncaught),
            _ => None,
        }
    }
}

/// One part of the path to some classes: any of the names, or none of them.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PathSegment {
    #[serde(default)]
    negate: bool,
    #[serde(default)]
    names: Vec<String>,
}

/// What an exception has to be.
#[derive(Debug)]
pub(super) enum Test {
    /// Anything.
    Any,
    /// Such that an expression is true.
    Condition(String),
    /// On this path.
    Path(Vec<PathSegment>),
}

impl Test {
    /// A condition, or what is wrong with it.
    pub(super) fn condition(py: Python<'_>, text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Any);
        }
        compile::expression(py, text, "condition")
            .map_err(|error| format!("condition {}", error.value(py)))?;
        Ok(Self::Condition(text.to_owned()))
    }

    /// A path of `exceptionOptions`; its first part may be the category, which has but one value.
    pub(super) fn path(mut path: Vec<PathSegment>) -> Self {
        let is_category = |segment: &PathSegment| {
            segment.names.len() == 1 && segment.names[0].eq_ignore_ascii_case("python exceptions")
        };
        if path.first().is_some_and(is_category) {
            path.remove(0);
        }
        if path.is_empty() {
            Self::Any
        } else {
            Self::Path(path)
        }
    }

    /// Whether an exception that is seen in `frame` is meant.
    pub(super) fn means(
        &self,
        frame: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        match self {
            Self::Any => Ok(true),
            Self::Path(path) => Ok(path.iter().all(|segment| {
                segment.names.iter().any(|name| is_named(exception, name)) != segment.negate
            })),
            Self::Condition(text) => holds(text, frame, exception),
        }
    }
}

/// Whether a class of this name is among those of an exception.
fn is_named(exception: &Bound<'_, PyAny>, name: &str) -> bool {
    let classes = exception.get_type().mro();
    classes.iter().any(|class| {
        let Ok(class) = class.cast_into::<PyType>() else {
            return false;
        };
        let Ok(qualname) = class.qualname().map(|name| name.to_string()) else {
            return false;
        };
        qualname == name
            || class
                .module()
                .is_ok_and(|module| format!("{module}.{qualname}") == name)
    })
}

/// The names of classes that a text may be a list of.
fn names(text: &str) -> Option<Vec<&str>> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .chars()
                .all(|char| char.is_alphanumeric() || "_.".contains(char))
    };
    let names: Vec<&str> = text
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .collect();
    names.iter().all(is_name).then_some(names)
}

fn holds(text: &str, frame: &Bound<'_, PyAny>, exception: &Bound<'_, PyAny>) -> PyResult<bool> {
    let names = names(text);
    if let Some(names) = &names
        && names.iter().any(|name| is_named(exception, name))
    {
        return Ok(true);
    }
    let py = frame.py();
    // Compiled as a function, its names are those of the frame but for these two.
    let function = format!("lambda e, exc: (\n{text}\n)");
    let held = condition::undisturbed(py, || {
        let function = Evaluator::new(&function, "condition of exceptions").value(frame)?;
        let value = function.call1((exception, exception))?;
        let classes = value.is_instance_of::<PyType>()
            || value.cast::<PyTuple>().is_ok_and(|all| {
                !all.is_empty() && all.iter().all(|one| one.is_instance_of::<PyType>())
            });
        if classes {
            return exception.is_instance(&value);
        }
        value.is_truthy()
    })?;
    held.or_else(|error| {
        if names.is_none() || !error.is_instance_of::<PyNameError>(py) {
            tell(py, text, &error);
        }
        Ok(false)
    })
}

/// Tells the user once of a condition that raised.
fn tell(py: Python<'_>, text: &str, error: &PyErr) {
    let subject = format!("condition {text:?} of exceptions");
    if crate::tell::tell_first(&subject)
        && let Some(session) = session::current()
    {
        let said = format!("{subject} failed: {}\n", condition::describe(py, error));
        py.detach(|| session.event("output", json!({"category": "console", "output": said})));
    }
}

/// The status with which a `SystemExit` ends the program, if it is a number.
pub(super) fn status(exception: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let code = exception.getattr(name!("code"))?;
    if code.is_none() {
        return Ok(Some(0));
    }
    match code.extract::<i64>() {
        Ok(code) => Ok(Some(code)),
        Err(error) if error.is_instance_of::<PyValueError>(code.py()) => Err(error),
        Err(_) => Ok(None),
    }
}
