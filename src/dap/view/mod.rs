//! What a stop shows: threads, frames, variables and values.
//!
//! `stack` and `scopes` list what there is, `variables` tells what is in a value (`contents`), as
//! `text`. `evaluate` and `assign` run what the user writes (`program`, `run`) in the thread that
//! stopped, guarded (`guard`). `names` reads and sets the variables of a frame.

mod assign;
mod completions;
mod contents;
mod evaluate;
mod exception;
mod frame_name;
mod guard;
mod modules;
mod names;
mod program;
mod row;
mod run;
mod scopes;
mod sources;
mod stack;
mod text;
mod variables;

use serde_json::{Value, json};

use super::dispatch::Route;

pub(super) use program::Programs;
pub(super) use run::interrupt;
pub(super) use sources::Sources;
pub(super) use stack::{failed, source_of};

/// The requests of this part.
pub(super) fn route(command: &str) -> Option<Route> {
    Some(match command {
        "threads" => Route::Attached(stack::threads),
        "stackTrace" => Route::InThread(stack::stack_trace),
        "scopes" => Route::InThread(scopes::scopes),
        "variables" => Route::InThread(variables::variables),
        "evaluate" => Route::Reader(evaluate::evaluate),
        "setVariable" => Route::InThread(assign::set_variable),
        "setExpression" => Route::InThread(assign::set_expression),
        "completions" => Route::Reader(completions::completions),
        "exceptionInfo" => Route::InThread(exception::exception_info),
        "modules" => Route::Attached(modules::modules),
        "loadedSources" => Route::Attached(sources::loaded_sources),
        "source" => Route::Attached(sources::source),
        _ => return None,
    })
}

/// What this part can do, for the answer to `initialize`.
pub(super) fn capabilities() -> Value {
    json!({
        "supportsDelayedStackTraceLoading": true,
        "supportsEvaluateForHovers": true,
        "supportsClipboardContext": true,
        "supportsValueFormattingOptions": true,
        "supportsSetVariable": true,
        "supportsSetExpression": true,
        "supportsCompletionsRequest": true,
        "completionTriggerCharacters": [".", "[", "'", "\""],
        "supportsExceptionInfoRequest": true,
        "supportsModulesRequest": true,
        "supportsLoadedSourcesRequest": true,
    })
}
