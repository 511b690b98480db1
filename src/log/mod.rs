//! Where the messages of log breakpoints and snapshots go.
//!
//! [`send`] is called while the program's thread runs: it renders the record and hands it to the
//! [`sink`] of the chosen [`target`](target::Target), standard error unless something else was
//! asked for. Everything accepted is written when the interpreter is gone at the latest; a child
//! of `fork` begins with nothing waiting and a writer of its own.
//! This file owns which sink is the current one; it is looked up by threads that are attached to
//! the interpreter only.

mod batch;
mod figures;
mod python;
mod record;
mod sink;
mod target;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use serde::Serialize;

use crate::ffi;
use crate::hit;
use figures::{DROPPED, Dropped};
use sink::Sink;
use target::Target;

pub(crate) use python::{loaded_module, register, running_thread};
pub(crate) use record::{Record, time_stamp};
pub(crate) use target::Output;

/// How many bytes may wait for their target.
const LIMIT: usize = 32 << 20;
/// At the end of the program a reader that takes nothing is waited for this long.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// A target that is given up is waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);

static CURRENT: Mutex<Option<Arc<Sink>>> = Mutex::new(None);

fn current() -> Arc<Sink> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(current.get_or_insert_with(|| {
        ffi::exit::after_the_interpreter(finish);
        Sink::new(Target::Stderr, LIMIT)
    }))
}

fn current_if_any() -> Option<Arc<Sink>> {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    current.clone()
}

/// The sink for a record, once there is room for it where senders wait.
fn ready(py: Python<'_>) -> Arc<Sink> {
    let sink = current();
    if sink.target.is_waited_for() && sink.holds(LIMIT) {
        py.detach(|| sink.await_room(LIMIT));
    }
    sink
}

/// Writes the message of a log breakpoint.
pub(crate) fn send(py: Python<'_>, record: &Record<'_>) {
    let sink = ready(py);
    if sink.target.is_structured() {
        let thread = running_thread(py);
        sink.send(|bytes| record::json(bytes, record, &thread));
    } else {
        sink.send(|bytes| record::text(bytes, record.message));
    }
}

/// Writes a record of another event: one line of JSON, or what `text` makes of it.
pub(crate) fn send_event(event: &impl Serialize, text: impl FnOnce() -> String) {
    let sink = current();
    if sink.target.is_structured() {
        sink.send(|bytes| record::line_of_json(bytes, event));
    } else {
        let text = text();
        sink.send(|bytes| record::text(bytes, &text));
    }
}

/// Sends what comes to `target`, when what came before is written; at most `limit` bytes wait.
pub(crate) fn direct(py: Python<'_>, target: &str, limit: Option<usize>) -> io::Result<()> {
    exchange(py, Target::open(target)?, limit);
    Ok(())
}

/// Sends what comes to the debugger's own output.
pub(crate) fn direct_to(py: Python<'_>, output: Arc<dyn Output>, limit: Option<usize>) {
    exchange(py, Target::Output(output), limit);
}

/// What got the records before they were lent to somebody.
pub(crate) struct Former(Arc<Sink>);

/// Sends what comes to `output` for a while; nothing is dropped where senders wait for it.
pub(crate) fn lend(py: Python<'_>, output: Arc<dyn Output>) -> Former {
    let limit = output.is_waited_for().then_some(usize::MAX);
    Former(exchange(py, Target::Output(output), limit))
}

/// Ends what [`lend`] began, when what came is delivered.
pub(crate) fn give_back(py: Python<'_>, former: Former) {
    part_from_current(py);
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(former.0);
}

fn part_from_current(py: Python<'_>) -> Arc<Sink> {
    let before = current();
    // A batch may be on its way into a Python function, which needs the interpreter to return.
    py.detach(|| {
        before.flush(PATIENCE);
        before.part();
    });
    before
}

fn exchange(py: Python<'_>, target: Target, limit: Option<usize>) -> Arc<Sink> {
    let before = part_from_current(py);
    let sink = Sink::new(target, limit.unwrap_or(LIMIT));
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    before
}

/// Writes what waits, and tells what its reader has not taken.
pub(crate) fn finish() {
    let Some(sink) = current_if_any() else {
        return;
    };
    let left = sink.flush(LAST_PATIENCE);
    if left > 0 {
        DROPPED[Dropped::AtExit as usize].add(left);
        if !matches!(sink.target, Target::Stderr) {
            let reason = sink.target.too_slow();
            hit::tell(&format!(
                "{left} log messages were lost at the end: {reason}"
            ));
        }
    }
}

/// Begins anew in a child of a fork: what waited is the parent's to write.
fn begin_in_child() {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parents) = current.take() {
        let limit = if parents.target.is_waited_for() {
            LIMIT
        } else {
            parents.limit
        };
        *current = Some(Sink::new(parents.target.in_child(), limit));
        // Its locks may be held by a thread that this process does not have.
        std::mem::forget(parents);
        figures::reset();
    }
}

#[cfg(test)]
mod tests;
