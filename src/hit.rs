//! What happens when a probe of an armed breakpoint is reached.
//!
//! Owns the rule that nothing hits while a callback or a condition runs in the same thread. A pass
//! is judged first ([`judge`]: condition, count, hit rule) and what is due is done then
//! ([`carry_out`]): the record, the message, the snapshot, the stop. A count that nobody records
//! never comes here.
//! A callback is called straight from the probe, so the frame below it is the program's own.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::allowance::Pass;
use crate::breakpoint::{Breakpoint, Kind};
use crate::callback::callback_of;
use crate::condition::{self, Evaluators, Outcome};
use crate::events::{self, HitFacts};
use crate::ffi::name::name;
use crate::ffi::{self, tracing};
use crate::handle::Handle;
use crate::log;
use crate::meter::{Activity, Span};
use crate::probe::Probe;
use crate::snapshot;
use crate::telemetry::{self, ReasonCode};
use crate::tell::tell_first;
pub(crate) use crate::tell::{tell, tell_first_of, tell_once};
use crate::thread_info;

/// Whether hits are recorded.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// How long callbacks that run at the end of the program are waited for.
const MOMENTS: usize = 40;
const MOMENT: Duration = Duration::from_millis(5);

/// How many callbacks and evaluations run in all threads.
static CALLBACKS_RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Whether the interpreter is about to be taken down.
static ENDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread takes the interpreter down.
    static ENDS_INTERPRETER: Cell<bool> = const { Cell::new(false) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    /// How many of the next probes of the thread stand where a step has stopped already.
    static PASSED: Cell<u32> = const { Cell::new(0) };
}

/// What a callback is told about a hit.
#[pyclass(frozen, module = "dapper")]
pub(crate) struct Hit {
    /// The breakpoint that was hit.
    #[pyo3(get)]
    breakpoint: Py<Handle>,
    /// The frame of the program that reached the probe.
    #[pyo3(get)]
    frame: Py<PyAny>,
    /// The line of the probe.
    #[pyo3(get)]
    line: u32,
    /// `co_qualname` of the code that holds the probe.
    #[pyo3(get)]
    function: String,
    /// How often the breakpoint was hit, this hit included.
    #[pyo3(get)]
    hits: u64,
    /// What the condition raised, if that is why it stops.
    #[pyo3(get)]
    error: Option<Py<PyAny>>,
}

#[pymethods]
impl Hit {
    /// A list of hits in a frame that called the one that was hit is a cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.frame)?;
        visit.call(&self.error)
    }

    fn __repr__(&self) -> String {
        let file = self.breakpoint.get().0.file();
        format!(
            "<Hit {} of {file}:{} in {}>",
            self.hits, self.line, self.function
        )
    }
}

impl Hit {
    /// The number of the breakpoint that was hit.
    pub(crate) fn id(&self) -> u64 {
        self.breakpoint.get().0.id
    }

    /// The frame of the program that reached the probe.
    pub(crate) fn frame<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.frame.bind(py)
    }

    /// What the condition raised, if that is why it stops.
    pub(crate) fn error<'py>(&self, py: Python<'py>) -> Option<&Bound<'py, PyAny>> {
        self.error.as_ref().map(|error| error.bind(py))
    }
}

/// Whether a callback runs in this thread, and nothing hits.
pub(crate) fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Has so many of the next probes of this thread not stop: a step stopped at their line in this
/// very pass.
pub(crate) fn pass_next(probes: u32) {
    PASSED.set(probes);
}

/// Whether a step stopped at this pass of the probe that is reached; asked once.
pub(crate) fn take_passed() -> bool {
    if IN_CALLBACK.get() || PASSED.get() == 0 {
        return false;
    }
    PASSED.set(PASSED.get() - 1);
    true
}

/// What is known of the condition of a breakpoint when a pass is judged.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Nothing: it is evaluated out of line, if there is one.
    Open,
    /// It held.
    Held,
    /// It raised.
    Raised(PyErr),
}

/// What a pass of a breakpoint asks for.
pub(crate) struct Due<'a> {
    breakpoint: &'a Arc<Breakpoint>,
    evaluators: Option<&'a Evaluators>,
    pass: Pass,
    hits: u64,
    error: Option<PyErr>,
    /// Measures until what is due is done.
    _span: Span,
    /// The message, where the line has made it.
    message: Option<Arc<str>>,
}

impl<'a> Due<'a> {
    /// A hit whose message was made in the line.
    pub(crate) fn of_message(breakpoint: &'a Arc<Breakpoint>, hits: u64, text: &str) -> Self {
        Self {
            breakpoint,
            evaluators: None,
            pass: Pass::unmeasured(),
            hits,
            error: None,
            message: Some(text.into()),
            _span: Span::of(Activity::Hit),
        }
    }

    /// The number of the hit.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }
}

/// Counts a pass of an armed breakpoint, and tells what is to be done, if its condition and its
/// hit rule let it through.
///
/// A condition that raises is no hit: it does not count, and it stops where its breakpoint would.
pub(crate) fn judge<'a>(
    py: Python<'_>,
    breakpoint: &'a Arc<Breakpoint>,
    evaluators: impl FnOnce() -> &'a Evaluators,
    verdict: Verdict,
) -> PyResult<Option<Due<'a>>> {
    if IN_CALLBACK.get() {
        return Ok(None);
    }
    let span = Span::of(Activity::Hit);
    let request = &breakpoint.request;
    let pass = Pass::begin(breakpoint);
    let evaluators = request.evaluates().then(evaluators);
    let outcome = match (verdict, evaluators) {
        (Verdict::Open, Some(evaluators)) => {
            let Some(frame) = tracing::current_frame(py) else {
                return Ok(None);
            };
            evaluators.prepare(&frame);
            let evaluate = || condition::evaluate(&frame, breakpoint, evaluators);
            pass.measure(breakpoint, evaluate)?
        }
        (Verdict::Open, None) => Outcome::Held,
        (Verdict::Held, _) => {
            breakpoint.figures.count_held();
            Outcome::Held
        }
        (Verdict::Raised(error), _) => {
            condition::count_error(py, breakpoint, &error);
            Outcome::Raised(error)
        }
    };
    let due = |hits, error| Due {
        breakpoint,
        evaluators,
        pass,
        hits,
        error,
        _span: span,
        message: None,
    };
    Ok(match outcome {
        Outcome::Failed => None,
        Outcome::Raised(error) => {
            let stops = request.kind == Kind::Stop;
            stops.then(|| due(breakpoint.hits(), Some(error)))
        }
        Outcome::Held => breakpoint.count_hit().map(|hits| due(hits, None)),
    })
}

/// What a counted hit asks for that the hit rule let through.
pub(crate) fn let_through<'a>(
    breakpoint: &'a Arc<Breakpoint>,
    hits: u64,
    evaluators: impl FnOnce() -> &'a Evaluators,
) -> Due<'a> {
    Due {
        breakpoint,
        evaluators: breakpoint.request.evaluates().then(evaluators),
        pass: Pass::begin(breakpoint),
        hits,
        error: None,
        message: None,
        _span: Span::of(Activity::Hit),
    }
}

/// Does what a pass asks for; `stopped` when a step has stopped there already.
pub(crate) fn carry_out(
    py: Python<'_>,
    probe: &Probe,
    due: Due<'_>,
    stopped: bool,
) -> PyResult<()> {
    let breakpoint = due.breakpoint;
    let message = match (&breakpoint.request.message, due.evaluators) {
        _ if due.message.is_some() => due.message.clone(),
        (Some(_), Some(evaluators)) => match tracing::current_frame(py) {
            Some(frame) => {
                let render = || condition::message(&frame, breakpoint, evaluators);
                Some(due.pass.measure(breakpoint, render)?)
            }
            None => None,
        },
        (message, _) => message.as_ref().map(|message| Arc::clone(&message.plain)),
    };
    let error = due
        .error
        .as_ref()
        .map(|error| condition::describe(py, error));
    let hit = HitFacts {
        hits: due.hits,
        message: message.as_deref(),
        error: error.as_deref(),
    };
    let recorded = !breakpoint.is_owned() && events::record_hit(probe, breakpoint, &hit);
    let kind = breakpoint.request.kind;
    if kind == Kind::Log && !recorded {
        let record = log::Record {
            file: &breakpoint.file(),
            line: probe.line,
            function: &probe.function,
            breakpoint: breakpoint.id,
            message: message.as_deref().unwrap_or_default(),
        };
        log::send(py, &record);
    }
    // What raised in a condition is no hit.
    if due.error.is_none() {
        capture(py, probe, breakpoint, due.hits)?;
    }
    if kind == Kind::Stop && !stopped {
        return stop(py, probe, due);
    }
    Ok(())
}

/// Records a snapshot of the frame that runs, if the breakpoint asks for one.
fn capture(py: Python<'_>, probe: &Probe, breakpoint: &Arc<Breakpoint>, hits: u64) -> PyResult<()> {
    let Some(capturing) = &breakpoint.capturing else {
        return Ok(());
    };
    if capturing.is_spent() {
        return Ok(());
    }
    let (Some(frame), Some(evaluators)) =
        (tracing::current_frame(py), probe.evaluators_for(breakpoint))
    else {
        return Ok(());
    };
    let file = breakpoint.file();
    let place = snapshot::Place {
        file: &file,
        line: probe.line,
        function: &probe.function,
        breakpoint: breakpoint.id,
        hits,
    };
    evaluators.prepare(&frame);
    let taken = Pass::each().measure(breakpoint, || {
        snapshot::take(py, capturing, &frame, &place, |index, _| {
            condition::captured_part(&frame, evaluators, index)
        })
    })?;
    let Some(taken) = taken else {
        return Ok(());
    };
    if !events::record_snapshot(&taken) {
        taken.send();
    }
    if taken.is_last {
        tell(&format!(
            "{file}:{} has recorded {} snapshots, and records no more (max_count)",
            probe.line,
            capturing.taken()
        ));
    }
    Ok(())
}

fn stop(py: Python<'_>, probe: &Probe, due: Due<'_>) -> PyResult<()> {
    if ENDING.load(Ordering::Relaxed) && !ENDS_INTERPRETER.get() {
        return Ok(());
    }
    let breakpoint = due.breakpoint;
    let Some(callback) = callback_of(py, breakpoint.id) else {
        return Ok(());
    };
    thread_info::count_stop();
    // Called from native code, so frame 0 is the one that reached the probe.
    let frame = py
        .import("sys")?
        .call_method1(name!("_getframe"), (0,))?
        .unbind();
    let handle = Py::new(py, Handle(Arc::clone(breakpoint)))?;
    let function = probe.function.to_string();
    let hit = Hit {
        breakpoint: handle,
        frame: frame.clone_ref(py),
        line: probe.line,
        function,
        hits: due.hits,
        error: due.error.map(|error| error.into_value(py).into_any()),
    };
    let subject = format!("callback of breakpoint {}", breakpoint.id);
    let result = call_quietly(py, &subject, || {
        let _span = Span::of(Activity::Callback);
        callback.call(py, hit)
    });
    ffi::symbols::store_locals(frame.bind(py));
    result
}

/// Keeps the threads that outlive the program out of callbacks, and lets those finish that run.
///
/// Up to 3.13 a thread that asks for the GIL of an interpreter that is going down is unwound,
/// which native code below its callback does not survive. A callback that waits for something
/// goes on waiting; those that run are given a moment.
#[pyfunction]
fn end_callbacks(py: Python<'_>) {
    ENDS_INTERPRETER.set(true);
    ffi::exit::watch_the_beginning();
    ENDING.store(true, Ordering::Relaxed);
    for _ in 0..MOMENTS {
        if CALLBACKS_RUNNING.load(Ordering::Relaxed) == 0 {
            break;
        }
        py.detach(|| std::thread::sleep(MOMENT));
    }
    ffi::attach::close(py);
}

/// Has [`end_callbacks`] run after all that the program wants to run at its end.
pub(crate) fn expect_the_end(py: Python<'_>) -> PyResult<()> {
    let atexit = py.import("atexit")?;
    let end = wrap_pyfunction!(end_callbacks, &atexit)?;
    atexit.call_method1(name!("register"), (end,))?;
    Ok(())
}

/// Calls something of the user's in which nothing hits.
///
/// An error is not the program's and is told once for each subject; leaving the program
/// (`SystemExit`, `KeyboardInterrupt`) is what the callback wants for it.
pub(crate) fn call_quietly(
    py: Python<'_>,
    subject: &str,
    call: impl FnOnce() -> PyResult<()>,
) -> PyResult<()> {
    let result = {
        let _quiet = Quiet::enter();
        call()
    };
    match result {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            telemetry::record(ReasonCode::CallbackFailed, format!("{subject}: {error}"));
            if tell_first(subject) {
                tell(&format!("error in the {subject}:"));
                error.display(py);
            }
            Ok(())
        }
        result => result,
    }
}

/// While it lives, nothing hits in this thread.
pub(crate) struct Quiet {
    outer: bool,
}

impl Quiet {
    pub(crate) fn enter() -> Self {
        let outer = IN_CALLBACK.replace(true);
        CALLBACKS_RUNNING.fetch_add(1, Ordering::Relaxed);
        Self { outer }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        IN_CALLBACK.set(self.outer);
        CALLBACKS_RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether plain counts have to come here too: hits are recorded, or a callback is running.
pub(crate) fn is_attentive() -> bool {
    RECORDING.load(Ordering::Relaxed) || CALLBACKS_RUNNING.load(Ordering::Relaxed) > 0
}

/// Looks again whether hits are recorded, after that changed.
pub(crate) fn refresh_attention() {
    RECORDING.store(events::is_open(), Ordering::Relaxed);
}

/// Keeps an error of our own from the program: only what leaves it (`SystemExit`,
/// `KeyboardInterrupt`) goes on into it.
pub(crate) fn spare<T>(py: Python<'_>, event: PyResult<T>, otherwise: T) -> PyResult<T> {
    match event {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            if !ffi::exit::is_finalizing() {
                tell_once(&format!("an event was lost: {error}"));
            }
            Ok(otherwise)
        }
        event => event,
    }
}
