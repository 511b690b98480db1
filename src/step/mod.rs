//! Stepping: running on from a stop until the next place where the user wants to see the program.
//!
//! Owns the step of each thread. A step has *target* frames: a line in one of them, or their being
//! left, moves it on; stepping into a call stops in any frame that is entered meanwhile.
//! On 3.12 and later it has local events on the code objects of its targets, and events of all
//! code only while stepping into; on 3.11 it has the trace function of its own thread. Events of
//! other threads pass by. When it stops, everything it had installed is gone before the callback
//! runs, which may begin the next step.
//! `walk` knows where a step goes when a target leaves, `awaiters` who waits for a coroutine,
//! `vanishing` what to do when nobody resumes a generator, `probes` whether a line begins with one,
//! `fine` steps by instructions and into one call of several, `returned` keeps what calls returned,
//! `armed` has the interpreter send the events.

mod armed;
pub(crate) mod awaiters;
mod fine;
mod probes;
mod returned;
mod vanishing;
mod walk;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::ffi::rewind::Rewound;
use crate::ffi::{prove, symbols, tracing};
use crate::scoped::tool::{self, Events, Owner};
use crate::scoped::{figures, tracer};
use crate::{hit, in_line};

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Into,
    Over,
    Out,
}

impl Mode {
    fn from_name(name: &str) -> PyResult<Self> {
        match name {
            "into" => Ok(Self::Into),
            "over" => Ok(Self::Over),
            "out" => Ok(Self::Out),
            _ => Err(PyValueError::new_err(format!(
                "mode {name:?} is not one of \"into\", \"over\", \"out\""
            ))),
        }
    }
}

/// Where a line stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// In no frame: a target has to be left first.
    Nowhere,
    /// In the targets.
    InTargets,
    /// In every frame of the thread that is not passed through.
    Anywhere,
}

/// The step of one thread.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own of whoever steps"
)]
struct Step {
    id: u64,
    mode: Mode,
    /// Addresses of frame objects; a frame that runs or is suspended keeps its object alive.
    targets: Vec<usize>,
    lines: Lines,
    /// The frame above the first target when the step began: a debugger's own. What it calls
    /// before it returns is no part of the program.
    above: Option<Py<PyAny>>,
    on_stop: Py<PyAny>,
    skip: Option<Py<PyAny>>,
    /// What `skip` said of each code object.
    skipped: HashMap<usize, bool>,
    returns: bool,
    exceptions: bool,
    /// Whether instructions stop, and not lines.
    instructions: bool,
    /// The frame and the byte offset of the only call that is stepped into.
    call: Option<(usize, usize)>,
    /// Tells when the generator is gone whose next line is waited for.
    vanishing: Option<Py<PyWeakrefReference>>,
    /// Code objects that have local events for this step, and which.
    armed: Vec<(Py<PyAny>, Events)>,
    /// What calls have returned, if that is wanted.
    values: Option<Vec<Returned>>,
    /// Code that is changed until its end.
    rewound: Option<Rewound>,
    finished: bool,
}

impl Drop for Step {
    /// A thread may end while its step waits for a generator that nobody resumes.
    fn drop(&mut self) {
        if !self.finished {
            ACTIVE.fetch_sub(1, Ordering::Relaxed);
            ABANDONED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self.id);
        }
    }
}

static LAST_ID: AtomicU64 = AtomicU64::new(0);
/// How many threads are stepping.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// Steps whose threads ended; the next step that begins or ends takes their events away.
static ABANDONED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

thread_local! {
    static STEP: RefCell<Option<Step>> = const { RefCell::new(None) };
    /// The frame that is leaving while its return is a stop; 0 when there is none.
    static LEAVING: Cell<usize> = const { Cell::new(0) };
}

use armed::{ENTERED, ENTRIES, TARGET, arm, everywhere};
pub(crate) use fine::{instruction, jump};
pub(crate) use returned::{Returned, calls, is_called, note, take as take_returned};
use walk::skips;

/// Whether any thread is stepping.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed) > 0
}

/// Reads or changes the step of this thread; `None` when it has none.
fn with<T>(access: impl FnOnce(&mut Step) -> T) -> Option<T> {
    if !is_active() {
        return None;
    }
    STEP.with_borrow_mut(|step| step.as_mut().map(access))
}

fn address(frame: &Bound<'_, PyAny>) -> usize {
    frame.as_ptr() as usize
}

/// Runs on from a stop of this thread, and calls `on_stop(frame, event, argument)` at the next.
///
/// The event is "line", "return" (with the value, when `returns`) or "exception" (with the
/// exception, when `exceptions`). Returning from `on_stop` lets the program run on.
#[pyfunction]
#[pyo3(signature = (frame, mode, on_stop, *, skip=None, returns=false, exceptions=false))]
fn step(
    frame: &Bound<'_, PyAny>,
    mode: &str,
    on_stop: Py<PyAny>,
    skip: Option<Py<PyAny>>,
    returns: bool,
    exceptions: bool,
) -> PyResult<()> {
    let wish = Wish {
        mode: Mode::from_name(mode)?,
        on_stop,
        skip,
        returns,
        exceptions,
        instructions: false,
        call: None,
        values: false,
    };
    run_on(frame, wish)
}

/// What a step is to be.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own of whoever steps"
)]
pub(crate) struct Wish {
    /// How far it goes.
    pub(crate) mode: Mode,
    /// Called at its end.
    pub(crate) on_stop: Py<PyAny>,
    /// Says of a code object whether its frames are passed through.
    pub(crate) skip: Option<Py<PyAny>>,
    /// Whether the return of a target is an end.
    pub(crate) returns: bool,
    /// Whether an exception in a target is an end.
    pub(crate) exceptions: bool,
    /// Whether instructions are ends, and not lines.
    pub(crate) instructions: bool,
    /// The byte offset of the only call of the frame that is stepped into.
    pub(crate) call: Option<usize>,
    /// Whether what calls return is kept until its end ([`take_returned`]).
    pub(crate) values: bool,
}

/// As [`step`].
pub(crate) fn run_on(frame: &Bound<'_, PyAny>, wish: Wish) -> PyResult<()> {
    let py = frame.py();
    let Wish {
        mode,
        on_stop,
        skip,
        returns,
        exceptions,
        instructions,
        call,
        values,
    } = wish;
    cancel(py)?;
    let step = Step {
        id: LAST_ID.fetch_add(1, Ordering::Relaxed) + 1,
        mode,
        targets: Vec::new(),
        lines: Lines::Nowhere,
        above: walk::above(frame)?,
        on_stop,
        skip,
        skipped: HashMap::new(),
        returns,
        exceptions,
        instructions,
        call: call.map(|offset| (address(frame), offset)),
        vanishing: None,
        armed: Vec::new(),
        values: values.then(Vec::new),
        rewound: None,
        finished: false,
    };
    ACTIVE.fetch_add(1, Ordering::Relaxed);
    STEP.set(Some(step));
    if let Err(error) = begin(frame, mode, exceptions) {
        cancel(py)?;
        return Err(error);
    }
    Ok(())
}

fn begin(frame: &Bound<'_, PyAny>, mode: Mode, exceptions: bool) -> PyResult<()> {
    let py = frame.py();
    if !tool::is_available(py) {
        tracer::trace_step(py)?.map_err(PyRuntimeError::new_err)?;
    }
    if LEAVING.get() == address(frame) {
        return walk::leave(frame);
    }
    if exceptions && mode != Mode::Into {
        everywhere(py, Events::NONE)?;
    }
    match mode {
        Mode::Into if with(|step| step.call.is_some()) == Some(true) => fine::await_call(frame),
        Mode::Into => go_on(std::slice::from_ref(frame), Lines::Anywhere),
        Mode::Over => go_on(std::slice::from_ref(frame), Lines::InTargets),
        Mode::Out => go_on(std::slice::from_ref(frame), Lines::Nowhere),
    }
}

/// Gives up the step of this thread, if there is one.
#[pyfunction]
fn cancel_step(py: Python<'_>) -> PyResult<()> {
    cancel(py)
}

/// Gives up the step of this thread.
pub(crate) fn cancel(py: Python<'_>) -> PyResult<()> {
    let abandoned = std::mem::take(&mut *ABANDONED.lock().unwrap_or_else(PoisonError::into_inner));
    for id in abandoned {
        tool::release(py, Owner::Step(id))?;
    }
    match STEP.take() {
        Some(mut step) => finish(py, &mut step),
        None => Ok(()),
    }
}

/// Has code that was changed for the step of this thread be put back when the step ends.
pub(crate) fn keep(rewound: Rewound) {
    with(|step| step.rewound = Some(rewound));
}

/// Takes away what a step had installed.
fn finish(py: Python<'_>, step: &mut Step) -> PyResult<()> {
    // First: the interpreter changes the same code units when events are no longer wanted.
    if let (Some(rewound), Some(layout)) = (step.rewound.take(), prove::proved()) {
        rewound.restore(py, layout);
    }
    step.finished = true;
    ACTIVE.fetch_sub(1, Ordering::Relaxed);
    if !tool::is_available(py) {
        return tracer::end_step(py);
    }
    let owner = Owner::Step(step.id);
    for (code, _) in &step.armed {
        tool::demand(owner, code.bind(py), Events::NONE)?.ok();
    }
    tool::demand_everywhere(py, owner, Events::NONE)?.ok();
    Ok(())
}

/// Makes `frames` the targets of the step of this thread.
fn go_on(frames: &[Bound<'_, PyAny>], lines: Lines) -> PyResult<()> {
    let Some(first) = frames.first() else {
        return Ok(());
    };
    let py = first.py();
    with(|step| {
        step.targets = frames.iter().map(address).collect();
        step.lines = lines;
    });
    for frame in frames {
        arm(&tracing::code_of(frame), TARGET)?;
        fine::trace_instructions(frame)?;
    }
    if lines == Lines::Anywhere {
        return everywhere(py, ENTRIES);
    }
    everywhere(py, Events::NONE)
}

/// A line is about to run in `frame`; whether the step stopped there.
///
/// `target` is the byte offset of the line's first instruction, when `frame` is not at it yet.
pub(crate) fn line(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    target: Option<usize>,
) -> PyResult<bool> {
    if fine::has_landed(frame)?
        || with(|step| step.instructions) == Some(true)
        || !may_stop(frame, code)?
    {
        return Ok(false);
    }
    let py = frame.py();
    stop(frame, "line", py.None().bind(py))?;
    hit::pass_next(probes::follow(frame, code, target)?);
    Ok(true)
}

/// Whether what runs next in `frame` is an end of the step of this thread.
fn may_stop(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let wanted = with(|step| match step.lines {
        Lines::Nowhere => false,
        Lines::InTargets => step.targets.contains(&address(frame)),
        Lines::Anywhere => true,
    });
    if wanted != Some(true) {
        return Ok(false);
    }
    let anywhere = with(|step| step.lines == Lines::Anywhere) == Some(true);
    Ok(!(anywhere
        && (skips(code) || walk::is_dormant(frame)? || walk::called_for_condition(frame)?)))
}

/// A frame starts, or a generator goes on.
pub(crate) fn entered(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<()> {
    if fine::is_the_call(frame)? {
        return go_on(std::slice::from_ref(frame), Lines::InTargets);
    }
    let anywhere = with(|step| step.lines == Lines::Anywhere) == Some(true);
    if anywhere && !skips(code) && !walk::is_dormant(frame)? && !walk::called_for_condition(frame)?
    {
        fine::trace_instructions(frame)?;
        return arm(code, ENTERED);
    }
    Ok(())
}

/// Whether the leaving of `frame` would move the step of this thread on.
pub(crate) fn is_target(frame: &Bound<'_, PyAny>) -> bool {
    with(|step| step.targets.contains(&address(frame))) == Some(true)
}

/// A generator, coroutine or asynchronous generator yields.
pub(crate) fn yielded(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if !is_target(frame) || walk::is_dormant(frame)? {
        return Ok(());
    }
    let into = with(|step| step.lines == Lines::Anywhere) == Some(true);
    if into && !walk::suspends(frame, code, value)? {
        return walk::consume(frame);
    }
    if into {
        // The event loop and other tasks are no part of the step.
        go_on(std::slice::from_ref(frame), Lines::InTargets)?;
    }
    vanishing::await_end(frame)
}

/// A frame returns a value, or is left by an exception (without one).
pub(crate) fn left(frame: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    if !is_target(frame) {
        return Ok(());
    }
    if let Some(value) = value {
        note(frame, value)?;
    }
    if let Some(value) = value
        && with(|step| step.returns) == Some(true)
    {
        return while_leaving(frame, || stop(frame, "return", value));
    }
    walk::leave(frame)
}

/// An exception reached a frame.
pub(crate) fn raised(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let wanted = with(|step| step.exceptions && step.lines != Lines::Nowhere) == Some(true);
    if !wanted || crate::exceptions::is_ordinary(exception) {
        return Ok(());
    }
    let anywhere = with(|step| step.lines == Lines::Anywhere) == Some(true);
    let concerned = if anywhere {
        !skips(code) && !walk::is_dormant(frame)?
    } else {
        is_target(frame)
    };
    if concerned && !in_line::evaluates(frame)? && !walk::called_for_condition(frame)? {
        stop(frame, "exception", exception)?;
    }
    Ok(())
}

/// Calls `stop` for a frame that is about to leave: a step that begins then goes on behind it.
pub(crate) fn while_leaving(
    frame: &Bound<'_, PyAny>,
    stop: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    let before = LEAVING.replace(address(frame));
    let stopped = stop();
    LEAVING.set(before);
    stopped
}

/// Ends the step of this thread in a stop.
fn stop(frame: &Bound<'_, PyAny>, event: &str, argument: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = frame.py();
    let Some(mut step) = STEP.take() else {
        return Ok(());
    };
    finish(py, &mut step)?;
    figures::deliver(event);
    let _returned = returned::offer(step.values.take());
    let called = hit::call_quietly(py, "callback of a step", || {
        step.on_stop.call1(py, (frame, event, argument)).map(drop)
    });
    symbols::store_locals(frame);
    called
}

/// Adds the functions of this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(step, module)?)?;
    module.add_function(wrap_pyfunction!(cancel_step, module)?)?;
    Ok(())
}
