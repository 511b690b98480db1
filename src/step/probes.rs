//! Whether the line where a step stopped begins with a probe.
//!
//! The line event comes first, at the instruction that loads the probe; the same pass of the line
//! must not stop a second time. So the instruction itself is looked at: nothing else can tell a
//! probe that is about to run from one that is not there any more.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use crate::probe::Probe;

struct Opcodes {
    load_const: u8,
    extended_arg: u8,
}

fn opcodes(py: Python<'_>) -> PyResult<&'static Opcodes> {
    static OPCODES: PyOnceLock<Opcodes> = PyOnceLock::new();
    OPCODES.get_or_try_init(py, || {
        let numbers = py.import("opcode")?.getattr("opmap")?;
        Ok(Opcodes {
            load_const: numbers.get_item("LOAD_CONST")?.extract()?,
            extended_arg: numbers.get_item("EXTENDED_ARG")?.extract()?,
        })
    })
}

/// Whether the instruction at byte offset `at`, or the one that `frame` is at, loads a probe.
pub(super) fn follows(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    at: Option<usize>,
) -> PyResult<bool> {
    let py = frame.py();
    let opcodes = opcodes(py)?;
    let at = match at {
        Some(at) => at,
        None => frame.getattr("f_lasti")?.extract()?,
    };
    let units = code.getattr("co_code")?.cast_into::<PyBytes>()?;
    let mut index = 0;
    for unit in units
        .as_bytes()
        .get(at..)
        .unwrap_or_default()
        .chunks_exact(2)
    {
        index = index << 8 | usize::from(unit[1]);
        if unit[0] == opcodes.extended_arg {
            continue;
        }
        if unit[0] != opcodes.load_const {
            return Ok(false);
        }
        let constants = code.getattr("co_consts")?.cast_into::<PyTuple>()?;
        let constant = constants.get_item(index);
        return Ok(constant.is_ok_and(|constant| constant.is_instance_of::<Probe>()));
    }
    Ok(false)
}
