//! The variables by which the environment configures dapper.
//!
//! They do not count where whoever started the interpreter said that the environment must not
//! (`-E` and `-I`), nor in a process that runs with the rights of somebody else than who started
//! it. `HOME` and `XDG_CACHE_HOME` are not ours: they say where the user's files are, and count.

use crate::ffi::name::name;
use std::ffi::OsString;
use std::sync::OnceLock;

use pyo3::prelude::*;

/// The prefix of the variables that are ours.
const OURS: &str = "DAPPER_";

/// The value of a variable, unless it is one that does not count here.
pub(crate) fn variable(py: Python<'_>, name: &str) -> Option<OsString> {
    unless(is_ignored(py), name).filter(|value| !value.is_empty())
}

/// The value of a variable, empty or not, unless it is one of ours and those are `ignored`.
pub(crate) fn unless(ignored: bool, name: &str) -> Option<OsString> {
    if ignored && name.starts_with(OURS) {
        return None;
    }
    std::env::var_os(name)
}

/// Whether the variables that are ours do not count in this process.
pub(crate) fn is_ignored(py: Python<'_>) -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| flagged(py).unwrap_or(true) || has_borrowed_rights())
}

fn flagged(py: Python<'_>) -> PyResult<bool> {
    let flags = py.import("sys")?.getattr(name!("flags"))?;
    flags.getattr(name!("ignore_environment"))?.is_truthy()
}

#[cfg(unix)]
fn has_borrowed_rights() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

#[cfg(not(unix))]
fn has_borrowed_rights() -> bool {
    false
}

/// The value of a variable of ours as text; `None` as well where the environment does not count.
#[pyfunction(name = "variable")]
fn variable_of_ours(py: Python<'_>, name: &str) -> Option<String> {
    variable(py, name)?.into_string().ok()
}

/// Adds the function of this file.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(variable_of_ours, module)?)
}
