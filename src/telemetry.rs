//! Why things went another way than asked for: how often each reason occurred, and the last ones.
//!
//! Owns the one list of reason codes, the count of each since the last reset, and a bounded log.
//! What is recorded from Python (selection of a backend, conditions, integrations) and what is
//! recorded here (rewriting, callbacks, the store) are one record.
//! Nothing is recorded on the path of a hit that goes well. The lock is never held while Python
//! code runs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How many events the log holds; older ones are dropped, their counts are kept.
const LOG_LENGTH: usize = 128;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What kind of thing happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ReasonCode {
            $($(#[$doc])* $variant,)*
        }

        impl ReasonCode {
            /// All of them, in the order of their discriminants.
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that Python knows it by.
            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reason_codes! {
    /// A code object that was to hold a probe could not be rewritten, and runs as it was.
    BytecodeInjectionFailed = "bytecode_injection_failed",
    /// A breakpoint callback raised.
    CallbackFailed = "callback_failed",
    /// The store on disk could not be opened or written.
    StoreUnavailable = "store_unavailable",
    /// The interpreter cannot hold the eval-frame backend.
    EvalFrameUnavailable = "eval_frame_unavailable",
    /// Another debugger was tracing when a backend was chosen.
    DebuggerConflict = "debugger_conflict",
    /// Another debugger began to trace while a backend was installed.
    DebuggerTookOver = "debugger_took_over",
    /// An option or the environment turned the eval-frame backend off.
    PolicyDisabled = "policy_disabled",
    /// A tracing backend was taken in place of the eval-frame backend.
    FallbackToTracing = "fallback_to_tracing",
    /// The chosen backend could not be installed.
    BackendInstallFailed = "backend_install_failed",
    /// A condition raised, and its breakpoint stopped.
    ConditionFailed = "condition_failed",
    /// A condition took longer than its budget.
    ConditionBudgetExceeded = "condition_budget_exceeded",
    /// A breakpoint took more than its share of a processor, and was disarmed.
    CpuBudgetExceeded = "cpu_budget_exceeded",
    /// A debugger could not be integrated, or failed in its integration.
    IntegrationFailed = "integration_failed",
    /// The engine's own work took a larger share of the time than the threshold.
    TraceOverheadExceeded = "trace_overhead_exceeded",
}

struct Event {
    time: f64,
    code: ReasonCode,
    detail: String,
}

struct Record {
    counts: [u64; ReasonCode::ALL.len()],
    log: VecDeque<Event>,
}

static RECORD: Mutex<Record> = Mutex::new(Record {
    counts: [0; ReasonCode::ALL.len()],
    log: VecDeque::new(),
});

static OBSERVER: OnceLock<fn(&str, &str)> = OnceLock::new();

/// Has `observer` called with the name and the detail of all that is recorded; the first one given
/// stays.
pub(crate) fn observe(observer: fn(&str, &str)) {
    let _ = OBSERVER.set(observer);
}

fn lock() -> MutexGuard<'static, Record> {
    RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one occurrence, and keeps what is said about it.
pub(crate) fn record(code: ReasonCode, detail: impl Into<String>) {
    let detail = detail.into();
    if let Some(observer) = OBSERVER.get() {
        observer(code.name(), &detail);
    }
    // A clock before 1970 is not worth an error.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let mut record = lock();
    record.counts[code as usize] += 1;
    if record.log.len() == LOG_LENGTH {
        record.log.pop_front();
    }
    record.log.push_back(Event { time, code, detail });
}

/// Counts one occurrence of the reason of that name.
#[pyfunction]
fn record_reason(code: &str, detail: String) -> PyResult<()> {
    let found = ReasonCode::ALL
        .iter()
        .find(|candidate| candidate.name() == code);
    let Some(found) = found else {
        let names: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.name()).collect();
        return Err(PyValueError::new_err(format!(
            "reason code {code:?} is not one of {}",
            names.join(", ")
        )));
    };
    record(*found, detail);
    Ok(())
}

/// How often each reason occurred since the last reset.
pub(crate) fn counts() -> impl Iterator<Item = (&'static str, u64)> {
    let counts = lock().counts;
    let count = move |code: &ReasonCode| (code.name(), counts[*code as usize]);
    ReasonCode::ALL.iter().map(count)
}

/// How often each reason occurred since the last reset, by its name.
#[pyfunction]
fn reason_counts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = lock().counts;
    let dict = PyDict::new(py);
    for code in ReasonCode::ALL {
        dict.set_item(code.name(), counts[*code as usize])?;
    }
    Ok(dict)
}

/// The last occurrences, oldest first: time since the epoch, name of the reason, what was said.
#[pyfunction]
pub(crate) fn reason_log() -> Vec<(f64, &'static str, String)> {
    lock()
        .log
        .iter()
        .map(|event| (event.time, event.code.name(), event.detail.clone()))
        .collect()
}

/// Counts from nothing again, and empties the log.
#[pyfunction]
fn reset_reasons() {
    let mut record = lock();
    record.counts = [0; ReasonCode::ALL.len()];
    record.log.clear();
}

/// Adds the functions of this file to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(record_reason, module)?)?;
    module.add_function(wrap_pyfunction!(reason_counts, module)?)?;
    module.add_function(wrap_pyfunction!(reason_log, module)?)?;
    module.add_function(wrap_pyfunction!(reset_reasons, module)?)?;
    Ok(())
}
