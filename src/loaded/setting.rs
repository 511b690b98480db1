//! How variants get to run in this process: what the interpreter allows, and what the user chose.
//!
//! Without proved layouts functions are bound by assigning `__code__` and nothing else is touched;
//! an enabled JIT counts as that, because it takes for granted what would be changed behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::breakpoint::Tier;
use crate::ffi::layout::Layout;
use crate::ffi::name::name;
use crate::ffi::{self, extra, function, prove, swap};
use crate::interpreter;
use crate::scoped::Backend;

static PROMOTION: AtomicBool = AtomicBool::new(true);
static WATCHING: AtomicBool = AtomicBool::new(true);
static BACKEND: Mutex<Backend> = Mutex::new(Backend::EvalFrame);

/// How breakpoints reach code.
pub(crate) fn backend() -> Backend {
    *BACKEND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chooses how breakpoints reach code; true when that is a change.
pub(super) fn choose(backend: Backend) -> bool {
    let mut chosen = BACKEND.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *chosen, backend) != backend
}

/// Whether functions come to hold variants.
pub(super) fn promotes() -> bool {
    PROMOTION.load(Ordering::Relaxed)
}

/// Chooses whether functions come to hold variants; true when that is a change.
pub(super) fn promote(on: bool) -> bool {
    PROMOTION.swap(on, Ordering::Relaxed) != on
}

/// Chooses whether frames that run already are watched; true when that is a change.
pub(super) fn watch_frames(on: bool) -> bool {
    WATCHING.swap(on, Ordering::Relaxed) != on
}

/// Why frames cannot be given other code in this process, if they cannot.
#[pyfunction]
pub(crate) fn eval_frame_refusal(py: Python<'_>) -> Option<String> {
    let minor = match interpreter::current(py) {
        Ok(interpreter) => interpreter.version.minor(),
        Err(reason) => return Some(reason.to_owned()),
    };
    if interpreter::jit_enabled(py) {
        return Some("the JIT of this interpreter is on: frames cannot be swapped".to_owned());
    }
    prove::prove(py, minor).err()
}

/// How variants get to run in this process.
pub(super) struct Setting {
    /// The layouts, where they are proved and nothing relies on the code staying what it is.
    pub(super) layout: Option<&'static Layout>,
    pub(super) minor: u8,
    pub(super) promotion: bool,
    pub(super) backend: Backend,
    /// Whether frames that no variant reaches any more are watched.
    pub(super) watches_frames: bool,
}

impl Setting {
    pub(super) fn new(py: Python<'_>) -> Result<Self, String> {
        let minor = interpreter::current(py)?.version.minor();
        let layout = prove::prove(py, minor);
        let promotion = promotes();
        let backend = backend();
        if backend == Backend::EvalFrame
            && !promotion
            && let Some(reason) = eval_frame_refusal(py)
        {
            return Err(reason);
        }
        Ok(Self {
            layout: layout.ok().filter(|_| !interpreter::jit_enabled(py)),
            minor,
            promotion,
            backend,
            watches_frames: WATCHING.load(Ordering::Relaxed),
        })
    }

    pub(super) fn tier(&self) -> Tier {
        if self.backend != Backend::EvalFrame {
            Tier::Tracing
        } else if self.promotion {
            Tier::Bound
        } else {
            Tier::Entry
        }
    }

    /// Whether functions of `original` are not to be touched.
    pub(super) fn keeps_original(&self, original: &Bound<'_, PyAny>) -> bool {
        if self.promotion {
            return false;
        }
        // Where calls of a class enter `__init__` behind the hook's back, only the function helps.
        let behind = self
            .layout
            .is_some_and(|layout| layout.init_enters_unhooked);
        !behind
            || original
                .getattr(name!("co_name"))
                .and_then(|name| name.eq("__init__"))
                .is_ok_and(|is_init| !is_init)
    }

    pub(super) fn set_code(
        &self,
        function: &Bound<'_, PyAny>,
        code: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        function::set_code(function, code, self.layout)
    }

    /// Has `code` make functions of `inner` from now on. Without proved layouts it goes on making
    /// functions of what it held.
    pub(super) fn relink(
        &self,
        code: &Bound<'_, PyAny>,
        index: usize,
        inner: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match self.layout {
            Some(layout) => ffi::consts::relink(code, index, inner, layout),
            None => Ok(()),
        }
    }

    pub(super) fn swap_at_entry(
        &self,
        original: &Bound<'_, PyAny>,
        variant: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if let Some(layout) = self.layout {
            swap::reserve(original, variant, layout);
        }
        extra::set_variant(original, Some(variant)).map_err(unavailable)
    }
}

pub(super) fn unavailable(reason: String) -> PyErr {
    PyRuntimeError::new_err(reason)
}
