//! What the engine can tell of itself: `dapper/breakpointStats` and `dapper/engineStatus`.
//!
//! Both are answered while the program runs, and neither touches it. The names of the figures are
//! those of the Python interface.

use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::breakpoint::{Breakpoint, Tier};
use crate::dap::frame_eval;
use crate::dap::parked::without_nulls;
use crate::dap::protocol::{Answer, Request};
use crate::dap::session::{Session, lock};
use crate::dap::view::source_of;
use crate::ffi::hook;
use crate::scoped::{tool, tracer};
use crate::{counters, exceptions, interpreter, loaded, pause, step, store, telemetry};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatsArguments {
    /// Which ones; all of the client's, if none is named.
    breakpoint_ids: Vec<u64>,
}

/// `dapper/breakpointStats`
pub(in crate::dap) fn breakpoints(_py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: StatsArguments = request.arguments()?;
    let known: Vec<Arc<Breakpoint>> = lock(&session.points).all().cloned().collect();
    let meant = |breakpoint: &&Arc<Breakpoint>| {
        wanted.breakpoint_ids.is_empty() || wanted.breakpoint_ids.contains(&breakpoint.id)
    };
    let mut told: Vec<&Arc<Breakpoint>> = known.iter().filter(meant).collect();
    told.sort_unstable_by_key(|breakpoint| breakpoint.id);
    let told: Vec<Value> = told
        .into_iter()
        .map(|breakpoint| figures(session, breakpoint))
        .collect();
    Ok(json!({"breakpoints": told}))
}

fn figures(session: &Session, breakpoint: &Breakpoint) -> Value {
    let whereabouts = breakpoint.whereabouts();
    let file = breakpoint.file();
    let exhausted = breakpoint.exhausted().map(str::to_owned);
    let mut lines = whereabouts.lines.iter();
    without_nulls(json!({
        "id": breakpoint.id,
        "source": (!file.is_empty()).then(|| source_of(session, &file)),
        "line": lines.next().map(|line| session.client().line(*line)),
        "verified": breakpoint.is_armed() && whereabouts.tier.is_some(),
        "tier": whereabouts.tier.map(Tier::as_str),
        "reason": exhausted.or(whereabouts.reason),
        "hits": breakpoint.hits(),
        "fired": breakpoint.fired(),
        "evaluations": breakpoint.figures.evaluations(),
        "errors": breakpoint.figures.errors(),
        "lastError": breakpoint.figures.last_error(),
        "nanoseconds": breakpoint.figures.nanoseconds(),
    }))
}

/// `dapper/engineStatus`
#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature of all that answer requests"
)]
pub(in crate::dap) fn engine(py: Python<'_>, session: &Session, _request: &Request) -> Answer {
    frame_eval::check_overhead(session);
    let counted = |figures: &mut dyn Iterator<Item = (&'static str, u64)>| -> Map<String, Value> {
        figures
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect()
    };
    let log: Vec<Value> = telemetry::reason_log()
        .into_iter()
        .map(|(time, reason, detail)| json!({"time": time, "reason": reason, "detail": detail}))
        .collect();
    let mut hooks = Vec::new();
    if hook::is_installed(py) {
        hooks.push("eval_frame");
    }
    if tool::is_in_use(py) {
        hooks.push("sys_monitoring");
    }
    if tracer::is_wanted() {
        hooks.push("settrace");
    }
    let mut activities = Vec::new();
    if step::is_active() {
        activities.push("step");
    }
    if pause::is_active() {
        activities.push("pause");
    }
    if exceptions::is_active() {
        activities.push("exceptions");
    }
    Ok(without_nulls(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "unsupported": interpreter::current(py).err(),
        "backend": loaded::backend_name(),
        "promotion": loaded::promotion(),
        "evalFrameRefusal": loaded::eval_frame_refusal(py),
        "hooks": hooks,
        "activities": activities,
        "store": store::root(py),
        "breakpoints": lock(&session.points).all().count(),
        "counters": counted(&mut counters::now()),
        "reasons": counted(&mut telemetry::counts()),
        "log": log,
    })))
}
