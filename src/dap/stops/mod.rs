//! Where threads of the program stop, in terms of the engine: breakpoints, exceptions, steps.

mod breakpoints;
mod exceptions;
mod log_output;
mod places;
mod status;
mod stepping;

use pyo3::prelude::*;
use serde_json::{Value, json};

use super::dispatch::Route;

pub(super) use breakpoints::{Points, changed};
pub(super) use stepping::{begin, paused};

/// The requests of this part.
pub(super) fn route(command: &str) -> Option<Route> {
    Some(match command {
        "setBreakpoints" => Route::Attached(breakpoints::set),
        "breakpointLocations" => Route::Attached(places::locations),
        "dapper/breakpointStats" => Route::Attached(status::breakpoints),
        "dapper/engineStatus" => Route::Attached(status::engine),
        "setFunctionBreakpoints" => Route::Attached(breakpoints::set_functions),
        "setExceptionBreakpoints" => Route::Attached(exceptions::set),
        _ => return None,
    })
}

/// What this part can do, for the answer to `initialize`.
pub(super) fn capabilities() -> Value {
    json!({
        "supportsConditionalBreakpoints": true,
        "supportsHitConditionalBreakpoints": true,
        "supportsFunctionBreakpoints": true,
        "supportsLogPoints": true,
        "supportsBreakpointLocationsRequest": true,
        "exceptionBreakpointFilters": [
            {"filter": "raised", "label": "Raised Exceptions", "default": false},
            {"filter": "uncaught", "label": "Uncaught Exceptions", "default": true},
            {"filter": "userUnhandled", "label": "User Uncaught Exceptions", "default": false},
        ],
    })
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(super) fn prepare(py: Python<'_>) {
    breakpoints::prepare(py);
    exceptions::prepare(py);
    stepping::prepare(py);
}
