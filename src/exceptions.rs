//! Exception breakpoints: stops at exceptions that are raised, that leave user code, or that
//! nobody catches.
//!
//! Owns the filters and the callback. On 3.12 and later the interpreter reports exceptions alone,
//! so that a program in which nothing is raised costs nothing. On 3.11 `raised` and
//! `user_unhandled` need the trace function of every thread, which is slow; `uncaught` uses
//! `sys.excepthook` and `threading.excepthook`, which go on to what they replaced.
//! An exception is reported once for each time it is raised, not for each frame that it passes.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{
    PyGeneratorExit, PyRuntimeError, PyStopAsyncIteration, PyStopIteration, PySystemExit,
    PyValueError,
};
use pyo3::prelude::*;

use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::scoped::tool::{self, Events, Owner};
use crate::scoped::{figures, tracer};
use crate::{excepthook, hit, in_line, step, user_code};

/// Whether a `SystemExit` that nobody catches is reported as "uncaught".
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Exits {
    /// Where that costs nothing.
    pub(crate) where_free: bool,
    /// Also where every thread has to be traced for it.
    pub(crate) everywhere: bool,
}

/// What is asked for.
#[expect(clippy::struct_excessive_bools, reason = "each is a filter of its own")]
struct Filters {
    exits: bool,
    raised: bool,
    uncaught: bool,
    user_unhandled: bool,
    on_exception: Py<PyAny>,
    is_user: Option<Py<PyAny>>,
}

static FILTERS: Mutex<Option<Arc<Filters>>> = Mutex::new(None);
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Whether the trace function has to see exceptions.
static TRACED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The exception that has just left a frame, by address: its caller meets it next.
    static UNWINDING: Cell<usize> = const { Cell::new(0) };
    /// The exception that the trace function met last, until the next line.
    static CURRENT: RefCell<Option<(usize, Py<PyAny>)>> = const { RefCell::new(None) };
}

fn filters() -> Option<Arc<Filters>> {
    if hit::in_callback() {
        return None;
    }
    FILTERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Whether any exception is to be reported.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Whether every thread has to be traced for it.
pub(crate) fn are_traced() -> bool {
    TRACED.load(Ordering::Relaxed)
}

/// Whether an exception is how iteration and generators end.
pub(crate) fn is_ordinary(exception: &Bound<'_, PyAny>) -> bool {
    exception.is_instance_of::<PyStopIteration>()
        || exception.is_instance_of::<PyGeneratorExit>()
        || exception.is_instance_of::<PyStopAsyncIteration>()
}

/// Chooses the exceptions that call `on_exception(frame, exception, filter)`; none without filters
/// or without a callback.
///
/// `raised` and `user_unhandled` slow every line of the program on 3.11, and nothing on later
/// versions.
#[pyfunction]
#[pyo3(signature = (filters, on_exception, *, is_user=None))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python sequences are extracted into vectors"
)]
pub(crate) fn set_exception_breakpoints(
    py: Python<'_>,
    filters: Vec<String>,
    on_exception: Option<Py<PyAny>>,
    is_user: Option<Py<PyAny>>,
) -> PyResult<()> {
    choose_filters(py, &filters, on_exception, is_user, Exits::default())
}

/// As [`set_exception_breakpoints`], and what is to be known of exits.
pub(crate) fn choose_filters(
    py: Python<'_>,
    filters: &[String],
    on_exception: Option<Py<PyAny>>,
    is_user: Option<Py<PyAny>>,
    exits: Exits,
) -> PyResult<()> {
    const NAMES: [&str; 3] = ["raised", "uncaught", "user_unhandled"];
    if let Some(name) = filters.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(PyValueError::new_err(format!(
            "filter {name:?} is not one of \"raised\", \"uncaught\", \"user_unhandled\""
        )));
    }
    let [raised, uncaught, user_unhandled] =
        NAMES.map(|name| filters.iter().any(|filter| filter == name));
    let wanted = on_exception
        .filter(|_| !filters.is_empty())
        .map(|on_exception| {
            Arc::new(Filters {
                exits: uncaught
                    && (exits.everywhere || (exits.where_free && tool::is_available(py))),
                raised,
                uncaught,
                user_unhandled,
                on_exception,
                is_user,
            })
        });
    if let Err(reason) = choose(py, wanted)? {
        choose(py, None)?.ok();
        return Err(PyRuntimeError::new_err(reason));
    }
    Ok(())
}

fn choose(py: Python<'_>, wanted: Option<Arc<Filters>>) -> PyResult<Result<(), String>> {
    let active = wanted.is_some();
    let has = |which: fn(&Filters) -> bool| wanted.as_deref().is_some_and(which);
    let raised = has(|filters| filters.raised);
    let traced = raised || has(|filters| filters.user_unhandled || filters.exits);
    let uncaught = has(|filters| filters.uncaught);
    let mut guard = FILTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::replace(&mut *guard, wanted);
    drop(guard);
    drop(before);
    ACTIVE.store(active, Ordering::Relaxed);
    if tool::is_available(py) {
        let mut events = Events::NONE;
        if active {
            events = events.with(Events::UNWIND);
        }
        if raised {
            events = events.with(Events::RAISE);
        }
        return tool::demand_everywhere(py, Owner::Exceptions, events);
    }
    excepthook::set(py, uncaught)?;
    TRACED.store(traced, Ordering::Relaxed);
    if traced {
        return tracer::require(py);
    }
    tracer::refresh(py).map(Ok)
}

impl Filters {
    fn call(
        &self,
        frame: Option<&Bound<'_, PyAny>>,
        exception: &Bound<'_, PyAny>,
        filter: &str,
    ) -> PyResult<()> {
        let py = exception.py();
        let arguments = (frame, exception, filter);
        figures::deliver("exception");
        let called = hit::call_quietly(py, "exception callback", || {
            self.on_exception.call1(py, arguments).map(drop)
        });
        if let Some(frame) = frame {
            crate::ffi::symbols::store_locals(frame);
        }
        called
    }

    fn is_user(&self, code: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(is_user) = &self.is_user else {
            return user_code::is_user(code);
        };
        let py = code.py();
        let mut user = false;
        hit::call_quietly(py, "predicate for user code", || {
            user = is_user.call1(py, (code,))?.is_truthy(py)?;
            Ok(())
        })?;
        Ok(user)
    }
}

/// An exception reached `frame`, where it was raised or on its way out.
pub(crate) fn raised(frame: &Bound<'_, PyAny>, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let traceback = exception.getattr(name!("__traceback__"))?;
    raised_with(frame, exception, &traceback)
}

fn raised_with(
    frame: &Bound<'_, PyAny>,
    exception: &Bound<'_, PyAny>,
    traceback: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some(filters) = filters() else {
        return Ok(());
    };
    // An exception that has left a frame has more of a traceback than the frame that it is in.
    let passes = UNWINDING.take() == exception.as_ptr() as usize
        && !traceback.is_none()
        && !traceback.getattr(name!("tb_next"))?.is_none();
    if filters.raised && !passes && !is_ordinary(exception) && !in_line::runs_for_condition(frame)?
    {
        filters.call(Some(frame), exception, "raised")?;
    }
    Ok(())
}

/// An exception is about to leave `frame`.
pub(crate) fn left(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    exception: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some(filters) = filters() else {
        return Ok(());
    };
    UNWINDING.set(exception.as_ptr() as usize);
    let exits = exception.is_instance_of::<PySystemExit>();
    if exits && !filters.exits {
        return Ok(());
    }
    let py = frame.py();
    let caller = frame.getattr(name!("f_back"))?;
    let caller = (!caller.is_none()).then_some(caller);
    let last = match &caller {
        Some(caller) => user_code::ends_a_thread(caller)?,
        None => !user_code::is_import_system(code)?,
    };
    if filters.uncaught && last && (exits || tool::is_available(py)) {
        return report_uncaught(&filters, exception);
    }
    if exits {
        return Ok(());
    }
    if !filters.user_unhandled || is_ordinary(exception) || !filters.is_user(code)? {
        return Ok(());
    }
    if let Some(caller) = caller
        && filters.is_user(&tracing::code_of(&caller))?
    {
        return Ok(());
    }
    if in_line::runs_for_condition(frame)? {
        return Ok(());
    }
    step::while_leaving(frame, || {
        filters.call(Some(frame), exception, "user_unhandled")
    })
}

/// An exception that nobody caught.
pub(crate) fn uncaught(exception: &Bound<'_, PyAny>) -> PyResult<()> {
    match filters() {
        Some(filters) if filters.uncaught => report_uncaught(&filters, exception),
        _ => Ok(()),
    }
}

/// Reports with the frame that raised: those of the traceback are all that is left.
fn report_uncaught(filters: &Filters, exception: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut traceback = exception.getattr(name!("__traceback__"))?;
    let mut frame = None;
    while !traceback.is_none() {
        frame = Some(traceback.getattr(name!("tb_frame"))?);
        traceback = traceback.getattr(name!("tb_next"))?;
    }
    filters.call(frame.as_ref(), exception, "uncaught")
}

/// As [`raised`], from the trace function, which is not told what leaves a frame.
pub(crate) fn raised_here(
    frame: &Bound<'_, PyAny>,
    exception: &Bound<'_, PyAny>,
    traceback: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if !are_traced() {
        return Ok(());
    }
    let current = Some((frame.as_ptr() as usize, exception.clone().unbind()));
    drop(CURRENT.replace(current));
    raised_with(frame, exception, traceback)
}

/// As [`left`], from the trace function.
pub(crate) fn left_by_current(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<()> {
    match CURRENT.take() {
        Some((within, exception)) if within == frame.as_ptr() as usize => {
            left(frame, code, exception.bind(frame.py()))
        }
        _ => Ok(()),
    }
}

/// Forgets the exception that the trace function met last: a line runs, so it was caught.
pub(crate) fn forget_current() {
    if are_traced() {
        drop(CURRENT.take());
    }
}

/// Adds the functions of this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_exception_breakpoints, module)?)
}
