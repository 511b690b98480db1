//! Trace functions of threads, set from native code, and the frames that they are called for.
//!
//! Owns [`traced`], the one trace function of ours: a C function that is told of the events of its
//! thread without the copying of local variables that `sys.settrace` pays for, and that an
//! exception does not take away. `PyEval_SetTrace` reaches the calling thread in every version,
//! `_PyEval_SetTrace` any thread where it is exported, `PyEval_SetTraceAllThreads` all of them.
//! Relies on the `thread_id` and `c_tracefunc` of [`super::layout`], which [`threads`] proves on
//! the calling thread before it reads those of others.

use crate::ffi::name::name;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use pyo3::ffi::{self, PyFrameObject, PyInterpreterState, PyObject, PyThreadState};
use pyo3::prelude::*;

use super::layout::{self, FRAME_OF_OBJECT, ThreadLayout};
use super::swap::word;
use super::symbols::address;

/// What a trace function is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A frame starts, or a generator is resumed.
    Call,
    /// An exception reached the frame.
    Exception,
    /// A line is about to run.
    Line,
    /// The frame returns or yields (with a value), or is left by an exception (without).
    Return,
    /// An instruction is about to run in a frame that asks for its instructions.
    Opcode,
}

/// Called with the frame, the event and its argument.
pub(crate) type Sink = fn(&Bound<'_, PyAny>, Event, Option<&Bound<'_, PyAny>>) -> PyResult<()>;

/// Whose trace function a thread has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// None.
    Nobody,
    /// Ours.
    Own,
    /// Another tool's.
    Other,
}

/// A thread of this interpreter.
pub(crate) struct Thread {
    state: *mut PyThreadState,
    /// What `threading.get_ident` says in it.
    pub(crate) ident: u64,
    /// Whose trace function it has.
    pub(crate) tracer: Tracer,
}

type TraceFunction =
    unsafe extern "C" fn(*mut PyObject, *mut PyFrameObject, c_int, *mut PyObject) -> c_int;
type SetTrace = unsafe extern "C" fn(Option<TraceFunction>, *mut PyObject);
type SetTraceOf =
    unsafe extern "C" fn(*mut PyThreadState, Option<TraceFunction>, *mut PyObject) -> c_int;
type ThreadHead = unsafe extern "C" fn(*mut PyInterpreterState) -> *mut PyThreadState;
type ThreadNext = unsafe extern "C" fn(*mut PyThreadState) -> *mut PyThreadState;
type Addr2Line = unsafe extern "C" fn(*mut PyObject, c_int) -> c_int;

static SINK: OnceLock<Sink> = OnceLock::new();

struct Symbols {
    set: SetTrace,
    set_of: Option<SetTraceOf>,
    set_all: Option<SetTrace>,
    head: ThreadHead,
    next: ThreadNext,
}

impl Symbols {
    fn get() -> Result<&'static Self, String> {
        static SYMBOLS: OnceLock<Result<Symbols, &'static str>> = OnceLock::new();
        SYMBOLS
            .get_or_init(Self::find)
            .as_ref()
            .map_err(|symbol| format!("this interpreter does not export {symbol}"))
    }

    fn find() -> Result<Self, &'static str> {
        let set = address(c"PyEval_SetTrace")?;
        let set_of = address(c"_PyEval_SetTrace").ok();
        let set_all = address(c"PyEval_SetTraceAllThreads").ok();
        let head = address(c"PyInterpreterState_ThreadHead")?;
        let next = address(c"PyThreadState_Next")?;
        // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
        let set_trace = |at| unsafe { std::mem::transmute::<*mut c_void, SetTrace>(at) };
        // SAFETY: CPython 3.11 and 3.12 declare the function of this name with this signature.
        let set_trace_of = |at| unsafe { std::mem::transmute::<*mut c_void, SetTraceOf>(at) };
        Ok(Self {
            set: set_trace(set),
            set_of: set_of.map(set_trace_of),
            set_all: set_all.map(set_trace),
            // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
            head: unsafe { std::mem::transmute::<*mut c_void, ThreadHead>(head) },
            // SAFETY: CPython 3.11 to 3.15 declare the function of this name with this signature.
            next: unsafe { std::mem::transmute::<*mut c_void, ThreadNext>(next) },
        })
    }
}

/// The frame that runs in this thread, seen from native code that it called.
pub(crate) fn current_frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the thread is attached.
    let frame = unsafe { ffi::PyEval_GetFrame() };
    // SAFETY: a frame object is an object; the reference is borrowed from the running frame.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) }
}

/// The code object that a frame runs.
pub(crate) fn code_of<'py>(frame: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    // SAFETY: callers pass frame objects; the function returns a new reference and cannot fail.
    let code = unsafe { ffi::PyFrame_GetCode(frame.as_ptr().cast()) };
    // SAFETY: as above.
    unsafe { Bound::from_owned_ptr(frame.py(), code.cast()) }
}

/// The line that a frame is at; 0 when it has none.
pub(crate) fn line_of(frame: &Bound<'_, PyAny>) -> u32 {
    // SAFETY: callers pass frame objects.
    let line = unsafe { ffi::PyFrame_GetLineNumber(frame.as_ptr().cast()) };
    u32::try_from(line).unwrap_or(0)
}

/// The generator, coroutine or asynchronous generator that a frame belongs to.
pub(crate) fn generator_of<'py>(
    frame: &Bound<'py, PyAny>,
    minor: u8,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    const OWNED_BY_GENERATOR: u8 = 1;
    let py = frame.py();
    let Some(layout) = layout::of_minor(minor) else {
        return Ok(None);
    };
    // SAFETY: callers pass frame objects, which hold the address of their frame there.
    let inner = unsafe { word(frame.as_ptr(), FRAME_OF_OBJECT) } as *mut PyObject;
    let owner = inner.wrapping_byte_add(layout.frame.owner).cast::<u8>();
    // SAFETY: the frame of a frame object lives as long as the object.
    if unsafe { owner.read() } != OWNED_BY_GENERATOR {
        return Ok(None);
    }
    let candidate = inner.wrapping_byte_sub(layout.generator.frame);
    // SAFETY: a frame that a generator owns lies inside the generator, at this offset.
    let kind = unsafe { word(candidate, std::mem::offset_of!(PyObject, ob_type)) };
    let types = py.import("types")?;
    for name in ["GeneratorType", "CoroutineType", "AsyncGeneratorType"] {
        if types.getattr(name)?.as_ptr() as usize == kind {
            // SAFETY: the type has been recognised, and the frame keeps no generator that is
            // being freed: its owner would have changed.
            return Ok(Some(unsafe { Bound::from_borrowed_ptr(py, candidate) }));
        }
    }
    Ok(None)
}

/// The line of the instruction at a byte offset of a code object.
pub(crate) fn line_at(code: &Bound<'_, PyAny>, offset: i32) -> Option<u32> {
    static ADDR2LINE: OnceLock<Option<usize>> = OnceLock::new();
    let found = ADDR2LINE.get_or_init(|| address(c"PyCode_Addr2Line").ok().map(|at| at as usize));
    // SAFETY: CPython declares `int PyCode_Addr2Line(PyCodeObject *, int)`.
    let addr2line = unsafe { std::mem::transmute::<usize, Addr2Line>((*found)?) };
    // SAFETY: `code` is a live code object, and the offset came from the interpreter.
    let line = unsafe { addr2line(code.as_ptr(), offset) };
    u32::try_from(line).ok()
}

/// Has `sink` called for the events of every thread that is traced; the first one given stays.
pub(crate) fn set_sink(sink: Sink) {
    let _ = SINK.set(sink);
}

/// Traces the calling thread with `object` as what `sys.gettrace` shows, or stops tracing it.
pub(crate) fn trace_this_thread(object: Option<&Bound<'_, PyAny>>) -> Result<(), String> {
    let (function, object) = argument(object);
    // SAFETY: the thread is attached; the interpreter takes its own reference to `object`.
    unsafe { (Symbols::get()?.set)(function, object) };
    Ok(())
}

/// Traces one thread, or stops tracing it; an error where that cannot be done for one alone.
pub(crate) fn trace_thread(
    thread: &Thread,
    object: Option<&Bound<'_, PyAny>>,
) -> Result<(), String> {
    let Some(set_of) = Symbols::get()?.set_of else {
        return Err("this interpreter does not export _PyEval_SetTrace".to_owned());
    };
    let (function, object) = argument(object);
    // SAFETY: `threads` made this list while the thread was attached, and callers use it before
    // any Python code runs: the thread state is still alive.
    let status = unsafe { set_of(thread.state, function, object) };
    if status != 0 {
        // SAFETY: the thread is attached; the error is the audit hook's that refused.
        unsafe { ffi::PyErr_Clear() };
        return Err("an audit hook refused the trace function".to_owned());
    }
    Ok(())
}

/// Whether one other thread alone can be traced.
pub(crate) fn can_trace_one_thread() -> bool {
    Symbols::get().is_ok_and(|symbols| symbols.set_of.is_some() && symbols.set_all.is_none())
}

/// Traces every thread, or stops tracing all of them.
pub(crate) fn trace_all_threads(object: Option<&Bound<'_, PyAny>>) -> Result<(), String> {
    let Some(set_all) = Symbols::get()?.set_all else {
        return Err("this interpreter does not export PyEval_SetTraceAllThreads".to_owned());
    };
    let (function, object) = argument(object);
    // SAFETY: the thread is attached; the interpreter takes its own references to `object`.
    unsafe { set_all(function, object) };
    Ok(())
}

fn argument(object: Option<&Bound<'_, PyAny>>) -> (Option<TraceFunction>, *mut PyObject) {
    match object {
        Some(object) => (Some(traced as TraceFunction), object.as_ptr()),
        None => (None, std::ptr::null_mut()),
    }
}

/// The threads of this interpreter, and who traces them.
pub(crate) fn threads(py: Python<'_>, minor: u8) -> Result<Vec<Thread>, String> {
    let symbols = Symbols::get()?;
    let layout = proved(py, minor)?;
    // SAFETY: the thread is attached, so it has a current interpreter.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: `interpreter` is the current one.
    let mut state = unsafe { (symbols.head)(interpreter) };
    let mut threads = Vec::new();
    while !state.is_null() {
        // SAFETY: `state` is in the list of live thread states; deleting one takes the GIL.
        let ident = unsafe { word(state, layout.ident) } as u64;
        let tracer = tracer_of(state, layout);
        threads.push(Thread {
            state,
            ident,
            tracer,
        });
        // SAFETY: as above.
        state = unsafe { (symbols.next)(state) };
    }
    Ok(threads)
}

fn tracer_of(state: *mut PyThreadState, layout: &ThreadLayout) -> Tracer {
    // SAFETY: callers pass live thread states, and the offset was proved.
    match unsafe { word(state, layout.trace_function) } {
        0 => Tracer::Nobody,
        at if at == traced as *const () as usize => Tracer::Own,
        _ => Tracer::Other,
    }
}

/// The layout of thread states, once it has told the truth about the calling thread.
fn proved(py: Python<'_>, minor: u8) -> Result<&'static ThreadLayout, String> {
    static PROVED: OnceLock<Result<&'static ThreadLayout, String>> = OnceLock::new();
    if let Some(proved) = PROVED.get() {
        return proved.clone();
    }
    let proved = prove(py, minor);
    PROVED.get_or_init(|| proved).clone()
}

fn prove(py: Python<'_>, minor: u8) -> Result<&'static ThreadLayout, String> {
    let wrong = |_: PyErr| "the threads of this interpreter cannot be read".to_owned();
    let layout = layout::of_minor(minor)
        .map(|layout| &layout.thread)
        .ok_or_else(|| format!("the threads of CPython 3.{minor} are not known"))?;
    // SAFETY: the thread is attached, so it has a thread state.
    let state = unsafe { ffi::PyThreadState_Get() };
    let ident: u64 = py
        .import("_thread")
        .and_then(|thread| thread.call_method0(name!("get_ident"))?.extract())
        .map_err(wrong)?;
    let shown = py
        .import("sys")
        .and_then(|sys| sys.call_method0(name!("gettrace")))
        .map_err(wrong)?;
    // SAFETY: thread states of every version are longer than both offsets.
    let read = unsafe { word(state, layout.ident) } as u64;
    let before = tracer_of(state, layout);
    let mut agrees = read == ident && shown.is_none() == (before == Tracer::Nobody);
    if agrees && before == Tracer::Nobody {
        trace_this_thread(Some(py.None().bind(py)))?;
        agrees = tracer_of(state, layout) == Tracer::Own;
        trace_this_thread(None)?;
        agrees = agrees && tracer_of(state, layout) == Tracer::Nobody;
    }
    if agrees {
        Ok(layout)
    } else {
        Err("the thread states of this interpreter are not laid out as expected".to_owned())
    }
}

/// The trace function. Called by the interpreter, attached, while it traces nothing else.
unsafe extern "C" fn traced(
    _object: *mut PyObject,
    frame: *mut PyFrameObject,
    what: c_int,
    argument: *mut PyObject,
) -> c_int {
    let event = match what {
        0 => Event::Call,
        1 => Event::Exception,
        2 => Event::Line,
        3 => Event::Return,
        7 => Event::Opcode,
        _ => return 0,
    };
    let Some(sink) = SINK.get() else {
        return 0;
    };
    Python::attach(|py| {
        // SAFETY: the interpreter passes a live frame object.
        let frame = unsafe { Bound::from_borrowed_ptr(py, frame.cast()) };
        // SAFETY: the interpreter passes a live object or null.
        let argument = unsafe { Bound::from_borrowed_ptr_or_opt(py, argument) };
        let told = AssertUnwindSafe(|| sink(&frame, event, argument.as_ref()));
        match catch_unwind(told) {
            Ok(Err(error)) => {
                error.restore(py);
                -1
            }
            // A panic has been reported by its hook, and is not the program's.
            Ok(Ok(())) | Err(_) => 0,
        }
    })
}
