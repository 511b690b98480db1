//! A breakpoint as Python sees it.
//!
//! Every property is read when it is asked for.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::breakpoint::{Breakpoint, Tier};

/// A breakpoint as Python sees it; every property is read when it is asked for.
#[pyclass(frozen, name = "Breakpoint", module = "dapper")]
pub(crate) struct Handle(pub(crate) Arc<Breakpoint>);

#[pymethods]
impl Handle {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    #[getter]
    fn file(&self) -> String {
        self.0.file().to_string()
    }

    #[getter]
    fn requested_line(&self) -> u32 {
        self.0.request.line
    }

    #[getter]
    fn requested_column(&self) -> Option<u32> {
        self.0.request.column
    }

    #[getter]
    fn function(&self) -> Option<String> {
        self.0.request.function.as_ref().map(ToString::to_string)
    }

    #[getter]
    fn line(&self) -> Option<u32> {
        self.0.whereabouts().line()
    }

    #[getter]
    fn lines(&self) -> Vec<u32> {
        self.0.whereabouts().lines
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.request.kind.as_str()
    }

    #[getter]
    fn condition(&self) -> Option<&str> {
        self.0.request.condition.as_deref()
    }

    #[getter]
    fn hit_condition(&self) -> Option<String> {
        self.0.request.hit_rule.as_ref().map(ToString::to_string)
    }

    #[getter]
    fn log_message(&self) -> Option<&str> {
        let message = self.0.request.message.as_ref()?;
        Some(&message.text)
    }

    /// The options of its capture, every one of them, if it captures.
    #[getter]
    fn capture<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let capture = self.0.request.capture.as_ref();
        let options = capture.map(|capture| capture.options().to_python(py));
        options.transpose()
    }

    #[getter]
    fn snapshots(&self) -> Option<u64> {
        self.0.snapshots()
    }

    #[getter]
    fn verified(&self) -> bool {
        self.0.is_armed() && self.0.whereabouts().tier.is_some()
    }

    #[getter]
    fn tier(&self) -> Option<&'static str> {
        self.0.whereabouts().tier.map(Tier::as_str)
    }

    #[getter]
    fn reason(&self) -> Option<String> {
        if self.0.is_armed() {
            self.0.whereabouts().reason
        } else {
            Some(self.0.exhausted().unwrap_or("removed").to_owned())
        }
    }

    #[getter]
    fn hits(&self) -> u64 {
        self.0.hits()
    }

    #[getter]
    fn fired(&self) -> u64 {
        self.0.fired()
    }

    #[getter]
    fn evaluations(&self) -> Option<u64> {
        self.0.figures.evaluations()
    }

    #[getter]
    fn true_share(&self) -> Option<f64> {
        self.0.figures.true_share()
    }

    #[getter]
    fn errors(&self) -> u64 {
        self.0.figures.errors()
    }

    #[getter]
    fn last_error(&self) -> Option<String> {
        self.0.figures.last_error()
    }

    #[getter]
    fn nanoseconds(&self) -> u64 {
        self.0.figures.nanoseconds()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0.id == self.0.id)
    }

    fn __hash__(&self) -> u64 {
        self.0.id
    }

    fn __repr__(&self) -> String {
        let request = &self.0.request;
        let whereabouts = self.0.whereabouts();
        let state = match (whereabouts.line(), whereabouts.tier, whereabouts.reason) {
            _ if !self.0.is_armed() => self.0.exhausted().unwrap_or("removed").to_owned(),
            (Some(_), Some(tier), _) => {
                let lines = whereabouts.lines.iter().map(u32::to_string);
                let lines = lines.collect::<Vec<_>>().join(", ");
                format!("line {lines}, tier {}", tier.as_str())
            }
            (_, _, reason) => reason.unwrap_or_default(),
        };
        format!(
            "<Breakpoint {} {request} {}: {state}>",
            self.0.id,
            request.kind.as_str()
        )
    }
}
