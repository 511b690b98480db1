//! The trace function of threads, for interpreters and backends without monitoring.
//!
//! Owns the decision which threads are traced: the one that a watched frame runs in, or all of
//! them, present (`PyEval_SetTrace`) and future (`threading.settrace`). A thread that another tool
//! traces is never taken over: then there is a reason. What is not needed any more is taken away
//! at once where the interpreter can do that for one thread, and else at the thread's next event.
//! Relies on `ffi::tracing`, whose native function looks the lines up without touching a frame.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::watches::{self, Means, Traced};
use super::{callbacks, tool};
use crate::callback;
use crate::ffi::name::name;
use crate::ffi::tracing::{self, Event, Thread, Tracer};
use crate::{changes, exceptions, hit, interpreter, pause, step};

/// What `sys.gettrace` shows while we trace; as good as the native function when it is called.
#[pyclass(frozen, module = "dapper._engine")]
struct LineTrace;

#[pymethods]
impl LineTrace {
    /// Called in a thread that got it from `threading.settrace` or `sys.settrace`: there the
    /// native function takes over.
    fn __call__(
        slf: &Bound<'_, Self>,
        frame: &Bound<'_, PyAny>,
        event: &str,
        argument: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if !WANTED.load(Ordering::Relaxed) {
            return tracing::trace_this_thread(None).map_err(refused);
        }
        tracing::trace_this_thread(Some(slf.as_any())).map_err(refused)?;
        if event == "call" {
            return told(frame, Event::Call, Some(argument));
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __repr__(&self) -> &'static str {
        "<dapper trace function>"
    }
}

/// Whether anything is to be traced; a thread that is traced in vain stops it itself.
static WANTED: AtomicBool = AtomicBool::new(false);
/// The threads that are stepping.
static STEPPING: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);
static OBJECT: OnceLock<Py<LineTrace>> = OnceLock::new();

fn object(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    tracing::set_sink(told);
    let object = if let Some(object) = OBJECT.get() {
        object
    } else {
        let fresh = Py::new(py, LineTrace)?;
        OBJECT.get_or_init(|| fresh)
    };
    Ok(object.bind(py).clone().into_any())
}

fn refused(reason: String) -> PyErr {
    pyo3::exceptions::PyRuntimeError::new_err(reason)
}

/// Which threads have to be traced.
enum Need {
    Nothing,
    All,
    Threads(HashSet<u64>),
}

impl Need {
    /// What watched lines, exception breakpoints and steps need.
    fn now(py: Python<'_>) -> PyResult<Self> {
        let alone = !tool::is_available(py);
        if exceptions::are_traced() || (alone && (pause::is_active() || changes::is_active())) {
            return Ok(Self::All);
        }
        let stepping = STEPPING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(match Self::of_watches(py)? {
            Self::All => Self::All,
            Self::Nothing if stepping.is_empty() => Self::Nothing,
            Self::Nothing => Self::Threads(stepping),
            Self::Threads(idents) => Self::Threads(&idents | &stepping),
        })
    }

    fn of_watches(py: Python<'_>) -> PyResult<Self> {
        match watches::traced() {
            Traced::Nothing => Ok(Self::Nothing),
            Traced::Frames(frames) if tracing::can_trace_one_thread() => {
                Ok(running(py, frames)?.map_or(Self::All, Self::Threads))
            }
            Traced::Frames(_) | Traced::Anywhere => Ok(Self::All),
        }
    }

    fn includes(&self, thread: &Thread) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Threads(idents) => idents.contains(&thread.ident),
        }
    }
}

/// The threads that run these frames; nothing when one is on no thread's stack: the frame of a
/// greenlet goes on in whichever thread switches to it.
fn running(py: Python<'_>, frames: Vec<usize>) -> PyResult<Option<HashSet<u64>>> {
    let tops = py.import("sys")?.call_method0(name!("_current_frames"))?;
    let mut missing: HashSet<usize> = frames.into_iter().collect();
    let mut idents = HashSet::new();
    for (ident, top) in tops.cast_into::<PyDict>()? {
        let mut frame = top;
        while !frame.is_none() {
            if missing.remove(&(frame.as_ptr() as usize)) {
                idents.insert(ident.extract()?);
            }
            frame = frame.getattr(name!("f_back"))?;
        }
    }
    Ok(missing.is_empty().then_some(idents))
}

/// Has every thread traced that needs it; the inner error is the reason why one cannot be.
pub(crate) fn require(py: Python<'_>) -> PyResult<Result<(), String>> {
    let need = Need::now(py)?;
    WANTED.store(!matches!(need, Need::Nothing), Ordering::Relaxed);
    let object = object(py)?;
    let threads = match threads(py) {
        Ok(threads) => threads,
        Err(reason) => return Ok(Err(reason)),
    };
    let concerned = || threads.iter().filter(|thread| need.includes(thread));
    if let Some(taken) = concerned().find(|thread| thread.tracer == Tracer::Other) {
        let ident = taken.ident;
        return Ok(Err(format!(
            "another tool traces thread {ident} by sys.settrace"
        )));
    }
    let done = if tracing::can_trace_one_thread() {
        threads.iter().try_for_each(|thread| match thread.tracer {
            Tracer::Nobody if need.includes(thread) => tracing::trace_thread(thread, Some(&object)),
            Tracer::Own if !need.includes(thread) => tracing::trace_thread(thread, None),
            _ => Ok(()),
        })
    } else if concerned().any(|thread| thread.tracer == Tracer::Nobody) {
        tracing::trace_all_threads(Some(&object))
    } else {
        Ok(())
    };
    drop(threads);
    if matches!(need, Need::All) {
        trace_new_threads(py, Some(&object))?;
    }
    Ok(done)
}

/// Has this thread traced while it steps; the inner error is the reason why it cannot be.
pub(crate) fn trace_step(py: Python<'_>) -> PyResult<Result<(), String>> {
    if callback::trace_is_put_aside() {
        return Ok(Err(
            "another tool traces this thread by sys.settrace".to_owned()
        ));
    }
    set_stepping(py, true)?;
    require(py)
}

/// Ends what [`trace_step`] began.
pub(crate) fn end_step(py: Python<'_>) -> PyResult<()> {
    set_stepping(py, false)?;
    refresh(py)
}

fn set_stepping(py: Python<'_>, steps: bool) -> PyResult<()> {
    let ident: u64 = py
        .import("_thread")?
        .call_method0(name!("get_ident"))?
        .extract()?;
    let mut stepping = STEPPING.lock().unwrap_or_else(PoisonError::into_inner);
    if steps {
        stepping.insert(ident);
    } else {
        stepping.remove(&ident);
    }
    Ok(())
}

/// Stops tracing what needs it no more.
pub(crate) fn refresh(py: Python<'_>) -> PyResult<()> {
    let need = Need::now(py)?;
    WANTED.store(!matches!(need, Need::Nothing), Ordering::Relaxed);
    let Ok(threads) = threads(py) else {
        return Ok(());
    };
    if !threads.iter().any(|thread| thread.tracer == Tracer::Own) {
        return Ok(());
    }
    let done = if tracing::can_trace_one_thread() {
        threads
            .iter()
            .filter(|thread| thread.tracer == Tracer::Own && !need.includes(thread))
            .try_for_each(|thread| tracing::trace_thread(thread, None))
    } else if !matches!(need, Need::Nothing) {
        Ok(())
    } else if threads.iter().any(|thread| thread.tracer == Tracer::Other) {
        stop_in_vain(py)
    } else {
        tracing::trace_all_threads(None)
    };
    drop(threads);
    if !matches!(need, Need::All) {
        trace_new_threads(py, None)?;
    }
    done.map_err(refused)
}

fn threads(py: Python<'_>) -> Result<Vec<Thread>, String> {
    let minor = interpreter::current(py)?.version.minor();
    tracing::threads(py, minor)
}

/// Takes our trace function from this thread, if it is there.
fn stop_in_vain(py: Python<'_>) -> Result<(), String> {
    let shown = py
        .import("sys")
        .and_then(|sys| sys.call_method0(name!("gettrace")));
    match shown {
        Ok(shown) if is_own(&shown) => tracing::trace_this_thread(None),
        _ => Ok(()),
    }
}

/// Whether anything is traced now.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Whether this is the trace function that we show.
pub(crate) fn is_own(shown: &Bound<'_, PyAny>) -> bool {
    shown.is_instance_of::<LineTrace>()
}

/// Has this thread traced again after another tool had it for a while.
pub(crate) fn restore(py: Python<'_>) -> PyResult<()> {
    if WANTED.load(Ordering::Relaxed) {
        // A tool that goes on tracing keeps the thread.
        require(py)?.ok();
    }
    Ok(())
}

/// Makes the types of this part before anything is watched: while a type is made for the first
/// time, other threads run.
pub(super) fn prepare(py: Python<'_>) {
    py.get_type::<LineTrace>();
}

/// Gives or takes the trace function of threads that start, unless it is another tool's.
///
/// `threading.settrace` is Python code, in which another thread could get its turn: the variable
/// behind it is set instead.
fn trace_new_threads(py: Python<'_>, object: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let variables = py.import("threading")?.dict();
    let name = "_trace_hook";
    let shown = variables.get_item(name)?;
    let free = shown.as_ref().is_some_and(PyAnyMethods::is_none);
    let own = shown.is_some_and(|shown| shown.is_instance_of::<LineTrace>());
    match object {
        Some(object) if free => variables.set_item(name, object),
        None if own => variables.set_item(name, py.None()),
        _ => Ok(()),
    }
}

/// What the native trace function is told.
fn told(
    frame: &Bound<'_, PyAny>,
    event: Event,
    argument: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    hit::spare(frame.py(), pass_on(frame, event, argument), ())
}

fn pass_on(
    frame: &Bound<'_, PyAny>,
    event: Event,
    argument: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    if !WANTED.load(Ordering::Relaxed) {
        return stop_in_vain(frame.py()).map_err(refused);
    }
    if hit::in_callback() {
        return Ok(());
    }
    let code = tracing::code_of(frame);
    // Where there is monitoring its events move steps on and show exceptions.
    let alone = !tool::is_available(frame.py());
    match event {
        Event::Line => {
            exceptions::forget_current();
            let stopped = if alone {
                step::line(frame, &code, None)?
            } else {
                callbacks::stopped_here(frame)?
            };
            let stopped = stopped || (alone && changes::reached(frame)?);
            if alone && !stopped && pause::is_active() {
                pause::reached(frame)?;
            }
            watches::line(&code, tracing::line_of(frame), Means::Tracing, stopped)?;
        }
        Event::Opcode => {
            if alone {
                step::instruction(frame, &code)?;
            }
        }
        Event::Call if alone => step::entered(frame, &code)?,
        Event::Call => {}
        Event::Return => {
            if alone
                && let Some(value) = argument
                && step::is_called(frame)?
                && !is_yield(frame, &code)?
            {
                step::note(frame, value)?;
            }
            let target = alone && step::is_target(frame);
            let concerned =
                watches::is_watched_in_frames(&code) || target || (alone && changes::is_active());
            match argument {
                Some(value) if concerned && is_yield(frame, &code)? => {
                    if alone {
                        step::yielded(frame, &code, value)?;
                    }
                }
                Some(_) if concerned => {
                    if alone {
                        changes::left(frame)?;
                    }
                    watches::left(&code)?;
                    if alone {
                        step::left(frame, argument)?;
                    }
                }
                Some(_) => {}
                None => {
                    if alone {
                        changes::left(frame)?;
                        exceptions::left_by_current(frame, &code)?;
                    }
                    watches::left(&code)?;
                    if alone {
                        step::left(frame, None)?;
                    }
                }
            }
        }
        Event::Exception => {
            if let Some(argument) = argument.filter(|_| alone) {
                let exception = argument.get_item(1)?;
                exceptions::raised_here(frame, &exception, &argument.get_item(2)?)?;
                step::raised(frame, &code, &exception)?;
            }
        }
    }
    Ok(())
}

/// Whether a return event is a generator that will go on.
fn is_yield(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<bool> {
    static YIELD: PyOnceLock<u8> = PyOnceLock::new();
    let py = frame.py();
    let opcode = YIELD.get_or_try_init(py, || {
        let numbers = py.import("opcode")?.getattr(name!("opmap"))?;
        numbers
            .get_item(PyString::new(py, "YIELD_VALUE"))?
            .extract::<u8>()
    })?;
    let at: usize = frame.getattr(name!("f_lasti"))?.extract()?;
    let units = code.getattr(name!("co_code"))?.cast_into::<PyBytes>()?;
    // 3.13 is at the instruction behind it already; nothing returns right behind a yield.
    let around = [Some(at), at.checked_sub(2)].into_iter().flatten();
    let mut opcodes = around.filter_map(|at| units.as_bytes().get(at));
    Ok(opcodes.any(|found| found == opcode))
}
