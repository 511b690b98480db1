//! Events of threads that start and end.
//!
//! A native thread of the session looks, a few times a second and without the interpreter, whether
//! the system knows other threads than before; only then it asks which of them run Python code.
//! Where the system does not tell, it asks each time.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;

use crate::dap::session::Session;
use crate::ffi::attach::try_attach;
use crate::ffi::name::name;
use crate::ffi::threads::Thread;
use crate::hit;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(100);
/// How often it looks again after a change: a thread runs Python code only some time after the
/// system knows it.
const AFTERWARDS: u32 = 3;
/// How long its end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

struct Census {
    ends: Arc<(Mutex<bool>, Condvar)>,
    thread: Thread,
}

static CENSUS: Mutex<Option<Census>> = Mutex::new(None);

/// The threads whose start the client was told of.
static TOLD: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to look.
pub(in crate::dap) fn begin(session: &Arc<Session>) {
    let mut census = lock(&CENSUS);
    if census.is_some() || session.is_over() {
        return;
    }
    let ends = Arc::new((Mutex::new(false), Condvar::new()));
    let (session, told) = (Arc::clone(session), Arc::clone(&ends));
    // Without the thread the client learns of threads when it asks.
    let started = Thread::start("dapper-threads", move || look_on(&session, &told));
    *census = started.ok().map(|thread| Census { ends, thread });
}

/// Has it end: before a fork, and with the session.
pub(in crate::dap) fn end() {
    let Some(census) = lock(&CENSUS).take() else {
        return;
    };
    *lock(&census.ends.0) = true;
    census.ends.1.notify_all();
    // One that waits for the interpreter is gone as soon as it has it.
    drop(census.thread.join(PATIENCE));
}

/// Begins from nothing: with a session, and in a forked child.
pub(in crate::dap) fn forget() {
    std::mem::forget(lock(&CENSUS).take());
    *lock(&TOLD) = None;
}

fn look_on(session: &Session, (ends, ended): &(Mutex<bool>, Condvar)) {
    let mut known = None;
    let mut again = AFTERWARDS;
    loop {
        let waited = ended.wait_timeout_while(lock(ends), PERIOD, |ends| !*ends);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 || session.is_over() {
            return;
        }
        let now = system_threads();
        if now.is_none() || now != known {
            known = now;
            again = AFTERWARDS;
        }
        if again > 0 {
            again -= 1;
            tell(session);
        }
    }
}

/// The threads of the process, as the system numbers them.
fn system_threads() -> Option<Vec<u64>> {
    let listed = std::fs::read_dir("/proc/self/task").ok()?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Some(numbers)
}

fn tell(session: &Session) {
    let running = try_attach(|py| {
        let _quiet = hit::Quiet::enter();
        python_threads(py).ok()
    });
    let Some(Some(running)) = running else {
        return;
    };
    let before = lock(&TOLD).replace(running.clone()).unwrap_or_default();
    let mut events = Vec::new();
    for (some, others, reason) in [
        (&running, &before, "started"),
        (&before, &running, "exited"),
    ] {
        let mut news: Vec<i64> = some
            .difference(others)
            .map(|ident| session.thread_id(*ident))
            .collect();
        news.sort_unstable();
        events.extend(
            news.into_iter()
                .map(|id| json!({"reason": reason, "threadId": id})),
        );
    }
    if !events.is_empty() {
        session.events("thread", events);
    }
}

fn python_threads(py: Python<'_>) -> PyResult<HashSet<u64>> {
    let frames = py.import("sys")?.call_method0(name!("_current_frames"))?;
    let idents = frames.cast_into::<PyDict>()?.keys();
    idents.iter().map(|ident| ident.extract()).collect()
}
