//! What calls have returned during a step, for whoever stops at its end.
//!
//! Owns the values: of functions that a target of the step has called itself, and of those that
//! were stepped out of; the last of each name, and no more than [`MOST`]. They go with the step, or
//! with the stop at its end. On 3.12 and later a target tells of its calls, and only the code of
//! what it calls tells of its returns: what that calls in turn runs at full speed. On 3.11 the
//! trace function is told of every return anyway.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFunction, PyTuple, PyType};

use super::{Lines, address, arm, is_target, skips, walk, with};
use crate::ffi::name::name;
use crate::ffi::{extra, prove, tracing};
use crate::log::loaded_module;
use crate::scoped::tool::Events;

/// How many values are kept.
const MOST: usize = 32;
/// How deep functions lie in what calls them, such as `functools.partial`.
const DEEPEST: usize = 8;
/// The names of comprehensions that are functions up to 3.11.
const COMPREHENSIONS: [&str; 3] = ["<listcomp>", "<setcomp>", "<dictcomp>"];
/// `CO_OPTIMIZED`: the code of a function, not of a module or of a class body.
const OPTIMIZED: u32 = 0x1;
/// `CO_GENERATOR` and `CO_ASYNC_GENERATOR`: what these return nobody sees.
const GENERATORS: u32 = 0x20 | 0x200;

/// The qualified name of a function, and what it has returned.
pub(crate) type Returned = (String, Py<PyAny>);

thread_local! {
    /// What the step has kept whose end is being told of.
    static OFFERED: RefCell<Vec<Returned>> = const { RefCell::new(Vec::new()) };
}

/// Lets go of what nobody took.
pub(super) struct Offer;

impl Drop for Offer {
    fn drop(&mut self) {
        drop(OFFERED.take());
    }
}

/// Offers what a step has kept to the stop at its end, for as long as the result lives.
pub(super) fn offer(values: Option<Vec<Returned>>) -> Offer {
    drop(OFFERED.replace(values.unwrap_or_default()));
    Offer
}

/// What calls have returned, in the callback at the end of a step that keeps it.
pub(crate) fn take() -> Vec<Returned> {
    OFFERED.take()
}

/// Whether the step of this thread keeps what calls return.
pub(crate) fn keeps_values() -> bool {
    with(|step| step.values.is_some()) == Some(true)
}

/// Keeps what a function has returned that the step counts.
pub(crate) fn note(frame: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let code = tracing::code_of(frame);
    if !keeps_values() || !counts(&code)? || skips(&code) {
        return Ok(());
    }
    let name: String = code.getattr(name!("co_qualname"))?.extract()?;
    let value = value.clone().unbind();
    let replaced = with(|step| {
        let values = step.values.as_mut()?;
        let same = values.iter().position(|(known, _)| *known == name);
        let oldest = (values.len() >= MOST).then_some(0);
        let replaced = same.or(oldest).map(|at| values.remove(at));
        values.push((name, value));
        replaced
    });
    // Its end may run code of the program: not while the step is borrowed.
    drop(replaced);
    Ok(())
}

/// Whether code is that of a function whose result its caller gets.
fn counts(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
    if flags & OPTIMIZED == 0 || flags & GENERATORS != 0 {
        return Ok(false);
    }
    let name = code.getattr(name!("co_name"))?;
    let name: &str = name.extract()?;
    // A comprehension is no call, and what `__init__` returns is no result.
    Ok(name != "__init__" && (!name.starts_with('<') || name == "<lambda>"))
}

/// Whether a target of the step has called what runs in a frame, and the result is to be kept.
pub(crate) fn is_called(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !keeps_values() || is_target(frame) {
        return Ok(false);
    }
    let Some(mut caller) = walk::back(frame)? else {
        return Ok(false);
    };
    // Where a comprehension has a frame, its calls are those of the line that it is in.
    let name = tracing::code_of(&caller).getattr(name!("co_name"))?;
    if COMPREHENSIONS.contains(&name.extract()?) {
        let Some(behind) = walk::back(&caller)? else {
            return Ok(false);
        };
        caller = behind;
    }
    Ok(follows(&caller))
}

/// Whether the calls of a frame count: it is a target, and goes on to its next line.
fn follows(frame: &Bound<'_, PyAny>) -> bool {
    let follows = with(|step| {
        step.values.is_some()
            && step.lines == Lines::InTargets
            && step.targets.contains(&address(frame))
    });
    follows == Some(true)
}

/// `frame` is about to call something; what that returns is told of if `frame` is a target.
pub(crate) fn calls(frame: &Bound<'_, PyAny>, callable: &Bound<'_, PyAny>) -> PyResult<()> {
    if !follows(frame) {
        return Ok(());
    }
    let Some(code) = code_called(callable)? else {
        return Ok(());
    };
    if !counts(&code)? || skips(&code) {
        return Ok(());
    }
    arm(&code, Events::RETURN)?;
    // What runs may be another code object than the one that the function shows.
    match prove::proved().and_then(|layout| extra::variant_of(&code, layout)) {
        Some(variant) => arm(&variant, Events::RETURN),
        None => Ok(()),
    }
}

/// The code that calling something runs; nothing of the program runs to find it.
fn code_called<'py>(callable: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut callable = callable.clone();
    for _ in 0..DEEPEST {
        if callable.is_exact_instance_of::<PyFunction>() {
            return callable.getattr(name!("__code__")).map(Some);
        }
        callable = match called_by(&callable)? {
            Some(function) => function,
            None => return Ok(None),
        };
    }
    Ok(None)
}

/// What a callable that is no function calls.
fn called_by<'py>(callable: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = callable.py();
    let kind = callable.get_type();
    if kind.is(METHOD.import(py, "types", "MethodType")?) {
        return callable.getattr(name!("__func__")).map(Some);
    }
    if let Some(functools) = loaded_module(py, "functools") {
        if kind.is(&functools.getattr(name!("partial"))?) {
            return callable.getattr(name!("func")).map(Some);
        }
        if kind.is(&functools.getattr(name!("_lru_cache_wrapper"))?) {
            return callable.getattr(name!("__wrapped__")).map(Some);
        }
    }
    call_of(&kind)
}

/// The function `__call__` of a class, where looking it up runs nothing.
fn call_of<'py>(kind: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = kind.py();
    if !kind.get_type().is(py.get_type::<PyType>()) {
        return Ok(None);
    }
    let order = kind.getattr(name!("__mro__"))?.cast_into::<PyTuple>()?;
    for class in order {
        if !class.get_type().is(py.get_type::<PyType>()) {
            return Ok(None);
        }
        let names = class.getattr(name!("__dict__"))?;
        if names.contains(name!("__call__"))? {
            let found = names.get_item(name!("__call__"))?;
            return Ok(found.is_exact_instance_of::<PyFunction>().then_some(found));
        }
    }
    Ok(None)
}
