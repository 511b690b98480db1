//! What stops call: the callbacks of single breakpoints, and the one of all others.
//!
//! Owns the callbacks and how one is called: no tracer sees what it runs, and the trace function of
//! the thread is put back after it, or the one that it wants to go on with.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::ffi::name::name;
use crate::hit::Hit;
use crate::scoped::tracer;

static DEFAULT_CALLBACK: Mutex<Option<Py<PyAny>>> = Mutex::new(None);
static CALLBACKS: LazyLock<Mutex<HashMap<u64, Py<PyAny>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// Whether another tool's trace function is put aside while a callback runs.
    static TRACE_PUT_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether another tool traces this thread, though not while the callback runs.
pub(crate) fn trace_is_put_aside() -> bool {
    TRACE_PUT_ASIDE.get()
}

/// What a stop calls.
pub(crate) enum Callback {
    /// Of one breakpoint: called with the hit.
    Own(Py<PyAny>),
    /// Of all others: called with the hit and the trace function of the thread; returns the trace
    /// function to go on with, so that it can step.
    Default(Py<PyAny>),
}

impl Callback {
    /// Calls it without tracing: a tracer is not to see what runs for a breakpoint.
    pub(crate) fn call(&self, py: Python<'_>, hit: Hit) -> PyResult<()> {
        let sys = py.import("sys")?;
        let mut trace = sys.call_method0(name!("gettrace"))?;
        // Ours sees nothing of what runs for a breakpoint.
        if tracer::is_own(&trace) {
            trace = py.None().into_bound(py);
        }
        if !trace.is_none() {
            sys.call_method1(name!("settrace"), (py.None(),))?;
        }
        let outer = TRACE_PUT_ASIDE.replace(!trace.is_none());
        let result = match self {
            Self::Own(callback) => callback.call1(py, (hit,)).map(|_| trace.clone()),
            Self::Default(callback) => callback
                .call1(py, (hit, &trace))
                .map(|next| next.into_bound(py)),
        };
        TRACE_PUT_ASIDE.set(outer);
        let next = result.as_ref().unwrap_or(&trace);
        if !(trace.is_none() && next.is_none()) {
            sys.call_method1(name!("settrace"), (next,))?;
        }
        tracer::restore(py)?;
        result.map(|_| ())
    }
}

/// What a stop of the breakpoint with that id calls.
pub(crate) fn callback_of(py: Python<'_>, id: u64) -> Option<Callback> {
    let own = CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(callback) = own.get(&id) {
        return Some(Callback::Own(callback.clone_ref(py)));
    }
    drop(own);
    let default = DEFAULT_CALLBACK
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    default
        .as_ref()
        .map(|callback| Callback::Default(callback.clone_ref(py)))
}

/// Sets what a stop calls when its breakpoint has no callback of its own.
pub(crate) fn set_default_callback(callback: Option<Py<PyAny>>) {
    let mut default = DEFAULT_CALLBACK
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let old = std::mem::replace(&mut *default, callback);
    drop(default);
    drop(old);
}

/// Sets what a stop of one breakpoint calls.
pub(crate) fn set_callback(id: u64, callback: Py<PyAny>) {
    CALLBACKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(id, callback);
}

/// Forgets the callback of one breakpoint.
pub(crate) fn forget_callback(id: u64) {
    let old = CALLBACKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&id);
    drop(old);
}

/// Forgets all callbacks but those of these breakpoints.
pub(crate) fn forget_callbacks_but(kept: &HashSet<u64>) {
    let old: Vec<_> = {
        let mut callbacks = CALLBACKS.lock().unwrap_or_else(PoisonError::into_inner);
        callbacks.extract_if(|id, _| !kept.contains(id)).collect()
    };
    drop(old);
    set_default_callback(None);
}
