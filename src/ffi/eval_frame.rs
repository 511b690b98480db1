//! A PEP 523 hook that waits for one module frame and may change the code that it runs.
//!
//! Owns the installed hook: at most one awaited globals dictionary at a time, compared by address
//! on every frame entry without allocating, locking or calling Python.
//! The swap happens in place: a fresh frame of the thread's data stack gets another code object
//! and instruction pointer, and more room when the other code needs more stack.
//! Relies on the layouts of [`super::layout`], and on [`super::prove`] having swapped a frame of its own
//! before anything else is swapped in this process.

use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::{self, PyObject, PyThreadState};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::layout::{Layout, Reference};
use super::prove::prove;
use super::symbols::{EvalFrame, EvalFrameSymbols, InterpreterFrame};

/// What to do with a module frame that runs in the awaited globals.
pub(crate) enum Choice {
    /// It is not the awaited one: leave it alone and go on waiting.
    Wait,
    /// Leave it alone and stop waiting.
    Original,
    /// Run this code object instead and stop waiting.
    Replace(Py<PyAny>),
}

/// The decisions that belong to the caller of [`await_frame`].
#[derive(Clone, Copy)]
pub(crate) struct Decision {
    /// Chooses by the code object that the frame is about to run.
    pub(crate) choose: fn(&Bound<'_, PyAny>) -> Choice,
    /// Told whether a replacement was put in place, and else why not.
    pub(crate) replaced: fn(Python<'_>, Result<(), &'static str>),
}

struct Awaited {
    layout: &'static Layout,
    symbols: EvalFrameSymbols,
    previous: EvalFrame,
    decision: Decision,
}

/// The awaited globals; null while nothing is awaited. Keeps the reference alive.
static GLOBALS: AtomicPtr<PyObject> = AtomicPtr::new(std::ptr::null_mut());
/// The rest of what the hook needs; a leaked box, freed when the wait ends.
static AWAITED: AtomicPtr<Awaited> = AtomicPtr::new(std::ptr::null_mut());

/// Waits for the first frame of module-level code that runs in `globals`.
pub(crate) fn await_frame(
    globals: &Bound<'_, PyDict>,
    minor: u8,
    decision: Decision,
) -> Result<(), String> {
    let layout = prove(globals.py(), minor)?;
    install(globals, layout, decision)
}

/// Stops waiting and takes the hook away, if it is still the installed one.
pub(crate) fn cancel(py: Python<'_>) {
    let awaited = AWAITED.swap(std::ptr::null_mut(), Ordering::Relaxed);
    let globals = GLOBALS.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if awaited.is_null() {
        return;
    }
    // SAFETY: the pointer came from `Box::into_raw` in `install` and was just taken out of the
    // only place that holds it; the GIL keeps the hook itself from reading it meanwhile.
    let awaited = unsafe { Box::from_raw(awaited) };
    // SAFETY: the thread is attached, so it has a current interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the symbol was found under this name, and `interpreter` is the current one.
    let current = unsafe { (awaited.symbols.get)(interpreter) };
    if std::ptr::fn_addr_eq(current, entry as EvalFrame) {
        // SAFETY: as above; `previous` is the function that this hook replaced.
        unsafe { (awaited.symbols.set)(interpreter, awaited.previous) };
    }
    // SAFETY: `install` gave this reference away to `GLOBALS`.
    drop(unsafe { Bound::from_owned_ptr(py, globals) });
}

/// Whether any eval-frame function other than the interpreter's own is installed.
pub(crate) fn is_hooked(_py: Python<'_>) -> bool {
    let Ok(symbols) = EvalFrameSymbols::find() else {
        return false;
    };
    // SAFETY: the thread is attached, so it has a current interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the symbol was found under this name, and `interpreter` is the current one.
    let current = unsafe { (symbols.get)(interpreter) };
    !std::ptr::fn_addr_eq(current, symbols.default)
}

pub(super) fn install(
    globals: &Bound<'_, PyDict>,
    layout: &'static Layout,
    decision: Decision,
) -> Result<(), String> {
    if !AWAITED.load(Ordering::Relaxed).is_null() {
        return Err("another module frame is being awaited".to_owned());
    }
    let symbols = EvalFrameSymbols::find().map_err(missing)?;
    // SAFETY: the thread is attached, so it has a current interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the symbol was found under this name, and `interpreter` is the current one.
    let previous = unsafe { (symbols.get)(interpreter) };
    let awaited = Awaited {
        layout,
        symbols,
        previous,
        decision,
    };
    AWAITED.store(Box::into_raw(Box::new(awaited)), Ordering::Relaxed);
    GLOBALS.store(globals.clone().unbind().into_ptr(), Ordering::Relaxed);
    // SAFETY: as above; `entry` has the signature of an eval-frame function.
    unsafe { (symbols.set)(interpreter, entry) };
    Ok(())
}

fn missing(symbol: &'static str) -> String {
    format!("this interpreter does not export {symbol}")
}

/// The hook. Called by the interpreter, attached, for every frame entry and generator resume.
unsafe extern "C" fn entry(
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    throwing: c_int,
) -> *mut PyObject {
    let awaited = AWAITED.load(Ordering::Relaxed);
    if awaited.is_null() {
        // INVARIANT: the hook is taken away together with `AWAITED`; only another tool that had
        // saved it can still call it, and then the interpreter's own evaluator is right.
        // SAFETY: the arguments are passed on unchanged.
        return unsafe { ffi_default()(thread, frame, throwing) };
    }
    // SAFETY: a non-null `AWAITED` is a live box; the GIL is held, so nobody frees it here.
    let previous = unsafe { (*awaited).previous };
    // SAFETY: as above.
    let layout = unsafe { (*awaited).layout };
    // SAFETY: `frame` is a live interpreter frame of this version, with its globals at that offset.
    let globals = unsafe { word(frame, layout.frame.globals) };
    if throwing == 0 && globals == GLOBALS.load(Ordering::Relaxed) as usize {
        // SAFETY: as above; `decision` is copied out because the box may be freed meanwhile.
        let decision = unsafe { (*awaited).decision };
        meet(thread, frame, layout, decision);
    }
    // SAFETY: `previous` is an eval-frame function and gets the arguments of this one; the frame
    // is as the interpreter made it, or consistently swapped.
    unsafe { previous(thread, frame, throwing) }
}

fn ffi_default() -> EvalFrame {
    // INVARIANT: installing the hook already found the symbols in this process.
    EvalFrameSymbols::find()
        .expect("the eval-frame symbols were found before")
        .default
}

fn meet(
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    layout: &'static Layout,
    decision: Decision,
) {
    let Some(code) = fresh_module_code(frame, layout) else {
        return;
    };
    Python::attach(|py| {
        // SAFETY: `code` is what the frame is about to run, so it is a live code object.
        let code = unsafe { Bound::from_borrowed_ptr(py, code) };
        match (decision.choose)(&code) {
            Choice::Wait => {}
            Choice::Original => cancel(py),
            Choice::Replace(replacement) => {
                cancel(py);
                let outcome = swap(py, thread, frame, layout, &code, replacement);
                (decision.replaced)(py, outcome);
            }
        }
    });
}

/// The code of `frame`, if the frame is about to run the first instruction of module-level code.
fn fresh_module_code(frame: *mut InterpreterFrame, layout: &Layout) -> Option<*mut PyObject> {
    let fields = &layout.frame;
    let owner = frame.wrapping_byte_add(fields.owner).cast::<u8>();
    // SAFETY: `frame` is a live interpreter frame of this version.
    let owner = unsafe { owner.read() };
    // SAFETY: as above.
    let locals = unsafe { word(frame, fields.locals) };
    // SAFETY: as above.
    let globals = unsafe { word(frame, fields.globals) };
    // SAFETY: as above.
    let instruction = unsafe { word(frame, fields.instruction) };
    // SAFETY: as above.
    let code = unsafe { word(frame, fields.code) } & !3;
    let fresh = code + layout.code.adaptive - 2 * fields.fresh_lead;
    (owner == 0 && locals == globals && instruction == fresh).then_some(code as *mut PyObject)
}

fn swap(
    py: Python<'_>,
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    layout: &Layout,
    code: &Bound<'_, PyAny>,
    replacement: Py<PyAny>,
) -> Result<(), &'static str> {
    let fields = &layout.frame;
    let pointer = replacement.as_ptr();
    let needed = frame_words(pointer, layout) * size_of::<usize>();
    let base = frame as usize;
    // SAFETY: `thread` is the live thread state that the interpreter passed to the hook.
    let top = unsafe { word(thread, layout.thread.stack_top) };
    // SAFETY: as above.
    let limit = unsafe { word(thread, layout.thread.stack_limit) };
    if base + frame_words(code.as_ptr(), layout) * size_of::<usize>() != top {
        return Err("the frame is not the topmost one of its thread");
    }
    if base + needed > limit {
        return Err("no room on the data stack of the thread");
    }
    // SAFETY: as above.
    let function = unsafe { word(frame, fields.function) } & !3;
    // SAFETY: the frame owns a reference to its function, so the object is alive.
    let function = unsafe { Bound::from_borrowed_ptr(py, function as *mut PyObject) };
    // The trace optimiser of a JIT build takes a function's code for the code of its frame.
    function
        .setattr("__code__", &replacement)
        .map_err(|_| "the function refused the code")?;

    if base + needed > top {
        // SAFETY: the room up to `limit` belongs to this thread and nothing lies above the frame.
        unsafe { write_word(thread, layout.thread.stack_top, base + needed) };
    }
    let first = pointer as usize + layout.code.adaptive - 2 * fields.fresh_lead;
    // SAFETY: `frame` is a live, fresh frame of this version.
    let old = unsafe { word(frame, fields.code) };
    // SAFETY: the frame takes over the reference that `into_ptr` gives up. An untagged word owns
    // its reference in both representations.
    unsafe { write_word(frame, fields.code, replacement.into_ptr() as usize) };
    // SAFETY: `first` is where a fresh frame of the replacement starts.
    unsafe { write_word(frame, fields.instruction, first) };
    let owned = fields.reference == Reference::Strong || old & 1 == 0;
    if owned {
        // SAFETY: the word just overwritten owned this reference.
        drop(unsafe { Bound::from_owned_ptr(py, (old & !3) as *mut PyObject) });
    }
    Ok(())
}

/// How many words a frame of this code object takes.
pub(super) fn frame_words(code: *mut PyObject, layout: &Layout) -> usize {
    let fields = &layout.code;
    if let Some(frame_size) = fields.frame_size {
        return int(code, frame_size);
    }
    layout.frame.localsplus / size_of::<usize>()
        + int(code, fields.n_localsplus)
        + int(code, fields.stack_size)
}

/// A non-negative C `int` field of a code object.
pub(super) fn int(code: *mut PyObject, offset: usize) -> usize {
    let field = code.wrapping_byte_add(offset).cast::<c_int>();
    // SAFETY: callers pass a live code object and an offset of this version's layout.
    let value = unsafe { field.read() };
    usize::try_from(value).unwrap_or(usize::MAX / 64)
}

/// # Safety
/// `base` must point to a live struct that holds an aligned word at `offset`.
pub(super) unsafe fn word<T>(base: *mut T, offset: usize) -> usize {
    let field = base.wrapping_byte_add(offset).cast::<usize>();
    // SAFETY: the caller's contract.
    unsafe { field.read() }
}

/// # Safety
/// `base` must point to a live struct that holds an aligned, writable word at `offset`.
unsafe fn write_word<T>(base: *mut T, offset: usize, value: usize) {
    let field = base.wrapping_byte_add(offset).cast::<usize>();
    // SAFETY: the caller's contract.
    unsafe { field.write(value) };
}
