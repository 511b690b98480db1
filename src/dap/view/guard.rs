//! Code of the program that runs because the user looks at something.
//!
//! Owns what surrounds it: nothing hits and no tracer sees it, it ends within its time or when the
//! request is cancelled, and whatever it raises, `SystemExit` included, is the answer to the
//! request and never the program's.

use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;

use crate::condition;
use crate::dap::protocol::Refusal;
use crate::ffi::evaluate::Unseen;
use crate::hit::Quiet;
use crate::time_limit::{Limited, TimeLimitExceeded};

/// Runs something of the program's, for at most so long; without a limit until it is cancelled.
pub(super) fn guarded<T>(
    py: Python<'_>,
    limit: Option<Duration>,
    run: impl FnOnce() -> PyResult<T>,
) -> PyResult<T> {
    let (result, cancelled) = {
        let _quiet = Quiet::enter();
        let _unseen = Unseen::enter(py);
        let limited = Limited::within(py, limit)?;
        let result = run();
        let cancelled = limited.is_cancelled();
        limited.finish()?;
        (result, cancelled)
    };
    match result {
        Err(error) if error.is_instance_of::<TimeLimitExceeded>(py) => Err(if cancelled {
            PyKeyboardInterrupt::new_err("cancelled")
        } else {
            let seconds = limit.unwrap_or_default().as_secs_f64();
            PyTimeoutError::new_err(format!("it took longer than {seconds} s"))
        }),
        result => result,
    }
}

/// How long code of the program may run for one request.
#[derive(Debug)]
pub(super) struct Patience {
    each: Duration,
    left: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            each: Duration::from_millis(500),
            left: Duration::from_secs(2),
        }
    }
}

impl Patience {
    /// Runs something of the program's; an error when nothing is left for it.
    pub(super) fn run<T>(
        &mut self,
        py: Python<'_>,
        run: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<T> {
        if self.left.is_zero() {
            return Err(PyRuntimeError::new_err(
                "what was shown before took too long",
            ));
        }
        let began = Instant::now();
        let result = guarded(py, Some(self.each.min(self.left)), run);
        self.left = self.left.saturating_sub(began.elapsed());
        result
    }
}

/// An exception as the last line of its traceback says it.
pub(super) fn last_line(py: Python<'_>, error: &PyErr) -> String {
    let limit = Some(Duration::from_millis(500));
    let described = guarded(py, limit, || Ok(condition::describe(py, error)));
    let mut text = described.unwrap_or_else(|_| "an exception that has no text".to_owned());
    if text.len() > MOST_TEXT {
        let end = (0..=MOST_TEXT).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    text
}

/// How much of an exception's text is told.
const MOST_TEXT: usize = 10_000;

/// What the user's code raised, as the answer to a request.
pub(super) fn refused(py: Python<'_>, error: &PyErr) -> Refusal {
    Refusal::new(last_line(py, error))
}
