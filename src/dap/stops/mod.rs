//! Where threads of the program stop, in terms of the engine: breakpoints, exceptions, steps.

mod breakpoints;
pub(super) mod census;
mod data;
mod disassembly;
mod exception_rules;
mod exceptions;
mod jumps;
mod log_output;
mod mine;
mod places;
mod restart;
mod status;
mod step_targets;
mod stepping;
pub(super) mod tasks;

use pyo3::prelude::*;
use serde_json::{Value, json};

use super::dispatch::Route;

pub(super) use breakpoints::{Points, changed};
pub(super) use data::changed as data_changed;
pub(super) use disassembly::{pointer, reached as instruction_reached};
pub(super) use mine::{hides, note_own, verdict};
pub(super) use restart::can_restart;
pub(super) use stepping::{begin, paused, stride};

/// The requests of this part.
pub(super) fn route(command: &str) -> Option<Route> {
    Some(match command {
        "setBreakpoints" => Route::Attached(breakpoints::set),
        "breakpointLocations" => Route::Attached(places::locations),
        "stepInTargets" => Route::InThread(step_targets::list),
        "disassemble" => Route::Attached(disassembly::disassemble),
        "setInstructionBreakpoints" => Route::Attached(disassembly::set),
        "dataBreakpointInfo" => Route::InThread(data::info),
        "setDataBreakpoints" => Route::Attached(data::set),
        "gotoTargets" => Route::Attached(jumps::targets),
        "goto" => Route::Reader(jumps::goto),
        "restartFrame" => Route::Reader(restart::restart),
        "dapper/breakpointStats" => Route::Attached(status::breakpoints),
        "dapper/explainFrame" => Route::InThread(mine::explain),
        "dapper/engineStatus" => Route::Attached(status::engine),
        "setFunctionBreakpoints" => Route::Attached(breakpoints::set_functions),
        "setExceptionBreakpoints" => Route::Attached(exceptions::set),
        _ => return None,
    })
}

/// What this part can do, for the answer to `initialize`.
pub(super) fn capabilities() -> Value {
    let mut all = exceptions::capabilities();
    let more = json!({
        "supportsConditionalBreakpoints": true,
        "supportsHitConditionalBreakpoints": true,
        "supportsFunctionBreakpoints": true,
        "supportsLogPoints": true,
        "supportsBreakpointLocationsRequest": true,
        "supportsGotoTargetsRequest": true,
        "supportsRestartFrame": true,
        "supportsCancelRequest": true,
        "supportsDisassembleRequest": true,
        "supportsInstructionBreakpoints": true,
        "supportsDataBreakpoints": true,
        "supportsSteppingGranularity": true,
        "supportsStepInTargetsRequest": true,
    });
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(super) fn prepare(py: Python<'_>) {
    breakpoints::prepare(py);
    exceptions::prepare(py);
    py.get_type::<mine::Mine>();
    py.get_type::<jumps::Landing>();
    stepping::prepare(py);
}

/// Begins from nothing: with a session, and in a forked child.
pub(super) fn forget() {
    census::forget();
    log_output::forget();
}
