//! Ends what the user has evaluated at a hit when it takes too long.
//!
//! A native thread looks at the clock so that evaluations need not: each of them only says that it
//! has begun and ended. One that goes on for longer than the budget gets [`TimeLimitExceeded`]
//! raised, again and again until it ends; a single call of native code cannot be interrupted.
//! The thread sleeps while nothing is evaluated. It takes the GIL only to interrupt; an evaluation
//! says that it has ended with the GIL held, and absorbs an interruption that is under way then.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::create_exception;
use pyo3::exceptions::{PyBaseException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::compile;
use crate::ffi::name::name;
use crate::ffi::{attach, evaluate, exit};

create_exception!(
    dapper,
    TimeLimitExceeded,
    PyBaseException,
    "Raised inside a condition that takes too long; no `except Exception` in it keeps it."
);

/// How many threads can evaluate under a limit at the same time; more go without.
const SEATS: usize = 256;
/// How many times in one budget the clock is looked at.
const LOOKS: u32 = 4;
/// How long after its limit an evaluation is told to be stuck in native code.
const GRACE: Duration = Duration::from_secs(3);
/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// How many looks without an evaluation let the watching thread sleep.
const IDLE_LOOKS: u32 = 50;

/// One thread that evaluates.
struct Seat {
    taken: AtomicBool,
    /// Odd while something is evaluated; every evaluation has two numbers of its own.
    serial: AtomicU64,
    /// What `threading.get_ident` says in the thread.
    ident: AtomicU64,
    /// Whether the evaluation that goes on was interrupted.
    interrupted: AtomicBool,
    /// The limit of the evaluation that goes on, in nanoseconds; 0 when it is the budget.
    limit: AtomicU64,
    /// Whether somebody has had it interrupted.
    cancelled: AtomicBool,
}

static TABLE: [Seat; SEATS] = [const {
    Seat {
        taken: AtomicBool::new(false),
        serial: AtomicU64::new(0),
        ident: AtomicU64::new(0),
        interrupted: AtomicBool::new(false),
        limit: AtomicU64::new(0),
        cancelled: AtomicBool::new(false),
    }
}; SEATS];

/// The shortest limit that an evaluation of its own was given: the clock is looked at as often.
static SHORTEST_OWN: AtomicU64 = AtomicU64::new(u64::MAX);

/// The default of `condition_budget_s`: 0.1 s.
const DEFAULT_BUDGET: u64 = 100_000_000;
static BUDGET: AtomicU64 = AtomicU64::new(DEFAULT_BUDGET);

/// Called, without the GIL, with the number of a thread whose evaluation does not end.
static ON_STUCK: OnceLock<fn(u64)> = OnceLock::new();

/// Whether nobody looks at the clock.
static ASLEEP: AtomicBool = AtomicBool::new(true);
static FORKED: AtomicBool = AtomicBool::new(false);
/// Locked with the GIL held only, and never by the watching thread: a fork finds it free.
static WATCHER: Mutex<Option<Thread>> = Mutex::new(None);

thread_local! {
    static OWN_SEAT: OwnSeat = const { OwnSeat(Cell::new(None)) };
}

struct OwnSeat(Cell<Option<&'static Seat>>);

impl OwnSeat {
    fn get(&self, py: Python<'_>) -> PyResult<Option<&'static Seat>> {
        if let Some(seat) = self.0.get() {
            return Ok(Some(seat));
        }
        let free = |seat: &&Seat| !seat.taken.swap(true, Ordering::Relaxed);
        let Some(seat) = TABLE.iter().find(free) else {
            return Ok(None);
        };
        let ident = py
            .import("_thread")?
            .call_method0(name!("get_ident"))?
            .extract()?;
        seat.ident.store(ident, Ordering::Relaxed);
        self.0.set(Some(seat));
        Ok(Some(seat))
    }
}

impl Drop for OwnSeat {
    fn drop(&mut self) {
        if let Some(seat) = self.0.get() {
            seat.taken.store(false, Ordering::Relaxed);
        }
    }
}

/// An evaluation under the limit; it ends when this is dropped, which the attached thread does.
pub(crate) struct Limited<'py> {
    seat: Option<&'static Seat>,
    py: Python<'py>,
}

impl<'py> Limited<'py> {
    /// Begins one.
    pub(crate) fn begin(py: Python<'py>) -> PyResult<Self> {
        let seat = if is_limited() {
            OWN_SEAT.with(|own| own.get(py))?
        } else {
            None
        };
        Ok(Self::seated(py, seat))
    }

    /// Begins one that has a limit of its own, or none; it can be cancelled.
    pub(crate) fn within(py: Python<'py>, limit: Option<Duration>) -> PyResult<Self> {
        let seat = OWN_SEAT.with(|own| own.get(py))?;
        if let Some(seat) = seat {
            let limit = limit.map_or(u64::MAX, |limit| {
                u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1)
            });
            seat.limit.store(limit, Ordering::Relaxed);
            seat.cancelled.store(false, Ordering::Relaxed);
            if SHORTEST_OWN.fetch_min(limit, Ordering::Relaxed) > limit {
                look_again();
            }
        }
        Ok(Self::seated(py, seat))
    }

    /// Whether it was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.seat
            .is_some_and(|seat| seat.cancelled.load(Ordering::Relaxed))
    }

    fn seated(py: Python<'py>, seat: Option<&'static Seat>) -> Self {
        if let Some(seat) = seat {
            seat.serial.fetch_add(1, Ordering::SeqCst);
            if ASLEEP.load(Ordering::SeqCst) || FORKED.load(Ordering::Relaxed) {
                wake();
            }
        }
        Self { seat, py }
    }

    /// Ends it; an error is one that the program is to have.
    ///
    /// An interruption that has not been raised yet is raised in code of ours and kept: 3.11
    /// cannot take one back without running around in circles in code that is traced.
    pub(crate) fn finish(self) -> PyResult<()> {
        let Some(seat) = self.seat else {
            return Ok(());
        };
        let py = self.py;
        drop(self);
        if !seat.interrupted.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let namespace = PyDict::new(py).into_any();
        let nothing = compile::expression(py, "None", "nothing")?;
        match evaluate::in_namespace(&nothing, &namespace, &namespace) {
            Err(error) if !error.is_instance_of::<TimeLimitExceeded>(py) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            seat.serial.fetch_add(1, Ordering::Relaxed);
            seat.limit.store(0, Ordering::Relaxed);
        }
    }
}

impl Seat {
    /// How long what is evaluated may take; none is for ever.
    fn limit(&self) -> Option<Duration> {
        match self.limit.load(Ordering::Relaxed) {
            0 => is_limited().then(budget),
            u64::MAX => None,
            limit => Some(Duration::from_nanos(limit)),
        }
    }
}

/// Ends what a thread evaluates with a limit of its own; false when it evaluates nothing.
pub(crate) fn cancel(py: Python<'_>, ident: u64) -> bool {
    let of_thread = |seat: &&Seat| {
        seat.taken.load(Ordering::Relaxed)
            && seat.ident.load(Ordering::Relaxed) == ident
            && seat.serial.load(Ordering::SeqCst) % 2 == 1
            && seat.limit.load(Ordering::Relaxed) != 0
    };
    let Some(seat) = TABLE.iter().find(of_thread) else {
        return false;
    };
    seat.cancelled.store(true, Ordering::Relaxed);
    // What catches the first interruption gets more of them.
    seat.limit.store(1, Ordering::Relaxed);
    seat.interrupted.store(true, Ordering::Relaxed);
    let exception = py.get_type::<TimeLimitExceeded>().into_any();
    evaluate::interrupt(py, ident, &exception);
    true
}

/// The budget of one evaluation.
pub(crate) fn budget() -> Duration {
    Duration::from_nanos(BUDGET.load(Ordering::Relaxed))
}

/// Whether evaluations are ended at all.
pub(crate) fn is_limited() -> bool {
    BUDGET.load(Ordering::Relaxed) != u64::MAX
}

/// Sets how many seconds one evaluation of a condition or of a part of a message may take;
/// infinity is no limit.
#[pyfunction]
pub(crate) fn set_condition_budget(seconds: f64) -> PyResult<()> {
    let budget = match seconds {
        f64::INFINITY => Some(Duration::MAX),
        seconds => Duration::try_from_secs_f64(seconds).ok(),
    };
    let Some(budget) = budget.filter(|budget| *budget > Duration::ZERO) else {
        return Err(PyValueError::new_err(format!(
            "condition_budget_s is {seconds}: it has to be a number of seconds above 0"
        )));
    };
    let nanoseconds = u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX);
    BUDGET.store(nanoseconds, Ordering::Relaxed);
    look_again();
    Ok(())
}

/// Says what is called with a thread whose evaluation has a limit of its own and does not end
/// after it, as a call of native code does; the first one given stays.
pub(crate) fn set_on_stuck(call: fn(u64)) {
    let _ = ON_STUCK.set(call);
}

/// Has the watching thread look at the clock in other intervals.
fn look_again() {
    let watcher = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watcher) = &*watcher {
        watcher.unpark();
    }
}

/// How many seconds one evaluation may take.
#[pyfunction]
pub(crate) fn condition_budget() -> f64 {
    if !is_limited() {
        return f64::INFINITY;
    }
    budget().as_secs_f64()
}

fn wake() {
    let mut watcher = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
    ASLEEP.store(false, Ordering::SeqCst);
    if FORKED.swap(false, Ordering::Relaxed) {
        // The thread stayed behind in the parent, and so did the others of the table.
        *watcher = None;
    }
    if let Some(watcher) = &*watcher {
        watcher.unpark();
        return;
    }
    evaluate::mark_forks(&FORKED);
    let spawned = thread::Builder::new()
        .name("dapper-limit".to_owned())
        .spawn(watch);
    // Without the thread there is no limit, and everything else works.
    *watcher = spawned.ok().map(|handle| handle.thread().clone());
}

/// Lets the time between two looks go by, which is another one when the budget changes.
fn pause() {
    let began = Instant::now();
    loop {
        let shortest = Duration::from_nanos(SHORTEST_OWN.load(Ordering::Relaxed)).min(budget());
        let pause = (shortest / LOOKS).clamp(SHORTEST, LONGEST);
        let rest = pause.saturating_sub(began.elapsed());
        if rest.is_zero() {
            return;
        }
        thread::park_timeout(rest);
    }
}

fn watch() {
    let mut before = [0; SEATS];
    let mut looks = [0; SEATS];
    let mut since = [Instant::now(); SEATS];
    let mut stuck = [0; SEATS];
    let mut idle = 0;
    loop {
        pause();
        idle += 1;
        for (index, seat) in TABLE.iter().enumerate() {
            let serial = seat.serial.load(Ordering::SeqCst);
            if serial != before[index] {
                before[index] = serial;
                looks[index] = 0;
                since[index] = Instant::now();
                idle = 0;
            } else if serial % 2 == 1 {
                idle = 0;
                looks[index] += 1;
                let elapsed = since[index].elapsed() + SHORTEST;
                let is_late = seat.limit().is_some_and(|limit| elapsed >= limit);
                if looks[index] >= LOOKS && is_late {
                    interrupt(seat, serial);
                    let is_stuck = seat.limit().is_some_and(|limit| elapsed >= limit + GRACE);
                    let is_own = seat.limit.load(Ordering::Relaxed) != 0;
                    if is_stuck && is_own && std::mem::replace(&mut stuck[index], serial) != serial
                    {
                        tell_stuck(seat.ident.load(Ordering::Relaxed));
                    }
                }
            }
        }
        if idle > IDLE_LOOKS {
            ASLEEP.store(true, Ordering::SeqCst);
            let begun = TABLE
                .iter()
                .zip(before)
                .any(|(seat, serial)| seat.serial.load(Ordering::SeqCst) != serial);
            if !begun {
                thread::park();
            }
            ASLEEP.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

fn tell_stuck(ident: u64) {
    if let Some(call) = ON_STUCK.get() {
        call(ident);
    }
}

/// Interrupts an evaluation, if it is still going on.
fn interrupt(seat: &Seat, serial: u64) {
    if exit::is_finalizing() {
        return;
    }
    attach::try_attach(|py| {
        if seat.serial.load(Ordering::SeqCst) != serial {
            return;
        }
        seat.interrupted.store(true, Ordering::Relaxed);
        let exception = py.get_type::<TimeLimitExceeded>().into_any();
        let ident = seat.ident.load(Ordering::Relaxed);
        evaluate::interrupt(py, ident, &exception);
    });
}

/// Adds what this file offers to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // A type of ours is made where other threads may run.
    module.py().get_type::<TimeLimitExceeded>();
    module.add_function(wrap_pyfunction!(condition_budget, module)?)?;
    module.add_function(wrap_pyfunction!(set_condition_budget, module)?)?;
    Ok(())
}
