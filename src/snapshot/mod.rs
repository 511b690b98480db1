//! What a program looks like at a hit, recorded without stopping it.
//!
//! [`take`] is called in the thread that was hit; it reads the stack, the local variables and
//! whatever was evaluated, as bounded text ([`present`]), leaves out what names say is secret
//! ([`redact`]), and leaves nothing behind in the frames ([`stack`]). A [`Snapshot`] goes through
//! the log: one line of JSON, or one line of text where messages are text.
//!
//! ```json
//! {"event":"snapshot","time":"...","pid":41,"file":"/srv/app.py","line":7,"function":"save",
//!  "breakpoint":3,"hits":12,"thread":"MainThread","thread_id":1403,"task":null,
//!  "stack":[{"file":"...","line":7,"function":"save","locals":{"x":"1"}}],
//!  "expressions":[{"expression":"x + 1","value":"2"}],"truncated":false}
//! ```

mod capture;
mod options;
mod present;
mod python;
mod redact;
pub(crate) mod slots;
mod stack;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use pyo3::prelude::*;
use serde::Serialize;

use crate::ffi::prove;
use crate::interpreter;
use crate::log;
use present::Presenter;
use stack::Frame;

pub(crate) use capture::Capture;
pub(crate) use options::{CaptureOptions, deserialize};
pub(crate) use python::register;

/// Proves the layout of frames, so that nothing but the snapshot itself runs at a hit; where it
/// cannot be proved, `f_locals` is what variables are read from.
pub(crate) fn prepare(py: Python<'_>) {
    if let Ok(interpreter) = interpreter::current(py) {
        let _ = prove::prove(py, interpreter.version.minor());
    }
}

/// A capture of one breakpoint, and how often it was made.
#[derive(Debug)]
pub(crate) struct Capturing {
    capture: Arc<Capture>,
    taken: AtomicU64,
}

impl Capturing {
    /// Nothing is taken yet.
    pub(crate) fn new(capture: Arc<Capture>) -> Self {
        Self {
            capture,
            taken: AtomicU64::new(0),
        }
    }

    /// What is recorded.
    pub(crate) fn capture(&self) -> &Capture {
        &self.capture
    }

    /// How many snapshots were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether no more are taken.
    pub(crate) fn is_spent(&self) -> bool {
        self.taken() >= self.capture.max_count
    }

    /// Counts from nothing again.
    pub(crate) fn reset(&self) {
        self.taken.store(0, Ordering::Relaxed);
    }

    /// Claims one of the snapshots that may be taken, and tells which one.
    fn claim(&self) -> Option<u64> {
        let most = self.capture.max_count;
        let more = |taken: u64| (taken < most).then(|| taken + 1);
        let claimed = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        claimed.ok().map(|before| before + 1)
    }
}

/// Where a snapshot is taken.
pub(crate) struct Place<'a> {
    /// The file, as its breakpoint names it.
    pub(crate) file: &'a str,
    /// The line of the probe.
    pub(crate) line: u32,
    /// `co_qualname` of the code that holds the probe.
    pub(crate) function: &'a str,
    /// The breakpoint's id.
    pub(crate) breakpoint: u64,
    /// How often it was hit.
    pub(crate) hits: u64,
}

/// One evaluated expression.
#[derive(Serialize)]
struct Evaluated {
    expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What was recorded.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    event: &'static str,
    time: String,
    pid: u32,
    file: String,
    line: u32,
    function: String,
    breakpoint: u64,
    hits: u64,
    thread: Option<String>,
    thread_id: u64,
    task: Option<String>,
    stack: Vec<Frame>,
    expressions: Vec<Evaluated>,
    /// Whether something was left out for lack of room or time.
    truncated: bool,
    /// Whether its breakpoint takes no more.
    #[serde(skip)]
    pub(crate) is_last: bool,
}

/// The value of an expression, or what it raised; the outer error is the program's.
pub(crate) type Value<'py> = PyResult<Result<Bound<'py, PyAny>, String>>;

/// Records the frame that was hit; none when the breakpoint has taken all that it may.
///
/// `evaluate` is called for each expression of the capture, with its number.
pub(crate) fn take<'py>(
    py: Python<'py>,
    capturing: &Capturing,
    frame: &Bound<'py, PyAny>,
    place: &Place<'_>,
    mut evaluate: impl FnMut(usize, &str) -> Value<'py>,
) -> PyResult<Option<Snapshot>> {
    let Some(number) = capturing.claim() else {
        return Ok(None);
    };
    let time = log::time_stamp(SystemTime::now());
    let capture = capturing.capture();
    let mut presenter = Presenter::new(capture, Instant::now().checked_add(capture.time_budget));
    let thread = log::running_thread(py);
    let mut expressions = Vec::new();
    for (index, expression) in capture.expressions.iter().enumerate() {
        if presenter.is_over() {
            break;
        }
        let (value, error) = match evaluate(index, expression)? {
            Ok(value) => (Some(presenter.named(expression, &value)), None),
            Err(error) => (None, Some(presenter.plain(error))),
        };
        expressions.push(Evaluated {
            expression: expression.clone(),
            value,
            error,
        });
    }
    let stack = stack::walk(
        frame,
        capture.stack_depth,
        capture.frames_with_locals,
        capture.max_items,
        &mut presenter,
    );
    if let Some(error) = presenter.leaving.take() {
        return Err(error);
    }
    Ok(Some(Snapshot {
        event: "snapshot",
        time,
        pid: std::process::id(),
        file: place.file.to_owned(),
        line: place.line,
        function: place.function.to_owned(),
        breakpoint: place.breakpoint,
        hits: place.hits,
        thread: thread.name,
        thread_id: thread.id,
        task: task::running(py),
        stack,
        expressions,
        truncated: presenter.cut,
        is_last: number == capture.max_count,
    }))
}

impl Snapshot {
    /// Hands it to the log.
    pub(crate) fn send(&self) {
        log::send_event(self, || self.to_string());
    }
}

impl std::fmt::Display for Snapshot {
    /// One line: the place, what was evaluated, and the variables of the frame that was hit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (file, line, function) = (&self.file, self.line, &self.function);
        write!(f, "snapshot {file}:{line} {function}:")?;
        for row in &self.expressions {
            let expression = on_one_line(&row.expression);
            match (&row.value, &row.error) {
                (Some(value), _) => write!(f, " {expression}={}", on_one_line(value))?,
                (None, error) => {
                    let error = on_one_line(error.as_deref().unwrap_or_default());
                    write!(f, " {expression}=<error: {error}>")?;
                }
            }
        }
        let locals = self.stack.first().and_then(|frame| frame.locals.as_ref());
        for (name, value) in locals.iter().flat_map(|locals| &locals.0) {
            write!(f, " {name}={}", on_one_line(value))?;
        }
        Ok(())
    }
}

/// A text whose ends of lines are shown: the program's own `__repr__` and its errors may have some.
fn on_one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}
