//! Stopping threads that run on their own.
//!
//! Owns which threads are to stop at the next line that they run. While any is wanted, lines of all
//! code are reported (by the trace function where there is no monitoring), and a thread that
//! reaches one and is wanted is handed to the sink; nothing is installed otherwise.
//! A thread that waits in native code stops when it comes back from there.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::ffi::name::name;
use crate::ffi::threads;
use crate::hit;
use crate::scoped::tool::{self, Events, Owner};
use crate::scoped::tracer;

/// How a thread was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By itself.
    Alone,
    /// Because another has stopped.
    WithOthers,
    /// Because it is the first line of the program.
    AtEntry,
}

/// Called with the frame in which a thread has reached a line; it returns when the thread goes on.
pub(crate) type Sink = fn(&Bound<'_, PyAny>, Asked) -> PyResult<()>;

#[derive(Default)]
struct Wanted {
    /// Threads that were asked for.
    alone: HashSet<u64>,
    /// Whether the first line of the program is.
    entry: bool,
    /// Whether every thread is, but those in `running`.
    all: bool,
    /// Threads that go on while the others stop.
    running: HashSet<u64>,
}

static SINK: OnceLock<Sink> = OnceLock::new();
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// How often all that was asked for has been given up.
static ROUND: AtomicU64 = AtomicU64::new(0);
static WANTED: Mutex<Option<Wanted>> = Mutex::new(None);

thread_local! {
    /// The round in which this thread was last found to be wanted.
    static FOUND_IN: Cell<u64> = const { Cell::new(0) };
}

fn lock() -> MutexGuard<'static, Option<Wanted>> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether any thread is to stop.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Says what a thread does that was to stop; the first one given stays.
pub(crate) fn set_sink(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Has one thread stop.
pub(crate) fn one(py: Python<'_>, ident: u64) -> PyResult<()> {
    lock().get_or_insert_default().alone.insert(ident);
    refresh(py)
}

/// Has the program stop at its first line.
pub(crate) fn at_entry(py: Python<'_>) -> PyResult<()> {
    lock().get_or_insert_default().entry = true;
    refresh(py)
}

/// Whether a frame runs the main module itself, or a function of it.
fn is_main(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let globals = frame.getattr(name!("f_globals"))?;
    let name = globals.get_item(name!("__name__"))?;
    name.eq(name!("__main__"))
}

/// Has every thread stop but this one, those that start from now on included.
pub(crate) fn all_but(py: Python<'_>, ident: u64) -> PyResult<()> {
    {
        let mut wanted = lock();
        let wanted = wanted.get_or_insert_default();
        wanted.all = true;
        wanted.running.insert(ident);
    }
    refresh(py)
}

/// Lets every thread run; what was installed for it goes with the next [`refresh`].
pub(crate) fn nobody() {
    let mut wanted = lock();
    *wanted = None;
    ROUND.fetch_add(1, Ordering::AcqRel);
    drop(wanted);
    ACTIVE.store(false, Ordering::Relaxed);
}

/// Whether nobody has let every thread run since this one was handed to the sink.
pub(crate) fn is_still_asked() -> bool {
    FOUND_IN.get() == ROUND.load(Ordering::Acquire)
}

/// Installs what is needed now, and takes away what is not.
pub(crate) fn refresh(py: Python<'_>) -> PyResult<()> {
    let active = lock().is_some();
    ACTIVE.store(active, Ordering::Relaxed);
    if tool::is_available(py) {
        let events = if active {
            Events::LINE.with(Events::JUMP)
        } else {
            Events::NONE
        };
        return tool::demand_everywhere(py, Owner::Pause, events)?.map_err(PyRuntimeError::new_err);
    }
    if active {
        return tracer::require(py)?.map_err(PyRuntimeError::new_err);
    }
    tracer::refresh(py)
}

/// Whether some thread holds the lock of the import system: stopped with it, it would keep every
/// other thread from importing anything, the one that reads from the client included.
fn imports(py: Python<'_>) -> PyResult<bool> {
    let imp = py.import(name!("_imp"))?;
    imp.call_method0(name!("lock_held"))?.is_truthy()
}

/// A line is about to run in `frame`.
pub(crate) fn reached(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    if hit::in_callback() {
        return Ok(());
    }
    if imports(frame.py())? {
        return Ok(());
    }
    let ident = threads::number();
    let begins = lock().as_ref().is_some_and(|wanted| wanted.entry)
        && threads::is_main()
        && is_main(frame).unwrap_or(false);
    let asked = {
        let mut wanted = lock();
        let Some(wanted) = wanted.as_mut() else {
            return Ok(());
        };
        FOUND_IN.set(ROUND.load(Ordering::Acquire));
        if begins {
            wanted.entry = false;
            Asked::AtEntry
        } else if wanted.alone.remove(&ident) {
            Asked::Alone
        } else if wanted.all && !wanted.running.contains(&ident) {
            Asked::WithOthers
        } else {
            return Ok(());
        }
    };
    if asked != Asked::WithOthers {
        let mut wanted = lock();
        if wanted
            .as_ref()
            .is_some_and(|wanted| wanted.alone.is_empty() && !wanted.all && !wanted.entry)
        {
            *wanted = None;
        }
        drop(wanted);
        refresh(frame.py())?;
    }
    let Some(sink) = SINK.get() else {
        return Ok(());
    };
    hit::call_quietly(frame.py(), "stop of a thread", || sink(frame, asked))
}
