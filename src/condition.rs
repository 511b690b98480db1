//! Conditions, messages and captures of breakpoints, evaluated in the frame that was hit.
//!
//! Owns what surrounds an evaluation: nothing hits meanwhile, no tracer sees it, it ends within
//! its budget, and what it raises is not the program's, unless it leaves the program
//! (`KeyboardInterrupt`, `SystemExit`). What is no expression is refused when it is asked for.

use std::sync::Arc;

use instrument::expr::Piece;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::breakpoint::{Breakpoint, Request};
use crate::compile;
use crate::evaluator::Evaluator;
use crate::ffi::evaluate::Unseen;
use crate::hit::{self, Quiet};
use crate::snapshot;
use crate::telemetry::{self, ReasonCode};
use crate::time_limit::{self, Limited, TimeLimitExceeded};

/// The expressions of one breakpoint, for the code object that holds a probe of it.
#[derive(Debug)]
pub(crate) struct Evaluators {
    condition: Option<Evaluator>,
    fields: Vec<Evaluator>,
    captured: Vec<Evaluator>,
}

impl Evaluators {
    /// Those of a request; nothing is compiled before the first hit.
    pub(crate) fn of(request: &Request) -> Self {
        let place = request.to_string();
        let condition = request.condition.as_deref();
        let subject = format!("condition of {place}");
        Self {
            condition: condition.map(|text| Evaluator::new(text, &subject)),
            fields: request
                .fields()
                .map(|field| Evaluator::new(&field.source, &format!("log message of {place}")))
                .collect(),
            captured: request
                .captured()
                .map(|text| Evaluator::new(text, &format!("capture of {place}")))
                .collect(),
        }
    }

    /// Compiles what was not compiled yet, which is no part of a pass.
    pub(crate) fn prepare(&self, frame: &Bound<'_, PyAny>) {
        let parts = [&self.fields, &self.captured];
        for evaluator in self.condition.iter().chain(parts.into_iter().flatten()) {
            // What fails now fails again when it is evaluated, and is told then.
            let _ = evaluator.prepare(frame);
        }
    }
}

/// What came of a condition.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was true, or there is none.
    Held,
    /// It was false.
    Failed,
    /// It raised.
    Raised(PyErr),
}

/// Refuses a request whose expressions are none, with a `ValueError`.
pub(crate) fn check(py: Python<'_>, request: &Request) -> PyResult<()> {
    if let Some(condition) = &request.condition {
        compile::expression(py, condition, "condition")
            .map_err(|error| PyValueError::new_err(format!("condition {}", said(py, &error))))?;
    }
    for field in request.fields() {
        let whole = compile::expression(py, &field.source, "log message");
        if let Err(error) = whole {
            // The positions in the expression alone are those that the user knows.
            let alone = compile::expression(py, field.expression.text(), "log message");
            let said = said(py, &alone.err().unwrap_or(error));
            return Err(PyValueError::new_err(format!(
                "log message field {:?}: {said}",
                field.text
            )));
        }
    }
    for text in request.captured() {
        compile::expression(py, text, "capture expression").map_err(|error| {
            PyValueError::new_err(format!("capture expression {}", said(py, &error)))
        })?;
    }
    Ok(())
}

fn said(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).to_string()
}

/// Whether the condition holds in `frame`, counted.
pub(crate) fn evaluate(
    frame: &Bound<'_, PyAny>,
    breakpoint: &Breakpoint,
    evaluators: &Evaluators,
) -> PyResult<Outcome> {
    let Some(condition) = &evaluators.condition else {
        return Ok(Outcome::Held);
    };
    let value = undisturbed(frame.py(), || condition.value(frame)?.is_truthy())?;
    Ok(match value {
        Ok(held) => {
            breakpoint.figures.count_evaluation(held);
            if held { Outcome::Held } else { Outcome::Failed }
        }
        Err(error) => {
            breakpoint.figures.count_started();
            count_error(frame.py(), breakpoint, &error);
            Outcome::Raised(error)
        }
    })
}

/// Whether the condition would hold in `frame`, or raise, when it is evaluated next; not counted.
pub(crate) fn holds(frame: &Bound<'_, PyAny>, evaluators: &Evaluators) -> PyResult<bool> {
    let Some(condition) = &evaluators.condition else {
        return Ok(true);
    };
    let value = undisturbed(frame.py(), || condition.value(frame)?.is_truthy())?;
    Ok(value.unwrap_or(true))
}

/// Counts what a condition raised; for a breakpoint that does not stop it is told, once.
pub(crate) fn count_error(py: Python<'_>, breakpoint: &Breakpoint, error: &PyErr) {
    let request = &breakpoint.request;
    let text = describe(py, error);
    breakpoint.figures.count_error(&text);
    let condition = request.condition.as_deref().unwrap_or_default();
    let subject = format!("condition {condition:?} of {request}");
    let code = if error.is_instance_of::<PyTimeoutError>(py) {
        ReasonCode::ConditionBudgetExceeded
    } else {
        ReasonCode::ConditionFailed
    };
    telemetry::record(code, format!("{subject}: {text}"));
    if request.kind != crate::breakpoint::Kind::Stop {
        hit::tell_first_of(&subject, &format!("{subject} failed: {text}"));
    }
}

/// The text of a log breakpoint in `frame`.
pub(crate) fn message(
    frame: &Bound<'_, PyAny>,
    breakpoint: &Breakpoint,
    evaluators: &Evaluators,
) -> PyResult<Arc<str>> {
    let Some(message) = &breakpoint.request.message else {
        return Ok(Arc::from(""));
    };
    let mut fields = evaluators.fields.iter();
    let mut text = String::new();
    for piece in message.template.pieces() {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Field(_) => {
                if let Some(field) = fields.next() {
                    text.push_str(&field_text(frame, field)?);
                }
            }
        }
    }
    Ok(text.into())
}

fn field_text(frame: &Bound<'_, PyAny>, field: &Evaluator) -> PyResult<String> {
    let py = frame.py();
    let value = undisturbed(py, || {
        let value = field.value(frame)?;
        Ok(value.cast::<PyString>()?.to_string_lossy().into_owned())
    })?;
    Ok(value.unwrap_or_else(|error| failed_field(py, &error)))
}

/// What a snapshot of `frame` records of the capture's expression with that number.
pub(crate) fn captured_part<'py>(
    frame: &Bound<'py, PyAny>,
    evaluators: &Evaluators,
    index: usize,
) -> snapshot::Value<'py> {
    captured(frame, &evaluators.captured[index])
}

/// The value of an expression in `frame`, or what it raised.
pub(crate) fn captured<'py>(
    frame: &Bound<'py, PyAny>,
    expression: &Evaluator,
) -> snapshot::Value<'py> {
    let value = undisturbed(frame.py(), || expression.value(frame))?;
    Ok(value.map_err(|error| describe(frame.py(), &error)))
}

/// What stands in a message for an expression that raised.
pub(crate) fn failed_field(py: Python<'_>, error: &PyErr) -> String {
    format!("<error: {}>", describe(py, error))
}

/// Runs something of the user's in the middle of the program.
///
/// The outer error is the program's, the inner one is that of what ran.
pub(crate) fn undisturbed<T>(
    py: Python<'_>,
    run: impl FnOnce() -> PyResult<T>,
) -> PyResult<Result<T, PyErr>> {
    let result = {
        let _quiet = Quiet::enter();
        let _unseen = Unseen::enter(py);
        let limited = Limited::begin(py)?;
        let result = run();
        limited.finish()?;
        result
    };
    match result {
        Err(error) if leaves_program(py, &error) => Err(error),
        Err(error) if error.is_instance_of::<TimeLimitExceeded>(py) => {
            let seconds = time_limit::budget().as_secs_f64();
            Ok(Err(PyTimeoutError::new_err(format!(
                "evaluation took longer than {seconds} s (condition_budget_s)"
            ))))
        }
        result => Ok(result),
    }
}

/// Whether an exception is meant for the program, wherever it was raised.
pub(crate) fn leaves_program(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

/// The name and the text of an exception.
pub(crate) fn describe(py: Python<'_>, error: &PyErr) -> String {
    let _quiet = Quiet::enter();
    let _unseen = Unseen::enter(py);
    let name = error.get_type(py).qualname();
    let name = name.map_or_else(|_| "exception".to_owned(), |name| name.to_string());
    match error.value(py).str() {
        Ok(text) if text.is_empty().unwrap_or(true) => name,
        Ok(text) => format!("{name}: {}", text.to_string_lossy()),
        Err(_) => name,
    }
}
