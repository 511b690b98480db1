//! Which frames are in what a breakpoint evaluates in its line.
//!
//! A fragment is guarded: its handlers load the probe of the line, which no handler of the program
//! does. What such a frame raises, and what it calls, is none of the program's.

use pyo3::prelude::*;

use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::interpreter;
use crate::probe::{Probe, probes_of};

/// Whether a frame, or one that has called it, is in an expression that is evaluated in its line.
pub(crate) fn runs_for_condition(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let mut caller = frame.clone();
    while !caller.is_none() {
        if evaluates(&caller)? {
            return Ok(true);
        }
        caller = caller.getattr(name!("f_back"))?;
    }
    Ok(false)
}

/// Whether a frame is in an expression that is evaluated in its line.
pub(crate) fn evaluates(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let code = tracing::code_of(frame);
    if probes_of(&code)?.next().is_none() {
        return Ok(false);
    }
    let table: Vec<u8> = code.getattr(name!("co_exceptiontable"))?.extract()?;
    let offset: i64 = frame.getattr(name!("f_lasti"))?.extract()?;
    let handler_of = |offset| instrument::handler_of(&table, offset);
    let leads_to_probe = |handler| probe_at(&code, handler).is_some();
    let Some(handler) = u32::try_from(offset).ok().and_then(handler_of) else {
        return Ok(false);
    };
    // The handler of a name that may be unbound looks it up elsewhere, in the guard of the whole.
    Ok(leads_to_probe(handler) || handler_of(handler).is_some_and(leads_to_probe))
}

/// Whether a frame is where a condition that raised is handed to the probe. 3.12 takes that for a
/// beginning of the line when the exception comes out of Python code that the condition called.
pub(crate) fn is_at_handler(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let code = tracing::code_of(frame);
    if probes_of(&code)?.next().is_none() {
        return Ok(false);
    }
    let offset: i64 = frame.getattr(name!("f_lasti"))?.extract()?;
    let loaded = u32::try_from(offset).ok();
    let loaded = loaded.and_then(|offset| probe_at(&code, offset));
    Ok(loaded.is_some_and(|probe| probe.get().takes_condition()))
}

/// The probe that the instruction at an offset of `code` loads, if it loads one.
pub(crate) fn probe_at<'py>(code: &Bound<'py, PyAny>, offset: u32) -> Option<Bound<'py, Probe>> {
    let version = interpreter::current(code.py()).ok()?.version;
    let instructions: Vec<u8> = code.getattr(name!("co_code")).ok()?.extract().ok()?;
    let number = instrument::constant_at(version, &instructions, offset)?;
    let constants = code.getattr(name!("co_consts")).ok()?;
    let constant = constants.get_item(number).ok()?;
    constant.cast_into::<Probe>().ok()
}
