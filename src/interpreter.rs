//! The interpreter that this process runs: what decides whether and how code is instrumented.
//!
//! Read once, through Python's own names, and refused as a whole when it is not one of those that
//! the engine knows: a pre-release, a free-threaded build, another implementation, a
//! subinterpreter's copy of the module never gets here.

use crate::ffi::name::name;
use std::sync::OnceLock;

use instrument::PyVersion;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What the engine has to know about the running interpreter.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    pub(crate) version: PyVersion,
    pub(crate) cache_tag: String,
    pub(crate) abi_flags: String,
    pub(crate) optimize: u8,
    pub(crate) debug_ranges: bool,
    /// Such as `CPython 3.13.0`.
    pub(crate) name: String,
}

static INTERPRETER: OnceLock<Result<Interpreter, String>> = OnceLock::new();

/// The running interpreter, or why it is not supported.
pub(crate) fn current(py: Python<'_>) -> Result<&'static Interpreter, &'static str> {
    let read = || read(py).unwrap_or_else(|error| Err(error.to_string()));
    INTERPRETER
        .get_or_init(read)
        .as_ref()
        .map_err(String::as_str)
}

/// Whether a JIT compiles code here: it takes for granted what the extension changes.
pub(crate) fn jit_enabled(py: Python<'_>) -> bool {
    let enabled = || -> PyResult<bool> {
        let jit = py.import("sys")?.getattr(name!("_jit"))?;
        jit.call_method0(name!("is_enabled"))?.is_truthy()
    };
    enabled().unwrap_or(false)
}

fn read(py: Python<'_>) -> PyResult<Result<Interpreter, String>> {
    let sys = py.import("sys")?;
    let implementation = sys.getattr(name!("implementation"))?;
    let kind: String = implementation.getattr(name!("name"))?.extract()?;
    let version = sys.getattr(name!("version_info"))?;
    let (major, minor, micro): (u8, u8, u8) = (
        version.getattr(name!("major"))?.extract()?,
        version.getattr(name!("minor"))?.extract()?,
        version.getattr(name!("micro"))?.extract()?,
    );
    if kind != "cpython" {
        return Ok(Err(format!("{kind} is not CPython")));
    }
    let magic = py
        .import("_frozen_importlib_external")?
        .getattr(name!("MAGIC_NUMBER"))?;
    let magic = magic.cast_into::<PyBytes>()?;
    let magic = magic
        .as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u16::from_le_bytes(*bytes));
    let known = PyVersion::from_minor(minor).filter(|version| version.magic() == magic);
    let Some(version) = known.filter(|_| major == 3) else {
        return Ok(Err(format!(
            "the bytecode of CPython {major}.{minor}.{micro} (magic number {magic}) is not known"
        )));
    };
    let flags = sys.getattr(name!("flags"))?;
    let xoptions = sys.getattr(name!("_xoptions"))?;
    let debug_ranges = !xoptions.contains("no_debug_ranges")?
        && (flags.getattr(name!("ignore_environment"))?.is_truthy()?
            || std::env::var_os("PYTHONNODEBUGRANGES").is_none_or(|value| value.is_empty()));
    Ok(Ok(Interpreter {
        version,
        cache_tag: implementation
            .getattr(name!("cache_tag"))?
            .extract::<Option<String>>()?
            .unwrap_or_default(),
        abi_flags: sys
            .getattr(name!("abiflags"))
            .and_then(|flags| flags.extract())
            .unwrap_or_default(),
        optimize: flags.getattr(name!("optimize"))?.extract()?,
        debug_ranges,
        name: format!("CPython {major}.{minor}.{micro}"),
    }))
}
