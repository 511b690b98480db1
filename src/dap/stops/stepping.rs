//! Going on from a stop: steps, and what stops at their end.

use std::sync::{Arc, Weak};

use pyo3::prelude::*;
use serde::Deserialize;

use super::{mine, step_targets};
use crate::dap::parked::{Stride, Why, park};
use crate::dap::protocol::{Refusal, Request};
use crate::dap::session::{self, Session};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::pause::Asked;
use crate::step::{self, Mode, Wish};

/// Called at the end of a step.
#[pyclass(frozen, module = "dapper._engine")]
struct StepEnd {
    /// Whose step it is: one of a client that has left stops for nobody.
    session: Weak<Session>,
}

#[pymethods]
impl StepEnd {
    fn __call__(
        &self,
        frame: &Bound<'_, PyAny>,
        _event: &str,
        _argument: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let current = session::current();
        if current.is_none_or(|session| Arc::as_ptr(&session) != self.session.as_ptr()) {
            return Ok(());
        }
        let py = frame.py();
        let returned = step::take_returned().into_iter();
        let returned = returned.map(|(name, value)| (name, value.into_bound(py)));
        park(
            frame,
            Why {
                reason: "step",
                returned: returned.collect(),
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
        mine::is_mine(code).map(|mine| !mine)
    }
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(in crate::dap) fn prepare(py: Python<'_>) {
    py.get_type::<StepEnd>();
    py.get_type::<Library>();
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepArguments {
    granularity: Option<Granularity>,
    target_id: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Granularity {
    /// The interpreter tells of lines; a line is what it tells of several statements.
    Statement,
    Line,
    Instruction,
}

/// The step that a request asks for.
pub(in crate::dap) fn stride(request: &Request, mode: Mode) -> Result<Stride, Refusal> {
    let wanted: StepArguments = request.arguments()?;
    let mut stride = Stride::lines(mode);
    // The caller goes on within its line, which may have more calls to step into.
    stride.instructions = mode == Mode::Out || wanted.granularity == Some(Granularity::Instruction);
    if let Some(target) = wanted.target_id.filter(|_| mode == Mode::Into) {
        (stride.depth, stride.call) = step_targets::meant(target);
    }
    Ok(stride)
}

/// Begins a step of this thread, which its client has asked for at its stop in `frame`.
pub(in crate::dap) fn begin(
    session: &Arc<Session>,
    frame: &Bound<'_, PyAny>,
    stride: Stride,
) -> PyResult<()> {
    if session.is_over() {
        return Ok(());
    }
    let py = frame.py();
    let mut from = frame.clone();
    let mut depth = 0;
    while depth < stride.depth {
        let back = from.getattr(name!("f_back"))?;
        if back.is_none() {
            break;
        }
        // Frames that are not shown have no number.
        depth += usize::from(!mine::hides(&tracing::code_of(&back)));
        from = back;
    }
    let skip = Some(Py::new(py, Library)?.into_any());
    let end = StepEnd {
        session: Arc::downgrade(session),
    };
    let wish = Wish {
        mode: stride.mode,
        instructions: stride.instructions,
        call: stride.call,
        values: session.settings().show_return_value,
        on_stop: Py::new(py, end)?.into_any(),
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
            is_pause: true,
            ..Why::default()
        },
    )
}
