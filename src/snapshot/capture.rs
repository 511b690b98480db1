//! What a snapshot records, its limits, and how users give them.
//!
//! [`CaptureOptions`] is what a breakpoint file, a session and Python say: every option may be
//! absent. [`Capture`] is what they come to.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::{Deserialize, Serialize};

use super::redact::Redaction;

/// What a snapshot records, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    /// How many frames, from the one that was hit.
    pub(crate) stack_depth: u32,
    /// How many of them with their local variables.
    pub(crate) frames_with_locals: u32,
    /// How deep values are looked into.
    pub(crate) locals_depth: u32,
    /// How many items of a container, attributes of an object and variables of a frame.
    pub(crate) max_items: usize,
    /// How many characters of a string.
    pub(crate) max_string: usize,
    /// How many bytes of values in all.
    pub(crate) max_total_bytes: usize,
    /// How many snapshots a breakpoint takes.
    pub(crate) max_count: u64,
    /// How long one snapshot may take before the rest is left out.
    pub(crate) time_budget: Duration,
    /// What is evaluated beside the variables.
    pub(crate) expressions: Vec<String>,
    /// Whose values are not recorded.
    pub(crate) redact: Redaction,
    /// Whether the program's own `__repr__` is called.
    pub(crate) full_repr: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            stack_depth: 20,
            frames_with_locals: 3,
            locals_depth: 2,
            max_items: 20,
            max_string: 200,
            max_total_bytes: 16 << 10,
            max_count: 100,
            time_budget: Duration::from_millis(5),
            expressions: Vec::new(),
            redact: Redaction::default(),
            full_repr: false,
        }
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Repr {
    /// Without running code of the program.
    Safe,
    /// By the program's own `__repr__`.
    Full,
}

/// The options of a capture, as users give them; see the fields of [`Capture`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CaptureOptions {
    stack_depth: Option<u32>,
    frames_with_locals: Option<u32>,
    locals_depth: Option<u32>,
    max_items: Option<usize>,
    max_string: Option<usize>,
    max_total_bytes: Option<usize>,
    max_count: Option<u64>,
    /// In seconds.
    time_budget_s: Option<f64>,
    expressions: Vec<String>,
    /// Names to redact beside those that always are.
    redact: Vec<String>,
    repr: Option<Repr>,
}

impl CaptureOptions {
    /// Reads what Python gave: the names of the options and their values.
    pub(crate) fn from_python(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut read = Self::default();
        for (name, value) in options {
            let name: String = name.extract()?;
            match name.as_str() {
                "stack_depth" => read.stack_depth = value.extract()?,
                "frames_with_locals" => read.frames_with_locals = value.extract()?,
                "locals_depth" => read.locals_depth = value.extract()?,
                "max_items" => read.max_items = value.extract()?,
                "max_string" => read.max_string = value.extract()?,
                "max_total_bytes" => read.max_total_bytes = value.extract()?,
                "max_count" => read.max_count = value.extract()?,
                "time_budget_s" => read.time_budget_s = value.extract()?,
                "expressions" => read.expressions = value.extract()?,
                "redact" => read.redact = value.extract()?,
                "repr" => {
                    read.repr = Some(match value.extract::<&str>()? {
                        "safe" => Repr::Safe,
                        "full" => Repr::Full,
                        other => {
                            return Err(PyValueError::new_err(format!(
                                "repr {other:?} is not one of \"safe\" and \"full\""
                            )));
                        }
                    });
                }
                _ => {
                    return Err(PyTypeError::new_err(format!(
                        "a capture has no option {name:?}"
                    )));
                }
            }
        }
        Ok(read)
    }

    /// What they come to, or what is wrong with them.
    pub(crate) fn capture(&self) -> Result<Capture, String> {
        let default = Capture::default();
        let time_budget = match self.time_budget_s {
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("time_budget_s {seconds} is not a number of seconds"))?,
            None => default.time_budget,
        };
        Ok(Capture {
            stack_depth: self.stack_depth.unwrap_or(default.stack_depth),
            frames_with_locals: self
                .frames_with_locals
                .unwrap_or(default.frames_with_locals),
            locals_depth: self.locals_depth.unwrap_or(default.locals_depth),
            max_items: self.max_items.unwrap_or(default.max_items),
            max_string: self.max_string.unwrap_or(default.max_string),
            max_total_bytes: self.max_total_bytes.unwrap_or(default.max_total_bytes),
            max_count: self.max_count.unwrap_or(default.max_count),
            time_budget,
            expressions: self.expressions.clone(),
            redact: default.redact.and(self.redact.iter().map(String::as_str)),
            full_repr: self.repr == Some(Repr::Full),
        })
    }
}
