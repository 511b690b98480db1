//! What runs after the interpreter (`Py_AtExit`), and at the end of the process (`on_exit`).
//!
//! `atexit` callbacks run before the modules are taken down, and the destructors that run then are
//! still code of the program.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::ffi::{Py_AtExit, Py_IsInitialized};

use super::symbols::address;

static LAST: Mutex<Vec<fn()>> = Mutex::new(Vec::new());

/// Has `action` run when the interpreter is gone, after those given before; false when it cannot.
///
/// `action` may call nothing of Python.
pub(crate) fn after_the_interpreter(action: fn()) -> bool {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `run` has the signature that Py_AtExit takes, and the thread is attached, as
    // everything that calls into this extension is.
    if last.is_empty() && unsafe { Py_AtExit(Some(run)) } != 0 {
        return false;
    }
    last.push(action);
    true
}

/// Whether the interpreter was seen initialized, or has been taken down.
static BEGUN: AtomicBool = AtomicBool::new(false);

fn is_initialized() -> bool {
    // SAFETY: may be called at any time.
    let initialized = unsafe { Py_IsInitialized() != 0 };
    if initialized {
        BEGUN.store(true, Ordering::Relaxed);
    }
    initialized
}

/// Whether the interpreter is being taken down: modules lose their names, and nothing imports.
pub(crate) fn is_finalizing() -> bool {
    !is_initialized() && BEGUN.load(Ordering::Relaxed)
}

/// Whether the interpreter runs code, but has not begun with the program.
pub(crate) fn is_starting() -> bool {
    !is_initialized() && !BEGUN.load(Ordering::Relaxed)
}

/// Has it known that an interpreter which began will not begin again.
pub(crate) fn watch_the_beginning() {
    is_initialized();
}

type OnExit = unsafe extern "C" fn(extern "C" fn(c_int, *mut c_void), *mut c_void) -> c_int;

static LEAVING: Mutex<Vec<fn(i32)>> = Mutex::new(Vec::new());
/// Whether the C library tells the status.
static TOLD: OnceLock<bool> = OnceLock::new();

/// Has `action` run with the exit status when the process exits, the interpreter being gone, before
/// those given earlier; false when the C library cannot tell the status. One that is given again
/// stays where it is.
pub(crate) fn with_the_status(action: fn(i32)) -> bool {
    let mut leaving = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    if !leaving.iter().any(|known| ptr::fn_addr_eq(*known, action)) {
        leaving.push(action);
    }
    drop(leaving);
    *TOLD.get_or_init(ask_to_be_told)
}

fn ask_to_be_told() -> bool {
    let Ok(found) = address(c"on_exit") else {
        return false;
    };
    // SAFETY: where the C library has `on_exit`, it is declared with this signature.
    let on_exit = unsafe { std::mem::transmute::<*mut c_void, OnExit>(found) };
    // SAFETY: `leave` has the signature that on_exit takes, and is there as long as the process:
    // extension modules are not unloaded.
    unsafe { on_exit(leave, ptr::null_mut()) == 0 }
}

extern "C" fn leave(status: c_int, _argument: *mut c_void) {
    leaving(status);
}

/// Does what is to be done with the exit status: the process is about to end without the C library.
pub(crate) fn leaving(status: i32) {
    let actions = LEAVING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for action in actions.into_iter().rev() {
        // A panic must not cross into C; at this point there is nobody left to tell.
        let _ = std::panic::catch_unwind(|| action(status));
    }
}

extern "C" fn run() {
    BEGUN.store(true, Ordering::Relaxed);
    let actions = std::mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner));
    for action in actions {
        // A panic must not cross into C; at this point there is nobody left to tell.
        let _ = std::panic::catch_unwind(action);
    }
}
