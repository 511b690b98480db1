//! `setExceptionBreakpoints`: which exceptions stop, and what stops there.

use pyo3::prelude::*;
use pyo3::types::PyType;
use serde::Deserialize;
use serde_json::json;

use crate::dap::parked::{Why, park};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::session::Session;
use crate::dap::view::failed;
use crate::exceptions;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetArguments {
    #[serde(default)]
    filters: Vec<String>,
}

/// Called with an exception that is to stop.
#[pyclass(frozen, module = "dapper._engine")]
struct Raised;

#[pymethods]
impl Raised {
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __call__(
        &self,
        frame: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
        filter: &str,
    ) -> PyResult<()> {
        if frame.is_none() {
            return Ok(());
        }
        let mode = match filter {
            "raised" => "always",
            "user_unhandled" => "userUnhandled",
            _ => "unhandled",
        };
        let description = name_of(&exception.get_type());
        let text = exception.str().map(|text| text.to_string());
        park(
            frame,
            Why {
                reason: "exception",
                description: Some(description),
                text: text.ok(),
                exception: Some((exception.clone(), mode)),
                ..Why::default()
            },
        )
    }
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(in crate::dap) fn prepare(py: Python<'_>) {
    py.get_type::<Raised>();
}

/// The name of a class with its module, but for builtin ones.
pub(in crate::dap) fn name_of(class: &Bound<'_, PyType>) -> String {
    let qualname = class.qualname().map(|name| name.to_string());
    let qualname = qualname.unwrap_or_else(|_| "?".to_owned());
    match class.module().map(|module| module.to_string()) {
        Ok(module) if module != "builtins" => format!("{module}.{qualname}"),
        _ => qualname,
    }
}

/// `setExceptionBreakpoints`
pub(in crate::dap) fn set(py: Python<'_>, _session: &Session, request: &Request) -> Answer {
    let wanted: SetArguments = request.arguments()?;
    let mut filters = Vec::new();
    for filter in &wanted.filters {
        filters.push(match filter.as_str() {
            "raised" => "raised",
            "uncaught" => "uncaught",
            "userUnhandled" => "user_unhandled",
            _ => {
                return Err(Refusal::new(format!(
                    "filter {filter:?} is not one of \"raised\", \"uncaught\" and \"userUnhandled\""
                )));
            }
        });
    }
    choose(py, &filters).map_err(|error| failed(&error))?;
    let told: Vec<_> = filters.iter().map(|_| json!({"verified": true})).collect();
    Ok(json!({"breakpoints": told}))
}

fn choose(py: Python<'_>, filters: &[&str]) -> PyResult<()> {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let raised = Py::new(py, Raised)?.into_any();
    exceptions::set_exception_breakpoints(py, filters, Some(raised), None)
}

/// Stops at no exception any more.
pub(in crate::dap) fn clear(py: Python<'_>) -> PyResult<()> {
    exceptions::set_exception_breakpoints(py, Vec::new(), None, None)
}
