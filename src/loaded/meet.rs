//! Code that nothing was found to hold: the eval-frame hook looks for it by its file.
//!
//! Owns the list of breakpoints on lines of functions that no function object, frame or enclosing
//! code holds: code in the hands of somebody who will execute it, or make a function of it. The
//! hook asks about each code object once; what is met is bound, and the hook is gone when nothing
//! is left to meet. Lines of module and class bodies are not looked for: they have run.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use instrument::Wanted;
use pyo3::prelude::*;

use super::figures::FRAMES_PROMOTED;
use super::find::Holders;
use super::setting::Setting;
use super::source::Module;
use super::tree::{address, key};
use super::turn::Turn;
use super::{count, files, follow_file, hook_as_needed};
use crate::breakpoint::Breakpoint;
use crate::ffi::name::name;
use crate::ffi::{heap, hook};
use crate::probe::probes_of;
use crate::{hit, interpreter, link, registry};

/// `CO_OPTIMIZED`: the flag of code that belongs to a function.
const OPTIMIZED: u32 = 1;

/// Of each file the lines that are looked for, with the breakpoints that want them.
type Unmet = HashMap<Arc<str>, HashSet<(u32, u64)>>;

static UNMET: LazyLock<Mutex<Unmet>> = LazyLock::new(Mutex::default);

fn unmet() -> MutexGuard<'static, Unmet> {
    UNMET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks for nothing of `file` any more.
pub(super) fn expect_nothing(file: &str) {
    unmet().remove(file);
}

/// Looks for those of `lines` that belong to functions, and tells the others that they have run.
pub(super) fn expect(
    py: Python<'_>,
    setting: &Setting,
    file: &Arc<str>,
    module: Option<&Module>,
    lines: Vec<(Arc<Breakpoint>, u32)>,
) -> PyResult<()> {
    for (breakpoint, line) in lines {
        let in_function = match module {
            Some(module) => in_function(py, module, line)?,
            None => false,
        };
        if setting.layout.is_some() && in_function {
            let mut unmet = unmet();
            let of_file = unmet.entry(Arc::clone(file)).or_default();
            of_file.insert((line, breakpoint.id));
            drop(unmet);
            breakpoint.refuse(&format!(
                "no function that is loaded holds line {line}: it is looked for at frame entry"
            ));
        } else {
            breakpoint.refuse(&format!(
                "the code at line {line} has run, and no function that is loaded holds it"
            ));
        }
    }
    Ok(())
}

fn in_function(py: Python<'_>, module: &Module, line: u32) -> PyResult<bool> {
    let Ok(interpreter) = interpreter::current(py) else {
        return Ok(false);
    };
    let lines = Wanted::Lines(&[line]);
    let Ok(made) = instrument::instrument(interpreter.version, &module.marshalled, lines) else {
        return Ok(false);
    };
    for site in &made.sites {
        let code = link::descend(module.code.bind(py), &site.code.path)?;
        if code.getattr(name!("co_flags"))?.extract::<u32>()? & OPTIMIZED != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has the hook ask about code that enters a frame, while something is left to meet.
///
/// Where frames are swapped something always is: a decorator may have made a copy of code that
/// held no probe yet (`types.coroutine` does).
pub(super) fn look_out(py: Python<'_>, setting: &Setting, swapping: bool) -> Result<(), String> {
    let meet = (swapping || !unmet().is_empty()).then_some(meet as hook::Meet);
    hook::meet_code(py, setting.minor, meet)
}

/// Takes up a function whose frame is being entered; the variant that the frame is to run.
fn meet(code: &Bound<'_, PyAny>, function: &Bound<'_, PyAny>) -> Option<Py<PyAny>> {
    let py = code.py();
    let name = code.getattr(name!("co_filename")).ok()?;
    let file = registry::file_name(name.extract().ok()?);
    let at = address(code);
    let (swapping, original, variant) = files(|files| {
        files.get(&file).map_or((false, false, false), |state| {
            let original = state.originals.contains(&at);
            (
                !state.swapped.is_empty(),
                original,
                state.variants.contains_key(&at),
            )
        })
    });
    let wanted = unmet().get(&file).cloned();
    // What runs a variant already, as a generator that is resumed, is not looked for.
    if original || variant || !(swapping || wanted.is_some()) {
        return None;
    }
    // One that is not known here was made when the module was imported, and may lack a breakpoint
    // that came while it was.
    if probes_of(code).ok()?.next().is_some() && !lacks(code, &wanted?).ok()? {
        return None;
    }
    // Code that runs while other code is being changed is asked about again afterwards.
    let _turn = Turn::try_take()?;
    let _pause = heap::pause_collector(py);
    match bind_met(&file, code, function) {
        Ok(variant) => variant,
        Err(error) => {
            hit::tell_once(&format!("{file} runs without some breakpoints: {error}"));
            None
        }
    }
}

/// Whether a variant has one of these lines and no probe there for the breakpoint.
fn lacks(variant: &Bound<'_, PyAny>, wanted: &HashSet<(u32, u64)>) -> PyResult<bool> {
    let key = key(variant)?;
    let held = |line, id| key.iter().any(|(at, ids)| *at == line && ids.contains(&id));
    for run in variant.call_method0(name!("co_lines"))?.try_iter()? {
        let line = run?.get_item(2)?.extract::<Option<u32>>()?;
        let of_line = wanted.iter().filter(|(at, _)| Some(*at) == line);
        if of_line.into_iter().any(|(at, id)| !held(*at, *id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bind_met(
    file: &Arc<str>,
    code: &Bound<'_, PyAny>,
    function: &Bound<'_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let py = code.py();
    let setting = Setting::new(py).map_err(super::unavailable)?;
    let holders = Holders {
        functions: vec![function.clone()],
        partial: true,
        ..Holders::default()
    };
    follow_file(py, &setting, file, holders)?;
    let swapping = files(|files| files.values().any(|state| !state.swapped.is_empty()));
    if !swapping && unmet().is_empty() {
        hook_as_needed(py, &setting)?;
    }
    let variant = files(|files| {
        let state = files.get(file)?;
        let known = state.variants.get(&address(code));
        let original = known.map_or(code, |variant| variant.original.bind(py));
        state.current_of(py, original)
    });
    let variant = variant.filter(|variant| !variant.is(code));
    if variant.is_some() && setting.promotion {
        count(&FRAMES_PROMOTED);
    }
    Ok(variant)
}
