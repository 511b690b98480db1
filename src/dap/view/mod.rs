//! What a stop shows: threads, frames, variables and values.

mod stack;

use serde_json::{Value, json};

use super::dispatch::Route;

pub(super) use stack::{failed, source_of};

/// The requests of this part.
pub(super) fn route(command: &str) -> Option<Route> {
    Some(match command {
        "threads" => Route::Attached(stack::threads),
        "stackTrace" => Route::InThread(stack::stack_trace),
        "scopes" => Route::InThread(stack::scopes),
        _ => return None,
    })
}

/// What this part can do, for the answer to `initialize`.
pub(super) fn capabilities() -> Value {
    json!({
        "supportsDelayedStackTraceLoading": true,
    })
}
