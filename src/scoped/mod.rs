//! Lines that are watched where no probe can be compiled in: live frames, code that must stay as
//! it is, and the two backends that change no bytecode.
//!
//! A watched line fires exactly where `sys.settrace` reports a line event. `watches` is the table
//! of what is watched; `tool` and `callbacks` are the `sys.monitoring` tool (3.12 and later),
//! `tracer` is the trace function of threads (3.11, and wherever it is asked for).
//! Nothing is installed while nothing is watched.

mod callbacks;
pub(crate) mod figures;
pub(crate) mod tool;
pub(crate) mod tracer;
mod watches;

use std::sync::Arc;

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::breakpoint::Tier;
use crate::ffi::name::name;
use crate::handle::Handle;
use crate::probe::Probe;
use watches::{Means, Watch};

/// How breakpoints reach code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Probes compiled in; what they cannot reach is watched by the best means there is.
    EvalFrame,
    /// Local events of `sys.monitoring`.
    SysMonitoring,
    /// Trace functions of threads.
    Settrace,
}

impl Backend {
    /// Every backend.
    pub(crate) const ALL: [Self; 3] = [Self::EvalFrame, Self::SysMonitoring, Self::Settrace];

    /// The name that Python uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::EvalFrame => "eval_frame",
            Self::SysMonitoring => "sys_monitoring",
            Self::Settrace => "settrace",
        }
    }

    /// The backend of that name, or a `ValueError` that names them all.
    pub(crate) fn from_name(name: &str) -> PyResult<Self> {
        let found = Self::ALL.into_iter().find(|how| how.as_str() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(|how| format!("{:?}", how.as_str()));
            PyValueError::new_err(format!(
                "backend {name:?} is not one of {}",
                names.join(", ")
            ))
        })
    }

    /// Whether this interpreter has what it takes.
    pub(crate) fn is_available(self, py: Python<'_>) -> bool {
        self.means(py).is_ok()
    }

    fn means(self, py: Python<'_>) -> Result<Means, String> {
        match (self, tool::is_available(py)) {
            (Self::SysMonitoring, false) => {
                Err("this interpreter has no sys.monitoring".to_owned())
            }
            (Self::EvalFrame | Self::SysMonitoring, true) => Ok(Means::Monitoring),
            (Self::EvalFrame, false) | (Self::Settrace, _) => Ok(Means::Tracing),
        }
    }
}

/// Fires `probes` (line, probe) whenever a frame that runs `code`, this very object, reaches the
/// line, by the rule of `sys.settrace`.
///
/// With `frames` (frames, generators, coroutines or asynchronous generators) only those count, and
/// the watch ends by itself when they have left. Replaces an earlier watch of the code object.
/// The inner error is the reason why it cannot be done.
pub(crate) fn watch(
    py: Python<'_>,
    code: &Bound<'_, PyAny>,
    probes: Vec<(u32, Py<Probe>)>,
    frames: Option<Vec<Py<PyAny>>>,
    how: Backend,
) -> PyResult<Result<(), String>> {
    let means = match how.means(py) {
        Ok(means) => means,
        Err(reason) => return Ok(Err(reason)),
    };
    match Watch::new(code, probes, frames, means)? {
        Some(watch) => {
            let put = watches::put(py, watch)?;
            if put.is_ok() {
                figures::WATCHES.fetch_add(1, Ordering::Relaxed);
            }
            Ok(put)
        }
        None => unwatch(py, code).map(Ok),
    }
}

/// Ends the watch of `code`, if there is one.
pub(crate) fn unwatch(py: Python<'_>, code: &Bound<'_, PyAny>) -> PyResult<()> {
    watches::take(py, code.as_ptr() as usize)
}

/// Ends every watch, and takes away what was installed for them.
pub(crate) fn unwatch_all(py: Python<'_>) -> PyResult<()> {
    watches::take_all(py)
}

/// Watches lines of one code object for breakpoints; returns the reason when it cannot be done.
#[pyfunction]
#[pyo3(signature = (code, breakpoints, frames=None, backend="eval_frame"))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python sequences are extracted into vectors"
)]
fn watch_code(
    code: &Bound<'_, PyAny>,
    breakpoints: Vec<(u32, Py<Handle>)>,
    frames: Option<Vec<Py<PyAny>>>,
    backend: &str,
) -> PyResult<Option<String>> {
    let py = code.py();
    let how = Backend::from_name(backend)?;
    let function: String = code.getattr(name!("co_qualname"))?.extract()?;
    let mut probes = Vec::with_capacity(breakpoints.len());
    for (line, breakpoint) in &breakpoints {
        let probe = Probe::new(
            Box::new([breakpoint.get().0.clone()]),
            function.as_str().into(),
            *line,
            Tier::Tracing,
            Arc::from([]),
        );
        probes.push((*line, Py::new(py, probe)?));
    }
    let watched = watch(py, code, probes, frames, how)?;
    for (line, breakpoint) in &breakpoints {
        match &watched {
            Ok(()) => breakpoint.get().0.place(vec![*line], Tier::Tracing),
            Err(reason) => breakpoint.get().0.refuse(reason),
        }
    }
    Ok(watched.err())
}

/// Ends the watch of one code object.
#[pyfunction]
fn unwatch_code(code: &Bound<'_, PyAny>) -> PyResult<()> {
    unwatch(code.py(), code)
}

/// Ends every watch.
#[pyfunction]
#[pyo3(name = "unwatch_all")]
fn unwatch_every_code(py: Python<'_>) -> PyResult<()> {
    unwatch_all(py)
}

/// Adds the functions of this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    tracer::prepare(module.py());
    watches::prepare(module.py());
    module.add_function(wrap_pyfunction!(watch_code, module)?)?;
    module.add_function(wrap_pyfunction!(unwatch_code, module)?)?;
    module.add_function(wrap_pyfunction!(unwatch_every_code, module)?)?;
    Ok(())
}
