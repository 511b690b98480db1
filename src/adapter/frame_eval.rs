//! `frameEval` and `frameEvalConfig`: the documented options of frame evaluation, checked.
//!
//! The server in the process does what they say; here only names and kinds are looked at, so that
//! a mistake is told where the configuration was written.

use serde_json::Value;

use super::given::{Given, named, wrong};
use crate::dap::protocol::Refusal;

const BACKENDS: [&str; 3] = ["auto", "tracing", "eval_frame"];
const TRACING: [&str; 3] = ["auto", "settrace", "sys_monitoring"];

enum Kind {
    Flag,
    Number,
    OneOf(&'static [&'static str]),
}

const OPTIONS: [(&str, Kind); 18] = [
    ("enabled", Kind::Flag),
    ("backend", Kind::OneOf(&BACKENDS)),
    ("tracing_backend", Kind::OneOf(&TRACING)),
    ("fallback_to_tracing", Kind::Flag),
    ("fallback_on_error", Kind::Flag),
    ("debug", Kind::Flag),
    ("cache_size", Kind::Number),
    ("max_cache_size", Kind::Number),
    ("cache_ttl", Kind::Number),
    ("cache_enabled", Kind::Flag),
    ("optimize", Kind::Flag),
    ("timeout", Kind::Number),
    ("conditional_breakpoints_enabled", Kind::Flag),
    ("condition_budget_s", Kind::Number),
    ("selective_tracing", Kind::Flag),
    ("bytecode_optimization", Kind::Flag),
    ("performance_monitoring", Kind::Flag),
    ("trace_overhead_threshold", Kind::Number),
];

/// Checks the options; how long one evaluation of a condition may take, if it was said.
pub(super) fn check(given: &Given) -> Result<Option<f64>, Refusal> {
    let Some(options) = given.object("frameEvalConfig")? else {
        return Ok(None);
    };
    for (name, value) in options {
        let Some((_, kind)) = OPTIONS.iter().find(|(known, _)| known == name) else {
            let names: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
            return Err(Refusal::shown(format!(
                "\"frameEvalConfig\" has an unknown option: {}",
                named(name, &names)
            )));
        };
        let key = format!("frameEvalConfig.{name}");
        let is_none = value.is_null();
        match kind {
            Kind::Flag if value.is_boolean() => {}
            Kind::Number if is_none || value.as_f64().is_some_and(|number| number >= 0.0) => {}
            Kind::OneOf(names) if value.as_str().is_some_and(|name| names.contains(&name)) => {}
            Kind::Flag => return Err(wrong(&key, "true or false", value)),
            Kind::Number => return Err(wrong(&key, "a number, at least 0", value)),
            Kind::OneOf(names) => {
                return Err(wrong(&key, &format!("one of {}", names.join(", ")), value));
            }
        }
    }
    let budget = options.get("condition_budget_s").and_then(Value::as_f64);
    Ok(budget.filter(|seconds| *seconds > 0.0))
}
