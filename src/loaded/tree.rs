//! Code objects inside code objects, and which probes one of them holds.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::ffi::name::name;
use crate::probe::probes_of;

/// The lines of a code object that hold probes and the breakpoints on each, sorted: code objects
/// with the same original and the same key are interchangeable.
pub(super) type Key = Vec<(u32, Vec<u64>)>;

/// The constants of a code object.
pub(super) fn constants<'py>(code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    Ok(code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?)
}

/// The code objects among the constants of a code object, with their indices.
pub(super) fn nested<'py>(code: &Bound<'py, PyAny>) -> PyResult<Vec<(usize, Bound<'py, PyAny>)>> {
    let kind = code.get_type();
    let constants = constants(code)?.into_iter().enumerate();
    Ok(constants
        .filter(|(_, constant)| constant.get_type().is(&kind))
        .collect())
}

/// The key of a code object.
pub(super) fn key(code: &Bound<'_, PyAny>) -> PyResult<Key> {
    let mut lines: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for probe in probes_of(code)? {
        let probe = probe.get();
        let ids = probe.breakpoints.iter().map(|breakpoint| breakpoint.id);
        // The breakpoints of one line may have probes of their own.
        lines.entry(probe.line).or_default().extend(ids);
    }
    let lines = lines.into_iter();
    Ok(lines
        .map(|(line, ids)| (line, ids.into_iter().collect()))
        .collect())
}

/// Whether any instruction of a code object, or of one inside it, is on one of `lines`.
pub(super) fn has_line(code: &Bound<'_, PyAny>, lines: &HashSet<u32>) -> PyResult<bool> {
    for run in code.call_method0(name!("co_lines"))?.try_iter()? {
        let line = run?.get_item(2)?;
        if !line.is_none() && lines.contains(&line.extract()?) {
            return Ok(true);
        }
    }
    for (_, inner) in nested(code)? {
        if has_line(&inner, lines)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What `marshal` writes for a code object.
pub(super) fn dumps(code: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    code.py()
        .import("marshal")?
        .call_method1(name!("dumps"), (code,))?
        .extract()
}

/// The address of an object, which identifies it while it is held.
pub(super) fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}
