//! Going on from a stop: steps, and what stops at their end.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::dap::parked::{Why, park};
use crate::dap::session::Session;
use crate::pause::Asked;
use crate::step::{self, Mode, Wish};
use crate::user_code;

/// Called at the end of a step.
#[pyclass(frozen, module = "dapper._engine")]
struct StepEnd;

#[pymethods]
impl StepEnd {
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __call__(
        &self,
        frame: &Bound<'_, PyAny>,
        event: &str,
        argument: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let returned = (event == "return").then(|| argument.clone());
        park(
            frame,
            Why {
                reason: "step",
                returned,
                ..Why::default()
            },
        )
    }
}

/// Says of a code object whether a step passes through its frames.
#[pyclass(frozen, module = "dapper._engine")]
struct Library;

#[pymethods]
impl Library {
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __call__(&self, code: &Bound<'_, PyAny>) -> PyResult<bool> {
        user_code::is_user(code).map(|user| !user)
    }
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(in crate::dap) fn prepare(py: Python<'_>) {
    py.get_type::<StepEnd>();
    py.get_type::<Library>();
}

/// Begins a step of this thread from the frame `depth` above `frame`.
pub(in crate::dap) fn begin(
    session: &Arc<Session>,
    frame: &Bound<'_, PyAny>,
    mode: Mode,
    depth: usize,
) -> PyResult<()> {
    let py = frame.py();
    let mut from = frame.clone();
    for _ in 0..depth {
        let back = from.getattr(pyo3::intern!(py, "f_back"))?;
        if back.is_none() {
            break;
        }
        from = back;
    }
    let skip = if session.settings().just_my_code {
        Some(Py::new(py, Library)?.into_any())
    } else {
        None
    };
    let wish = Wish {
        mode,
        on_stop: Py::new(py, StepEnd)?.into_any(),
        skip,
        returns: false,
        exceptions: false,
    };
    step::run_on(&from, wish)
}

/// A thread has reached a line while it was to stop.
pub(in crate::dap) fn paused(frame: &Bound<'_, PyAny>, asked: Asked) -> PyResult<()> {
    park(
        frame,
        Why {
            reason: match asked {
                Asked::AtEntry => "entry",
                Asked::Alone | Asked::WithOthers => "pause",
            },
            silent: asked == Asked::WithOthers,
            ..Why::default()
        },
    )
}
