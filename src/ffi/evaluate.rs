//! Code of ours that runs in the middle of the program's: unseen, in a namespace, interruptible.
//!
//! Owns [`Unseen`], which keeps trace functions, profilers and monitoring tools of the thread from
//! what runs while it lives, and the two functions of the interpreter that safe code cannot call.
//! Relies on `PyThreadState_EnterTracing`, by which the interpreter marks a thread that runs a
//! trace function: no event is sent for such a thread, in any version.

use std::ffi::{c_long, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi::{self, PyThreadState};
use pyo3::prelude::*;

use super::symbols::address;

type ChangeTracing = unsafe extern "C" fn(*mut PyThreadState);

/// While it lives, this thread sends no trace, profile or monitoring events.
pub(crate) struct Unseen<'py> {
    leave: Option<ChangeTracing>,
    _attached: Python<'py>,
}

impl<'py> Unseen<'py> {
    /// Begins to hide what runs; without effect where the interpreter does not export the means.
    pub(crate) fn enter(py: Python<'py>) -> Self {
        static SYMBOLS: OnceLock<Option<(ChangeTracing, ChangeTracing)>> = OnceLock::new();
        let symbols = SYMBOLS.get_or_init(|| {
            let enter = address(c"PyThreadState_EnterTracing").ok()?;
            let leave = address(c"PyThreadState_LeaveTracing").ok()?;
            // SAFETY: CPython 3.11 to 3.15 declare both functions with this signature.
            let change = |at| unsafe { std::mem::transmute::<*mut c_void, ChangeTracing>(at) };
            Some((change(enter), change(leave)))
        });
        if let Some((enter, _)) = symbols {
            // SAFETY: `py` shows that the thread is attached, so it has a state.
            let state = unsafe { ffi::PyThreadState_Get() };
            // SAFETY: it is the state of this thread, which `drop` changes back.
            unsafe { enter(state) };
        }
        let leave = symbols.map(|(_, leave)| leave);
        Self {
            leave,
            _attached: py,
        }
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        if let Some(leave) = self.leave {
            // SAFETY: the token in it shows that the thread is attached, so it has a state.
            let state = unsafe { ffi::PyThreadState_Get() };
            // SAFETY: `enter` was called for this thread: the token of its attachment never
            // leaves it.
            unsafe { leave(state) };
        }
    }
}

/// Evaluates a code object without arguments; names are looked up in `locals`, then in `globals`.
///
/// Unlike `eval` it leaves no `__builtins__` behind in `globals`.
pub(crate) fn in_namespace<'py>(
    code: &Bound<'py, PyAny>,
    globals: &Bound<'py, PyAny>,
    locals: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: callers pass a code object without free variables, a dict and a mapping; the
    // function takes no reference of ours.
    let value = unsafe { ffi::PyEval_EvalCode(code.as_ptr(), globals.as_ptr(), locals.as_ptr()) };
    // SAFETY: it returns a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(code.py(), value) }
}

/// Has an exception of this class raised in a thread, the next time it runs bytecode.
///
/// `thread` is what `threading.get_ident` says there.
pub(crate) fn interrupt(_attached: Python<'_>, thread: u64, exception: &Bound<'_, PyAny>) {
    let thread = thread.cast_signed() as c_long;
    // SAFETY: the thread is attached; the interpreter takes its own reference to the class, and
    // a thread that is gone is passed over.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread, exception.as_ptr()) };
}

/// Has `forked` set in every process that is forked from now on; the first one given stays.
pub(crate) fn mark_forks(forked: &'static AtomicBool) {
    static FORKED: OnceLock<&'static AtomicBool> = OnceLock::new();
    extern "C" fn in_child() {
        if let Some(forked) = FORKED.get() {
            forked.store(true, Ordering::Relaxed);
        }
    }
    if FORKED.set(forked).is_ok() {
        #[cfg(unix)]
        // SAFETY: the handler only stores into a static, which a forked child may do.
        unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        }
    }
}
