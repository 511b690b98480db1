//! `frameEval` and `frameEvalConfig` of a session: how breakpoints reach the code of this process.
//!
//! The options are the documented ones. What they change is changed back when the client goes. An
//! option that cannot be had is replaced and told, or refuses the session, as
//! `fallback_to_tracing` says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::Refusal;
use super::session::{self, Session, lock};
use crate::scoped::Backend;
use crate::telemetry::{self, ReasonCode};
use crate::{hit, loaded, memo, meter, store, time_limit};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    enabled: Option<bool>,
    backend: Option<String>,
    tracing_backend: Option<String>,
    fallback_to_tracing: Option<bool>,
    fallback_on_error: Option<bool>,
    debug: Option<bool>,
    timeout: Option<f64>,
    conditional_breakpoints_enabled: Option<bool>,
    cache_size: Option<usize>,
    max_cache_size: Option<usize>,
    cache_ttl: Option<f64>,
    cache_enabled: Option<bool>,
    optimize: Option<bool>,
    condition_budget_s: Option<f64>,
    selective_tracing: Option<bool>,
    bytecode_optimization: Option<bool>,
    performance_monitoring: Option<bool>,
    trace_overhead_threshold: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Asked {
    frame_eval: Option<bool>,
    use_frame_eval: Option<bool>,
    frame_eval_config: Option<Options>,
}

/// The budget of evaluations as it was, while it may be another one.
static BEFORE: Mutex<Option<f64>> = Mutex::new(None);
/// Whether breakpoints stop at every pass, whatever their conditions say.
static UNCONDITIONAL: AtomicBool = AtomicBool::new(false);
/// Whether the client is told every decision.
static DEBUG: AtomicBool = AtomicBool::new(false);
/// The share of the time that hits may take before the client is told, once.
static THRESHOLD: Mutex<Option<f64>> = Mutex::new(None);

/// The share that counts where none is asked for.
const USUAL_THRESHOLD: f64 = 0.1;

/// Whether conditions and hit conditions of breakpoints count.
pub(super) fn evaluates_conditions() -> bool {
    !UNCONDITIONAL.load(Ordering::Relaxed)
}

/// Has what is recorded told to a client that asked for it.
pub(super) fn prepare() {
    telemetry::observe(|reason, detail| {
        if let Some(session) = session::current() {
            explain(&session, &format!("{reason}: {detail}"));
        }
    });
}

/// Tells a decision to a client that asked for all of them.
fn explain(session: &Session, text: &str) {
    if DEBUG.load(Ordering::Relaxed) {
        let output = format!("dapper._frame_eval: {text}\n");
        session.event("output", json!({"category": "console", "output": output}));
    }
}

fn tell(session: &Session, text: &str) {
    let output = format!("dapper: {text}\n");
    session.event("output", json!({"category": "important", "output": output}));
}

/// Tells the client, once, that hits take a larger share of the time than it allows.
pub(super) fn check_overhead(session: &Session) {
    let mut threshold = lock(&THRESHOLD);
    let overhead = meter::overhead();
    let Some(most) = threshold.take_if(|most| overhead > *most) else {
        return;
    };
    drop(threshold);
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let (overhead, most) = (percent(overhead), percent(most));
    let said = format!("{overhead} of the time since setup, the threshold is {most}");
    tell(session, &format!("hits took {said}"));
    telemetry::record(ReasonCode::TraceOverheadExceeded, said);
}

fn backend_class(name: &str) -> &'static str {
    match name {
        "eval_frame" => "EvalFrameBackend",
        _ => "TracingBackend",
    }
}

/// Does what the arguments of `launch` or `attach` say.
pub(super) fn begin(py: Python<'_>, session: &Session, arguments: &Value) -> Result<(), Refusal> {
    let asked: Asked = serde_json::from_value(arguments.clone())
        .map_err(|error| Refusal::shown(format!("\"frameEvalConfig\" is wrong: {error}")))?;
    // An attempt may have been refused before.
    forget();
    let is_asked = asked.frame_eval_config.is_some();
    let mut options = asked.frame_eval_config.unwrap_or_default();
    options.enabled = options
        .enabled
        .or(asked.frame_eval)
        .or(asked.use_frame_eval);
    if !is_asked && options.enabled != Some(false) {
        return Ok(());
    }
    options.watch(session);
    let _quiet = hit::Quiet::enter();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    before.get_or_insert_with(time_limit::condition_budget);
    drop(before);
    let backend = options.backend(py, session)?;
    options.apply(py, backend).map_err(|error| {
        Refusal::shown(format!(
            "\"frameEvalConfig\" cannot be had: {}",
            error.value(py)
        ))
    })?;
    explain(
        session,
        &format!("set up {}", backend_class(backend.as_str())),
    );
    Ok(())
}

impl Options {
    /// Notes what concerns the server alone.
    fn watch(&self, session: &Session) {
        let is_plain = self.conditional_breakpoints_enabled == Some(false);
        UNCONDITIONAL.store(is_plain, Ordering::Relaxed);
        DEBUG.store(self.debug == Some(true), Ordering::Relaxed);
        let measures = self.performance_monitoring == Some(true);
        let threshold = self.trace_overhead_threshold.unwrap_or(USUAL_THRESHOLD);
        *lock(&THRESHOLD) = measures.then_some(threshold);
        if self.trace_overhead_threshold.is_some() && !measures {
            tell(
                session,
                "\"frameEvalConfig.trace_overhead_threshold\" counts while time is measured: set \
                 \"performance_monitoring\" as well",
            );
        }
        if self.timeout.is_some() {
            tell(
                session,
                "\"frameEvalConfig.timeout\" means nothing in a session: its changes are made one \
                 after the other, and wait for nobody",
            );
        }
    }

    fn backend(&self, py: Python<'_>, session: &Session) -> Result<Backend, Refusal> {
        let may_fall = self.fallback_to_tracing.or(self.fallback_on_error) != Some(false);
        let replaces = |reason: String| {
            if !may_fall {
                return Err(Refusal::shown(format!("\"frameEvalConfig\": {reason}")));
            }
            tell(session, &format!("\"frameEvalConfig\": {reason}"));
            telemetry::record(ReasonCode::FallbackToTracing, reason);
            Ok(())
        };
        let traces = self.enabled == Some(false)
            || self.bytecode_optimization == Some(false)
            || self.backend.as_deref() == Some("tracing");
        if !traces {
            let refusal = loaded::eval_frame_refusal(py);
            let is_wanted = self.backend.as_deref() == Some("eval_frame");
            let Some(reason) = refusal.filter(|_| is_wanted || !may_fall) else {
                return Ok(Backend::EvalFrame);
            };
            replaces(format!("the eval-frame backend cannot be used: {reason}"))?;
        }
        let can_monitor = Backend::SysMonitoring.is_available(py);
        match self.tracing_backend.as_deref() {
            Some("settrace") => Ok(Backend::Settrace),
            Some("sys_monitoring") if !can_monitor => {
                replaces("this interpreter has no sys.monitoring".to_owned())?;
                Ok(Backend::Settrace)
            }
            _ if can_monitor => Ok(Backend::SysMonitoring),
            _ => Ok(Backend::Settrace),
        }
    }

    fn apply(&self, py: Python<'_>, backend: Backend) -> PyResult<()> {
        if let Some(seconds) = self.condition_budget_s {
            time_limit::set_condition_budget(seconds)?;
        }
        let is_cached = self.cache_enabled != Some(false);
        let size = self.cache_size.or(self.max_cache_size);
        let size = size.unwrap_or(memo::DEFAULT_LIMIT);
        memo::set_memo(if is_cached { size } else { 0 }, self.cache_ttl)?;
        store::use_it(is_cached);
        meter::set_metering(self.performance_monitoring == Some(true));
        loaded::set_promotion(py, self.optimize != Some(false))?;
        loaded::set_scoped_tracing(py, self.selective_tracing != Some(false))?;
        loaded::set_backend(py, backend.as_str())
    }
}

/// Begins without a session, as in a child of a fork.
pub(super) fn forget() {
    UNCONDITIONAL.store(false, Ordering::Relaxed);
    DEBUG.store(false, Ordering::Relaxed);
    if let Ok(mut threshold) = THRESHOLD.try_lock() {
        *threshold = None;
    }
}

/// Has everything as it was before.
pub(super) fn end(py: Python<'_>, session: &Session) -> PyResult<()> {
    check_overhead(session);
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(budget) = before else { return Ok(()) };
    let own = backend_class(loaded::backend_name());
    explain(session, &format!("shutting down {own}"));
    forget();
    let usual = Options {
        condition_budget_s: Some(budget),
        ..Options::default()
    };
    usual.apply(py, Backend::EvalFrame)
}
