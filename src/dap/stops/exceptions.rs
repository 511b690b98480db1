//! `setExceptionBreakpoints`: which exceptions stop, and what stops there.
//!
//! The engine looks for the union of what the rules want; which rule means an exception is decided
//! when it is seen. A `SystemExit` that nobody catches stops only for the statuses that were asked
//! for: all but 0, unless the settings say otherwise.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::exception_rules::{Moment, PathSegment, Test, status};
use super::mine::{self, Mine};
use crate::dap::client::ExitStatuses;
use crate::dap::parked::{Why, park};
use crate::dap::protocol::{Answer, Request};
use crate::dap::session::Session;
use crate::dap::view::failed;
use crate::exceptions;
use crate::ffi::tracing;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetArguments {
    #[serde(default)]
    filters: Vec<String>,
    #[serde(default)]
    filter_options: Vec<FilterOptions>,
    #[serde(default)]
    exception_options: Vec<ExceptionOptions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterOptions {
    filter_id: String,
    condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExceptionOptions {
    #[serde(default)]
    path: Vec<PathSegment>,
    break_mode: BreakMode,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum BreakMode {
    Never,
    Always,
    Unhandled,
    UserUnhandled,
}

/// Exceptions that stop at a moment, or never.
struct Rule {
    moment: Option<Moment>,
    test: Test,
}

/// Called with an exception that may have to stop.
#[pyclass(frozen, module = "dapper._engine")]
struct Raised {
    rules: Vec<Rule>,
    exits: ExitStatuses,
}

#[pymethods]
impl Raised {
    fn __call__(
        &self,
        frame: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
        filter: &str,
    ) -> PyResult<()> {
        if frame.is_none() || !self.means(frame, exception, filter)? {
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

impl Raised {
    fn means(
        &self,
        frame: &Bound<'_, PyAny>,
        exception: &Bound<'_, PyAny>,
        filter: &str,
    ) -> PyResult<bool> {
        if filter == "uncaught" && exception.is_instance_of::<PySystemExit>() {
            let asked = status(exception)?.is_none_or(|status| self.exits.include(status));
            if !asked {
                return Ok(false);
            }
        }
        // What happens inside of a library is nobody's concern until it comes out.
        if filter == "raised" && !mine::is_mine(&tracing::code_of(frame))? {
            return Ok(false);
        }
        let mut meant = false;
        for rule in &self.rules {
            match rule.moment {
                Some(moment) if meant || moment.engine_name() != filter => {}
                Some(_) => meant = rule.test.means(frame, exception)?,
                None if rule.test.means(frame, exception)? => return Ok(false),
                None => {}
            }
        }
        Ok(meant)
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

fn of_filter(py: Python<'_>, name: &str, condition: Option<&str>) -> Result<Rule, String> {
    let moment = Moment::of_filter(name).ok_or_else(|| {
        format!("filter {name:?} is not one of \"raised\", \"uncaught\" and \"userUnhandled\"")
    })?;
    Ok(Rule {
        moment: Some(moment),
        test: Test::condition(py, condition.unwrap_or_default())?,
    })
}

impl From<ExceptionOptions> for Rule {
    fn from(options: ExceptionOptions) -> Self {
        let moment = match options.break_mode {
            BreakMode::Never => None,
            BreakMode::Always => Some(Moment::Raised),
            BreakMode::Unhandled => Some(Moment::Uncaught),
            BreakMode::UserUnhandled => Some(Moment::UserUnhandled),
        };
        Self {
            moment,
            test: Test::path(options.path),
        }
    }
}

/// `setExceptionBreakpoints`
pub(in crate::dap) fn set(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: SetArguments = request.arguments()?;
    let mut rules = Vec::new();
    let mut told = Vec::new();
    let mut take = |rule: Result<Rule, String>| {
        told.push(match rule {
            Ok(rule) => {
                rules.push(rule);
                json!({"verified": true})
            }
            Err(problem) => json!({"verified": false, "message": problem, "reason": "failed"}),
        });
    };
    for filter in &wanted.filters {
        take(of_filter(py, filter, None));
    }
    for options in &wanted.filter_options {
        let condition = options.condition.as_deref();
        take(of_filter(py, &options.filter_id, condition));
    }
    for options in wanted.exception_options {
        take(Ok(options.into()));
    }
    let settings = session.settings();
    choose(py, rules, settings.exit_statuses()).map_err(|error| failed(&error))?;
    Ok(json!({"breakpoints": told}))
}

fn choose(py: Python<'_>, rules: Vec<Rule>, exits: ExitStatuses) -> PyResult<()> {
    let mut filters: Vec<String> = Vec::new();
    for moment in rules.iter().filter_map(|rule| rule.moment) {
        let name = moment.engine_name();
        if !filters.iter().any(|known| known == name) {
            filters.push(name.to_owned());
        }
    }
    let seen = exceptions::Exits {
        where_free: !exits.is_none(),
        everywhere: exits.was_asked_for(),
    };
    let raised = Py::new(py, Raised { rules, exits })?.into_any();
    let mine = Py::new(py, Mine)?.into_any();
    exceptions::choose_filters(py, &filters, Some(raised), Some(mine), seen)
}

/// Stops at no exception any more.
pub(in crate::dap) fn clear(py: Python<'_>) -> PyResult<()> {
    exceptions::set_exception_breakpoints(py, Vec::new(), None, None)
}

/// What this part can do.
pub(super) fn capabilities() -> Value {
    let filters = [
        (
            "raised",
            "Raised Exceptions",
            false,
            "Break whenever any exception is raised.",
        ),
        (
            "uncaught",
            "Uncaught Exceptions",
            true,
            "Break when the process is exiting due to unhandled exception.",
        ),
        (
            "userUnhandled",
            "User Uncaught Exceptions",
            false,
            "Break when exception escapes into library code.",
        ),
    ];
    let filters: Vec<Value> = filters
        .iter()
        .map(|(filter, label, default, description)| {
            json!({
                "filter": filter,
                "label": label,
                "default": default,
                "description": description,
                "supportsCondition": true,
                "conditionDescription": "classes (ValueError, app.errors.Gone), or an expression \
                                         over e, the exception",
            })
        })
        .collect();
    json!({
        "supportsExceptionOptions": true,
        "supportsExceptionFilterOptions": true,
        "exceptionBreakpointFilters": filters,
    })
}
