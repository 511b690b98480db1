//! The constant that a probe loads, and what its truth value costs.
//!
//! A hit is the truth test of a [`Probe`]: one slot call, without arguments, frame or tuple.
//! A probe never changes: it is made for one code object and the breakpoints that stood on its
//! line then. What can change is in the breakpoints it shares: whether they are armed.
//! What the breakpoints evaluate is compiled for the code object, and kept here: a compiled
//! expression refers to nothing of the program.
//! A panic of ours stops at the edge of the slot and never reaches the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use instrument::Role;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};

use crate::breakpoint::{Breakpoint, Tier};
use crate::condition::{self, Evaluators};
use crate::ffi::name::name;
use crate::hit::{self, Due, Verdict};
use crate::{metering, owned, pending};

/// What the code at one line of one code object loads and tests.
#[pyclass(frozen, module = "dapper._engine")]
pub(crate) struct Probe {
    pub(crate) breakpoints: Box<[Arc<Breakpoint>]>,
    pub(crate) function: Arc<str>,
    pub(crate) line: u32,
    pub(crate) tier: Tier,
    /// Where the code object is in that of its module: indices into successive `co_consts`.
    pub(crate) path: Arc<[u32]>,
    /// What the code around it has done when it asks.
    role: Role,
    /// Whether it acts, where its breakpoint is an owned one.
    awake: AtomicBool,
    /// What is evaluated out of line, for each breakpoint; made at the first hit.
    evaluators: OnceLock<Box<[Evaluators]>>,
}

/// The probes that this very code object holds.
pub(crate) fn probes_of<'py>(
    code: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = Bound<'py, Probe>>> {
    let constants = code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?;
    let constants = constants.into_iter();
    Ok(constants.filter_map(|constant| constant.cast_into().ok()))
}

#[pymethods]
impl Probe {
    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        match self.role {
            Role::Hit => self.fire(py)?,
            Role::Compiled { message: false } => self.held(py)?,
            Role::Compiled { message: true } => return self.wants_message(py),
            Role::Meter => metering::begin(&self.breakpoints[0]),
            Role::Pass => owned::begin_pass(py, &self.breakpoints[0], !self.keeps_out())?,
        }
        Ok(true)
    }

    /// Takes what the line hands over: the exception of a condition, a message, or nothing where
    /// what is metered ends.
    fn __contains__(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = item.py();
        if item.is_none() {
            metering::end(&self.breakpoints[0]);
        } else if item.is_instance_of::<PyBaseException>() {
            self.raised(py, PyErr::from_value(item.clone()))?;
        } else if let Ok(text) = item.cast::<PyString>() {
            self.tell(py, &text.to_string_lossy())?;
        }
        Ok(true)
    }

    /// The text that stands for a field of a message which raised.
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __getitem__(&self, error: &Bound<'_, PyAny>) -> PyResult<String> {
        let py = error.py();
        let error = PyErr::from_value(error.clone());
        if condition::leaves_program(py, &error) {
            return Err(error);
        }
        Ok(condition::failed_field(py, &error))
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
            role: Role::Hit,
            awake: AtomicBool::new(false),
            evaluators: OnceLock::new(),
        }
    }

    /// The same for code that has done something when it asks; `counted` when it meters, too.
    pub(crate) fn with_role(self, role: Role, counted: bool) -> Self {
        if role != Role::Hit && !counted {
            let counting = self.breakpoints.iter().filter(|point| !point.is_owned());
            counting.for_each(|breakpoint| breakpoint.figures.leave_uncounted());
        }
        Self { role, ..self }
    }

    /// Whether it asks for a hit of these breakpoints, if their condition holds.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self.role, Role::Meter | Role::Pass) && self.owned().is_none()
    }

    /// The owned breakpoint that it is for, if it is for one.
    pub(crate) fn owned(&self) -> Option<&Breakpoint> {
        match &*self.breakpoints {
            [breakpoint] if breakpoint.is_owned() => Some(breakpoint),
            _ => None,
        }
    }

    /// Has a probe of an owned breakpoint act or sleep; whether it asks at its hits now. One whose
    /// condition is not compiled in sleeps on.
    pub(crate) fn wake(&self, on: bool) -> bool {
        let on = on && self.role != Role::Hit;
        self.awake.store(on, Ordering::Relaxed);
        on && self.role != Role::Pass
    }

    /// Whether a line hands it what its condition raises.
    pub(crate) fn takes_condition(&self) -> bool {
        let has_condition = self.breakpoints[0].request.condition.is_some();
        has_condition && matches!(self.role, Role::Compiled { .. })
    }

    /// Whether it counts the passes of an owned breakpoint.
    pub(crate) fn begins_pass(&self) -> bool {
        self.role == Role::Pass
    }

    /// Whether its breakpoint is an owned one that does not act here and now.
    fn keeps_out(&self) -> bool {
        self.owned().is_some_and(|breakpoint| {
            !(self.awake.load(Ordering::Relaxed) && owned::acts(breakpoint))
        })
    }

    /// Whether a hit is none for its owned breakpoint.
    fn is_left_out(&self, py: Python<'_>) -> PyResult<bool> {
        if self.owned().is_none() {
            return Ok(false);
        }
        Ok(self.keeps_out() || owned::take_left_out(py)?)
    }

    /// Whether the code that `frame` runs will ask at the pass of the line that is beginning.
    pub(crate) fn will_ask(&self, frame: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (Role::Compiled { .. }, true) = (self.role, self.asks()) else {
            return Ok(self.asks());
        };
        let evaluators = self.evaluators_of(0);
        evaluators.prepare(frame);
        condition::holds(frame, evaluators)
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

    /// A pass at which the condition held in the line.
    fn held(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_left_out(py)? {
            return Ok(());
        }
        let stopped = hit::take_passed();
        let breakpoint = &self.breakpoints[0];
        metering::end(breakpoint);
        if !hit::is_attentive() {
            if !breakpoint.is_armed() {
                return Ok(());
            }
            breakpoint.figures.count_held();
            return match self.tally(0, breakpoint)? {
                Some(due) => self.carry_out(py, due, stopped),
                None => Ok(()),
            };
        }
        match self.judge_in_line(py, Verdict::Held)? {
            Some(due) => self.carry_out(py, due, stopped),
            None => Ok(()),
        }
    }

    /// As [`Probe::held`]; whether the line is to make the message.
    fn wants_message(&self, py: Python<'_>) -> PyResult<bool> {
        hit::take_passed();
        metering::end(&self.breakpoints[0]);
        let Some(due) = self.judge_in_line(py, Verdict::Held)? else {
            return Ok(false);
        };
        pending::begin(&self.breakpoints[0], due.hits());
        Ok(true)
    }

    /// The message of the pass whose message was wanted.
    fn tell(&self, py: Python<'_>, text: &str) -> PyResult<()> {
        let breakpoint = &self.breakpoints[0];
        let hits = pending::end(breakpoint);
        let due = Due::of_message(breakpoint, hits, text);
        self.carry_out(py, due, false)
    }

    /// The condition raised in the line.
    fn raised(&self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        if condition::leaves_program(py, &error) {
            return Err(error);
        }
        if self.is_left_out(py)? {
            return Ok(());
        }
        metering::end(&self.breakpoints[0]);
        match self.judge_in_line(py, Verdict::Raised(error))? {
            Some(due) => self.carry_out(py, due, hit::take_passed()),
            None => Ok(()),
        }
    }

    /// Judges a pass of the one breakpoint whose condition is in the line.
    fn judge_in_line(&self, py: Python<'_>, verdict: Verdict) -> PyResult<Option<Due<'_>>> {
        let breakpoint = &self.breakpoints[0];
        if !breakpoint.is_armed() {
            return Ok(None);
        }
        let judge = || hit::judge(py, breakpoint, || self.evaluators_of(0), verdict);
        contained(judge, None)
    }

    /// Counts the pass of one breakpoint; what is to be done, if anything.
    fn judge<'a>(
        &'a self,
        py: Python<'_>,
        index: usize,
        breakpoint: &'a Arc<Breakpoint>,
    ) -> PyResult<Option<Due<'a>>> {
        // An owned one acts where its condition is compiled in.
        if !breakpoint.is_armed() || breakpoint.is_owned() {
            return Ok(None);
        }
        let request = &breakpoint.request;
        if request.condition.is_none() && !hit::is_attentive() {
            return self.tally(index, breakpoint);
        }
        let judge = || hit::judge(py, breakpoint, || self.evaluators_of(index), Verdict::Open);
        contained(judge, None)
    }

    /// Counts a hit while nobody records any and no callback runs: mostly, there is no more to it.
    fn tally<'a>(
        &'a self,
        index: usize,
        breakpoint: &'a Arc<Breakpoint>,
    ) -> PyResult<Option<Due<'a>>> {
        let Some(hits) = breakpoint.count_hit() else {
            return Ok(None);
        };
        if !breakpoint.request.acts() {
            return Ok(None);
        }
        let due = || hit::let_through(breakpoint, hits, || self.evaluators_of(index));
        contained(|| Ok(Some(due())), None)
    }

    fn carry_out(&self, py: Python<'_>, due: Due<'_>, stopped: bool) -> PyResult<()> {
        contained(|| hit::carry_out(py, self, due, stopped), ())
    }

    /// What is evaluated out of line for one of its breakpoints.
    pub(crate) fn evaluators_for(&self, breakpoint: &Arc<Breakpoint>) -> Option<&Evaluators> {
        let is_it = |other: &Arc<Breakpoint>| Arc::ptr_eq(other, breakpoint);
        let index = self.breakpoints.iter().position(is_it)?;
        Some(self.evaluators_of(index))
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
