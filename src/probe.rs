//! The constant that a probe loads, and what its truth value costs.
//!
//! A hit is the truth test of a [`Probe`]: one slot call, without arguments, frame or tuple.
//! A probe never changes: it is made for one code object and the breakpoints that stood on its
//! line then. What can change is in the breakpoints it shares: whether they are armed.
//! A panic of ours stops at the edge of the slot and never reaches the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::breakpoint::{Breakpoint, Kind, Tier};
use crate::hit;

/// What the code at one line of one code object loads and tests.
#[pyclass(frozen, module = "dapper._engine")]
pub(crate) struct Probe {
    pub(crate) breakpoints: Box<[Arc<Breakpoint>]>,
    pub(crate) function: Arc<str>,
    pub(crate) line: u32,
    pub(crate) tier: Tier,
    /// Where the code object is in that of its module: indices into successive `co_consts`.
    pub(crate) path: Arc<[u32]>,
}

#[pymethods]
impl Probe {
    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        self.fire(py)?;
        Ok(true)
    }

    /// A code object is pickled by value in some programs: what reads it has no probe, but the
    /// `None` that stands for one in a variant.
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyType>, ()) {
        (py.None().into_bound(py).get_type(), ())
    }

    fn __repr__(&self) -> String {
        format!("<dapper probe at line {} of {}>", self.line, self.function)
    }
}

impl Probe {
    /// One hit of each armed breakpoint of the line, in the frame that runs.
    pub(crate) fn fire(&self, py: Python<'_>) -> PyResult<()> {
        self.pass(py, hit::take_passed())
    }

    /// As [`Probe::fire`], but nothing stops when a step has `stopped` at the line already.
    pub(crate) fn pass(&self, py: Python<'_>, stopped: bool) -> PyResult<()> {
        for breakpoint in &self.breakpoints {
            if !breakpoint.is_armed() {
                continue;
            }
            if breakpoint.request.kind == Kind::Count && !hit::ATTENTIVE.load(Ordering::Relaxed) {
                breakpoint.count();
                continue;
            }
            let hit = AssertUnwindSafe(|| hit::dispatch(py, self, breakpoint, stopped));
            catch_unwind(hit).unwrap_or_else(|_| {
                hit::tell_once("a hit was lost to an error of dapper's own");
                Ok(())
            })?;
        }
        Ok(())
    }
}
