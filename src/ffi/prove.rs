//! The self-check: proves in this process what the rest of the folder relies on.
//!
//! Compares the fields of a code object, a function and a generator with what Python says about
//! them, then swaps the frame of a module of its own for a deeper one and looks at what ran.
//! Runs once; an interpreter that fails it keeps its frames, and the reason is told.

use crate::ffi::name::name;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::hook::{Choice, Decision, await_in, cancel};
use super::layout::{Layout, of_minor};
use super::swap::{frame_words, int, word};

static PROVED: OnceLock<Result<&'static Layout, String>> = OnceLock::new();

/// The code objects and the outcome of the self-check while it runs.
static TRIAL_CODE: AtomicPtr<PyObject> = AtomicPtr::new(std::ptr::null_mut());
static TRIAL_REPLACEMENT: AtomicPtr<PyObject> = AtomicPtr::new(std::ptr::null_mut());

/// The process that the self-check runs in now; 0 while it does not.
static PROVING_IN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static PROVES: Cell<bool> = const { Cell::new(false) };
}

/// The layout of this interpreter, if it was proved before.
pub(crate) fn proved() -> Option<&'static Layout> {
    PROVED.get()?.as_ref().ok().copied()
}

/// The layout of this interpreter, once it is proved.
///
/// The self-check runs bytecode, so that other threads get their turns: they wait for its end
/// without the GIL. In a child that was forked meanwhile it begins anew.
pub(crate) fn prove(py: Python<'_>, minor: u8) -> Result<&'static Layout, String> {
    let process = std::process::id();
    loop {
        if let Some(proved) = PROVED.get() {
            return proved.clone();
        }
        let proving_in = PROVING_IN.load(Ordering::Relaxed);
        if proving_in != process {
            if proving_in != 0 {
                cancel(py);
            }
            break;
        }
        if PROVES.get() {
            return Err("the self-check of the frame layout is not done yet".to_owned());
        }
        py.detach(|| std::thread::sleep(Duration::from_micros(50)));
    }
    PROVING_IN.store(process, Ordering::Relaxed);
    PROVES.set(true);
    let proved = prove_now(py, minor);
    PROVES.set(false);
    let proved = PROVED.get_or_init(|| proved).clone();
    PROVING_IN.store(0, Ordering::Relaxed);
    proved
}

fn prove_now(py: Python<'_>, minor: u8) -> Result<&'static Layout, String> {
    let layout =
        of_minor(minor).ok_or_else(|| format!("the frames of CPython 3.{minor} are not known"))?;
    run_trial(py, layout).map_err(|Problem(problem)| {
        cancel(py);
        format!("self-check of the frame layout failed: {problem}")
    })?;
    Ok(layout)
}

/// Why something is not as the layout says; an exception counts as one reason more.
struct Problem(String);

impl From<PyErr> for Problem {
    fn from(error: PyErr) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Self(problem.to_owned())
    }
}

fn run_trial(py: Python<'_>, layout: &'static Layout) -> Result<(), Problem> {
    let builtins = py.import("builtins")?;
    let globals = PyDict::new(py);
    globals.set_item("__builtins__", &builtins)?;
    let run = |source: &str| -> PyResult<()> {
        builtins
            .call_method1(name!("exec"), (source, &globals))
            .map(|_| ())
    };
    run("def f(a, b):\n    c = [a, b, a, b]\n    return c\ndef g(a):\n    yield a\ng = g(1)")?;
    let get = |name: &str| globals.get_item(name)?.ok_or_else(|| PyErr::fetch(py));
    let function = get("f")?;
    let code = function.getattr(name!("__code__"))?;
    compare_code(&code, layout)?;
    compare_constants(&code, layout)?;
    compare_holders(&function, &get("g")?, layout)?;

    let compile = |source: &str| {
        builtins.call_method1(name!("compile"), (source, "<dapper self-check>", "exec"))
    };
    let original = compile("value = 1")?;
    // Deeper than the original, so that the frame has to grow.
    let replacement = compile("value = [value, value, value, value, value, (value, value, 2)]")?;
    compare_code(&original, layout)?;
    compare_code(&replacement, layout)?;
    globals.set_item("value", 7)?;
    TRIAL_CODE.store(original.as_ptr(), Ordering::Relaxed);
    TRIAL_REPLACEMENT.store(replacement.as_ptr(), Ordering::Relaxed);
    let decision = Decision {
        choose: choose_trial,
        replaced: |_, _| (),
    };
    await_in(&globals, layout, decision).map_err(Problem)?;
    let ran = builtins.call_method1(name!("exec"), (&original, &globals));
    cancel(py);
    ran?;
    match get("value")?.to_string().as_str() {
        "[7, 7, 7, 7, 7, (7, 7, 2)]" => Ok(()),
        value => Err(Problem(format!("the swapped module gave {value}"))),
    }
}

fn choose_trial(code: &Bound<'_, PyAny>) -> Choice {
    if code.as_ptr() != TRIAL_CODE.load(Ordering::Relaxed) {
        return Choice::Wait;
    }
    let replacement = TRIAL_REPLACEMENT.load(Ordering::Relaxed);
    // SAFETY: `run_trial` holds the replacement while the hook is installed.
    Choice::Replace(unsafe { Bound::from_borrowed_ptr(code.py(), replacement) }.unbind())
}

/// Compares the fields of a code object that has not run yet.
fn compare_code(code: &Bound<'_, PyAny>, layout: &Layout) -> Result<(), Problem> {
    let fields = &layout.code;
    let pointer = code.as_ptr();
    let bytes = code
        .getattr(name!("co_code"))?
        .cast_into::<PyBytes>()
        .map_err(PyErr::from)?;
    let bytes = bytes.as_bytes();
    let stack_size: usize = code.getattr(name!("co_stacksize"))?.extract()?;
    let n_locals: usize = code.getattr(name!("co_nlocals"))?.extract()?;
    // SAFETY: `code` is a live code object, and its size is the word after the object header.
    let units = unsafe { word(pointer, fields.units) };
    if units * 2 != bytes.len() {
        return Err("the size of a code object is not where it should be".into());
    }
    // SAFETY: `code` is a live code object, longer than its fixed fields.
    let file_name = unsafe { word(pointer, fields.file_name) };
    if file_name != code.getattr(name!("co_filename"))?.as_ptr() as usize {
        return Err("the file name of a code object is not where it should be".into());
    }
    let last = pointer
        .wrapping_byte_add(fields.adaptive + bytes.len() - 2)
        .cast::<[u8; 2]>();
    // SAFETY: the size was just compared with the length of the code: this is inside the object.
    let last = unsafe { last.read() };
    // SAFETY: `code` is a live code object, longer than its fixed fields.
    let extra = unsafe { word(pointer, fields.extra) };
    if last != bytes[bytes.len() - 2..] || extra != 0 {
        return Err("the bytecode is not where it should be".into());
    }
    let words = layout.frame.localsplus / size_of::<usize>() + n_locals + stack_size;
    if int(pointer, fields.stack_size) != stack_size
        || int(pointer, fields.n_localsplus) != n_locals
        || frame_words(pointer, layout) != words
    {
        return Err("the sizes of a code object are not where they should be".into());
    }
    Ok(())
}

/// Compares the place of the items of a tuple.
fn compare_constants(code: &Bound<'_, PyAny>, layout: &Layout) -> Result<(), Problem> {
    let constants = code.getattr(name!("co_consts"))?;
    let last = constants.len()? - 1;
    let slot = layout.tuple_items + last * size_of::<usize>();
    // SAFETY: `constants` is a live tuple with an item at `last`.
    let item = unsafe { word(constants.as_ptr(), slot) };
    if item != constants.get_item(last)?.as_ptr() as usize {
        return Err("the items of a tuple are not where they should be".into());
    }
    Ok(())
}

/// Compares the fields of a function and of a generator that was not started.
fn compare_holders(
    function: &Bound<'_, PyAny>,
    generator: &Bound<'_, PyAny>,
    layout: &Layout,
) -> Result<(), Problem> {
    // SAFETY: `function` is a live function object, longer than this offset.
    let code = unsafe { word(function.as_ptr(), layout.function.code) };
    if code != function.getattr(name!("__code__"))?.as_ptr() as usize {
        return Err("the code of a function is not where it should be".into());
    }
    let fields = &layout.generator;
    let pointer = generator.as_ptr();
    // SAFETY: `generator` is a live generator, and its frame is inside it.
    let code = unsafe { word(pointer, fields.frame + layout.frame.code) } & !3;
    let state = pointer.wrapping_byte_add(fields.state).cast::<i8>();
    // SAFETY: as above.
    let state = unsafe { state.read() };
    // SAFETY: as above.
    let own_code = unsafe { word(pointer, fields.code) } & !3;
    let told = generator.getattr(name!("gi_code"))?.as_ptr() as usize;
    if code != told || own_code != told || state != fields.created {
        return Err("the frame of a generator is not where it should be".into());
    }
    Ok(())
}
