//! The PEP 523 hook: what every frame entry passes while somebody needs it.
//!
//! Owns the installed hook and its two uses: the one module frame that is awaited (compared by
//! the address of its globals), and code objects whose extra slot names a variant to run instead
//! (or, while code is looked for by file, says that the code was looked at already). The common
//! path reads a few words: it allocates nothing, takes no lock and calls no Python.
//! Chains to the hook that was there before, and is taken away only while it is still the one in
//! the slot. Relies on the layouts of [`super::layout`], and on [`super::prove`] having swapped a
//! frame of its own before anything else is swapped in this process.

use crate::ffi::name::name;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::ffi::{self, PyInterpreterState, PyObject, PyThreadState};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::extra::{self, Slot};
use super::layout::Layout;
use super::prove::prove;
use super::swap::{self, word};
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

/// Decides about code that was not met before: given the code and its function, answers with the
/// variant to run, if there is one.
pub(crate) type Meet = fn(&Bound<'_, PyAny>, &Bound<'_, PyAny>) -> Option<Py<PyAny>>;

/// Who needs the hook.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Need {
    /// A module frame is awaited.
    Awaiting = 1,
    /// Code objects carry variants in their extra slot.
    Swapping = 2,
    /// Code is looked for by the file it comes from.
    Meeting = 4,
}

#[derive(Clone, Copy)]
struct Hook {
    layout: &'static Layout,
    symbols: EvalFrameSymbols,
    previous: EvalFrame,
    /// The code extra slot that is ours.
    slot: Option<usize>,
}

/// The installed hook; a leaked box, freed when the hook is taken away.
static HOOK: AtomicPtr<Hook> = AtomicPtr::new(std::ptr::null_mut());
/// The needs that are there now.
static NEEDS: AtomicU8 = AtomicU8::new(0);
/// The awaited globals; null while nothing is awaited. Keeps the reference alive.
static GLOBALS: AtomicPtr<PyObject> = AtomicPtr::new(std::ptr::null_mut());
static DECISION: Mutex<Option<Decision>> = Mutex::new(None);
static MEET: Mutex<Option<Meet>> = Mutex::new(None);
/// Counts how often the question "is this code wanted" changed its answer.
static EPOCH: AtomicUsize = AtomicUsize::new(1);

/// Frames that came to the hook.
static ENTERED: AtomicU64 = AtomicU64::new(0);
/// Frames that had a variant in their extra slot, or were looked at beyond it.
pub(crate) static INSPECTED: AtomicU64 = AtomicU64::new(0);
/// Frames that ran a variant instead of their code.
pub(crate) static SWAPPED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// How deep the calling thread is inside the hook's own decisions; frames entered there are left
/// alone.
pub(crate) fn depth() -> u32 {
    INSIDE.get()
}

/// Waits for the first frame of module-level code that runs in `globals`.
pub(crate) fn await_frame(
    globals: &Bound<'_, PyDict>,
    minor: u8,
    decision: Decision,
) -> Result<(), String> {
    let layout = prove(globals.py(), minor)?;
    await_in(globals, layout, decision)
}

pub(super) fn await_in(
    globals: &Bound<'_, PyDict>,
    layout: &'static Layout,
    decision: Decision,
) -> Result<(), String> {
    if !GLOBALS.load(Ordering::Relaxed).is_null() {
        return Err("another module frame is being awaited".to_owned());
    }
    *DECISION.lock().unwrap_or_else(PoisonError::into_inner) = Some(decision);
    GLOBALS.store(globals.clone().unbind().into_ptr(), Ordering::Relaxed);
    acquire(Need::Awaiting, layout)
}

/// Stops waiting for a module frame.
pub(crate) fn cancel(py: Python<'_>) {
    let globals = GLOBALS.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if globals.is_null() {
        return;
    }
    release(py, Need::Awaiting);
    // SAFETY: `await_in` gave this reference away to `GLOBALS`.
    drop(unsafe { Bound::from_owned_ptr(py, globals) });
}

/// Looks at the extra slots of code objects from now on, or no longer.
pub(crate) fn swap_variants(py: Python<'_>, minor: u8, on: bool) -> Result<(), String> {
    if on {
        acquire(Need::Swapping, prove(py, minor)?)
    } else {
        release(py, Need::Swapping);
        Ok(())
    }
}

/// Asks `meet` about code that was not met since this was last called, or about none any more.
pub(crate) fn meet_code(py: Python<'_>, minor: u8, meet: Option<Meet>) -> Result<(), String> {
    *MEET.lock().unwrap_or_else(PoisonError::into_inner) = meet;
    EPOCH.fetch_add(1, Ordering::Relaxed);
    if meet.is_some() {
        acquire(Need::Meeting, prove(py, minor)?)
    } else {
        release(py, Need::Meeting);
        Ok(())
    }
}

/// Whether our hook is in the interpreter's slot now.
pub(crate) fn is_installed(_py: Python<'_>) -> bool {
    EvalFrameSymbols::find().is_ok_and(|symbols| is_ours(current(symbols)))
}

/// Whether any eval-frame function other than the interpreter's own is installed.
pub(crate) fn is_hooked(_py: Python<'_>) -> bool {
    EvalFrameSymbols::find()
        .is_ok_and(|symbols| !std::ptr::fn_addr_eq(current(symbols), symbols.default))
}

/// How many nested calls this interpreter allows while any hook is installed, where that is fewer
/// than without one by default: 3.12.0 to 3.12.2 count each evaluator twice against a limit of
/// 1,500 C calls.
pub(crate) fn nested_calls(py: Python<'_>) -> Option<u32> {
    let version: u32 = py
        .import("sys")
        .and_then(|sys| sys.getattr(name!("hexversion"))?.extract())
        .ok()?;
    (0x030c_00f0..0x030c_0300).contains(&version).then_some(750)
}

fn interpreter() -> *mut PyInterpreterState {
    // SAFETY: callers are attached, so there is a current interpreter.
    unsafe { ffi::PyInterpreterState_Get() }
}

fn current(symbols: EvalFrameSymbols) -> EvalFrame {
    // SAFETY: the symbol was found under this name, and the interpreter is the current one.
    unsafe { (symbols.get)(interpreter()) }
}

fn is_ours(function: EvalFrame) -> bool {
    std::ptr::fn_addr_eq(function, entry as EvalFrame)
}

fn acquire(need: Need, layout: &'static Layout) -> Result<(), String> {
    let slot = match need {
        Need::Awaiting => None,
        Need::Swapping | Need::Meeting => Some(extra::index()?),
    };
    NEEDS.fetch_or(need as u8, Ordering::Relaxed);
    let hook = HOOK.load(Ordering::Relaxed);
    if !hook.is_null() {
        if slot.is_some() {
            // SAFETY: a non-null `HOOK` is a live box, and the GIL keeps others from it.
            unsafe { (*hook).slot = slot };
        }
        // SAFETY: as above.
        let symbols = unsafe { (*hook).symbols };
        if !is_reached(symbols) {
            // Another tool has taken the slot, for itself or for the interpreter's own function,
            // and does not pass frames on to what it found there.
            // SAFETY: as above.
            unsafe { (*hook).previous = current(symbols) };
            // SAFETY: the symbol was found under this name; `entry` has the signature it takes.
            unsafe { (symbols.set)(interpreter(), entry) };
        }
        return Ok(());
    }
    let symbols = EvalFrameSymbols::find()
        .map_err(|symbol| format!("this interpreter does not export {symbol}"))?;
    let hook = Hook {
        layout,
        symbols,
        previous: current(symbols),
        slot,
    };
    HOOK.store(Box::into_raw(Box::new(hook)), Ordering::Relaxed);
    // SAFETY: the symbol was found under this name; `entry` has the signature it takes.
    unsafe { (symbols.set)(interpreter(), entry) };
    Ok(())
}

/// Whether frames still come to our hook, through another tool's if need be.
fn is_reached(symbols: EvalFrameSymbols) -> bool {
    let now = current(symbols);
    if is_ours(now) || std::ptr::fn_addr_eq(now, symbols.default) {
        return is_ours(now);
    }
    let before = ENTERED.load(Ordering::Relaxed);
    let ran = Python::attach(|py| py.run(c"pass", None, None));
    ran.is_ok() && ENTERED.load(Ordering::Relaxed) != before
}

fn release(_py: Python<'_>, need: Need) {
    let left = NEEDS.fetch_and(!(need as u8), Ordering::Relaxed) & !(need as u8);
    if left == 0 {
        retire();
    }
}

/// Takes the hook out of the slot, if it is there.
fn retire() {
    let hook = HOOK.load(Ordering::Relaxed);
    if hook.is_null() {
        return;
    }
    // SAFETY: a non-null `HOOK` is a live box, and the GIL keeps others from it.
    let installed = unsafe { *hook };
    if !is_ours(current(installed.symbols)) {
        // Another tool hooked in later and calls this one: it stays and passes everything on.
        return;
    }
    // SAFETY: the symbol was found under this name; `previous` is what this hook replaced.
    unsafe { (installed.symbols.set)(interpreter(), installed.previous) };
    HOOK.store(std::ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: the box came from `acquire` and was just taken out of the only place that holds it;
    // `entry` copies what it needs before anything can release the GIL.
    drop(unsafe { Box::from_raw(hook) });
}

/// The hook. Called by the interpreter, attached, for every frame entry and generator resume.
unsafe extern "C" fn entry(
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    throwing: c_int,
) -> *mut PyObject {
    let hook = HOOK.load(Ordering::Relaxed);
    if hook.is_null() {
        // INVARIANT: installing the hook already found the symbols in this process; only another
        // tool that had saved this function can still call it.
        let default = EvalFrameSymbols::find()
            .expect("the eval-frame symbols were found before")
            .default;
        // SAFETY: the arguments are passed on unchanged.
        return unsafe { default(thread, frame, throwing) };
    }
    // SAFETY: a non-null `HOOK` is a live box; it is copied because it may be freed meanwhile.
    let hook = unsafe { *hook };
    // The GIL keeps other threads from counting at the same time.
    ENTERED.store(
        ENTERED.load(Ordering::Relaxed).wrapping_add(1),
        Ordering::Relaxed,
    );
    if NEEDS.load(Ordering::Relaxed) == 0 {
        // Another tool that had hooked in later has put back what it found.
        retire();
    } else if throwing == 0 {
        inspect(&hook, thread, frame);
    }
    // SAFETY: `previous` is an eval-frame function and gets the arguments of this one; the frame
    // is as the interpreter made it, or consistently swapped.
    unsafe { (hook.previous)(thread, frame, throwing) }
}

fn inspect(hook: &Hook, thread: *mut PyThreadState, frame: *mut InterpreterFrame) {
    let layout = hook.layout;
    let awaited = GLOBALS.load(Ordering::Relaxed);
    if !awaited.is_null() {
        // SAFETY: `frame` is a live interpreter frame of this version.
        let globals = unsafe { word(frame, layout.frame.globals) };
        if globals == awaited as usize {
            meet_module(thread, frame, layout);
        }
    }
    let Some(slot) = hook.slot else { return };
    let code = swap::code_of(frame, layout);
    match extra::read(code, layout, slot) {
        Slot::Variant(variant) => {
            INSPECTED.fetch_add(1, Ordering::Relaxed);
            if swap::is_fresh(frame, layout) && swap::swap(thread, frame, layout, variant).is_ok() {
                SWAPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        Slot::Seen(epoch) if epoch == EPOCH.load(Ordering::Relaxed) => {}
        Slot::Seen(_) | Slot::Empty => {
            if NEEDS.load(Ordering::Relaxed) & Need::Meeting as u8 != 0 && INSIDE.get() == 0 {
                meet_function(thread, frame, layout, code);
            }
        }
    }
}

/// Looks at code for the first time.
fn meet_function(
    thread: *mut PyThreadState,
    frame: *mut InterpreterFrame,
    layout: &'static Layout,
    code: *mut PyObject,
) {
    INSPECTED.fetch_add(1, Ordering::Relaxed);
    let Some(meet) = *MEET.lock().unwrap_or_else(PoisonError::into_inner) else {
        return;
    };
    let epoch = EPOCH.load(Ordering::Relaxed);
    INSIDE.set(INSIDE.get() + 1);
    Python::attach(|py| {
        // SAFETY: `code` is what the frame is about to run, so it is a live code object.
        let code = unsafe { Bound::from_borrowed_ptr(py, code) };
        // SAFETY: `frame` is a live interpreter frame of this version.
        let function = unsafe { word(frame, layout.frame.function) } & !3;
        // SAFETY: the frame owns a reference to its function, so the object is alive.
        let function = unsafe { Bound::from_borrowed_ptr(py, function as *mut PyObject) };
        // An exception that is on its way when a frame is entered stays as it is.
        let pending = PyErr::take(py);
        extra::mark_seen(&code, epoch);
        let variant = meet(&code, &function);
        if let Some(variant) = variant
            && swap::is_fresh(frame, layout)
            && swap::swap(thread, frame, layout, variant.as_ptr()).is_ok()
        {
            SWAPPED.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
    INSIDE.set(INSIDE.get() - 1);
}

/// Decides about a frame in the awaited globals.
fn meet_module(thread: *mut PyThreadState, frame: *mut InterpreterFrame, layout: &'static Layout) {
    if !swap::is_module(frame, layout) || !swap::is_fresh(frame, layout) {
        return;
    }
    let decision = *DECISION.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(decision) = decision else { return };
    Python::attach(|py| {
        let code = swap::code_of(frame, layout);
        // SAFETY: `code` is what the frame is about to run, so it is a live code object.
        let code = unsafe { Bound::from_borrowed_ptr(py, code) };
        match (decision.choose)(&code) {
            Choice::Wait => {}
            Choice::Original => cancel(py),
            Choice::Replace(replacement) => {
                cancel(py);
                let outcome = swap::swap_module(py, thread, frame, layout, &replacement);
                (decision.replaced)(py, outcome);
            }
        }
    });
}
