//! The constant that a probe loads, and what its truth value costs.
//!
//! A hit is the truth test of a [`Probe`]: one slot call, without arguments, frame or tuple.
//! A probe never changes: it is made for one code object and the breakpoints that stood on its
//! line then. What can change is in the breakpoints it shares: whether they are armed.
//! What the breakpoints evaluate is compiled for the code object, and kept here: a compiled
//! expression refers to nothing of the program.
//! A panic of ours stops at the edge of the slot and never reaches the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::breakpoint::{Breakpoint, Tier};
use crate::condition::Evaluators;
use crate::hit::{self, Due, Verdict};

/// What the code at one line of one code object loads and tests.
#[pyclass(frozen, module = "dapper._engine")]
pub(crate) struct Probe {
    pub(crate) breakpoints: Box<[Arc<Breakpoint>]>,
    pub(crate) function: Arc<str>,
    pub(crate) line: u32,
    pub(crate) tier: Tier,
    /// Where the code object is in that of its module: indices into successive `co_consts`.
    pub(crate) path: Arc<[u32]>,
    /// What is evaluated out of line, for each breakpoint; made at the first hit.
    evaluators: OnceLock<Box<[Evaluators]>>,
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
    /// A probe for one line of one code object.
    pub(crate) fn new(
        breakpoints: Box<[Arc<Breakpoint>]>,
        function: Arc<str>,
        line: u32,
        tier: Tier,
        path: Arc<[u32]>,
    ) -> Self {
        Self {
            breakpoints,
            function,
            line,
            tier,
            path,
            evaluators: OnceLock::new(),
        }
    }

    /// One hit of each armed breakpoint of the line, in the frame that runs.
    pub(crate) fn fire(&self, py: Python<'_>) -> PyResult<()> {
        self.pass(py, hit::take_passed())
    }

    /// As [`Probe::fire`], but nothing stops when a step has `stopped` at the line already.
    ///
    /// Every condition is evaluated before anything happens for one of them.
    pub(crate) fn pass(&self, py: Python<'_>, stopped: bool) -> PyResult<()> {
        if let [breakpoint] = &*self.breakpoints {
            if let Some(due) = self.judge(py, 0, breakpoint)? {
                self.carry_out(py, due, stopped)?;
            }
            return Ok(());
        }
        let mut all_due = Vec::new();
        for (index, breakpoint) in self.breakpoints.iter().enumerate() {
            all_due.extend(self.judge(py, index, breakpoint)?);
        }
        for due in all_due {
            self.carry_out(py, due, stopped)?;
        }
        Ok(())
    }

    /// Counts the pass of one breakpoint; what is to be done, if anything.
    fn judge<'a>(
        &'a self,
        py: Python<'_>,
        index: usize,
        breakpoint: &'a Arc<Breakpoint>,
    ) -> PyResult<Option<Due<'a>>> {
        if !breakpoint.is_armed() {
            return Ok(None);
        }
        if breakpoint.request.only_counts() && !hit::is_attentive() {
            breakpoint.figures.count_hit();
            return Ok(None);
        }
        let judge = || hit::judge(py, breakpoint, || self.evaluators_of(index), Verdict::Open);
        contained(judge, None)
    }

    fn carry_out(&self, py: Python<'_>, due: Due<'_>, stopped: bool) -> PyResult<()> {
        contained(|| hit::carry_out(py, self, due, stopped), ())
    }

    fn evaluators_of(&self, index: usize) -> &Evaluators {
        let all = self.evaluators.get_or_init(|| {
            let requests = self
                .breakpoints
                .iter()
                .map(|breakpoint| &breakpoint.request);
            requests.map(Evaluators::of).collect()
        });
        &all[index]
    }
}

/// Keeps a panic of ours from the program.
fn contained<T>(action: impl FnOnce() -> PyResult<T>, otherwise: T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|_| {
        hit::tell_once("a hit was lost to an error of dapper's own");
        Ok(otherwise)
    })
}
