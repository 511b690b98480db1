//! The command line as Python's console script calls it.
//!
//! The interpreter is let go of while the command runs: its path names the interpreter that code
//! is prepared for where no other is named, and what it is has been asked before.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::cli::{self, Environment, Running};
use crate::{environment, interpreter};

/// Runs `dapper-instrument` with the arguments `argv`; returns the exit status.
#[pyfunction]
pub(crate) fn instrument_main(py: Python<'_>, argv: Vec<OsString>, executable: PathBuf) -> i32 {
    let ignored = environment::is_ignored(py);
    let running = interpreter::current(py).ok().map(|current| Running {
        version: current.version,
        cache_tag: current.cache_tag.clone(),
        abi_flags: current.abi_flags.clone(),
    });
    py.detach(|| {
        let (mut out, mut err) = (io::stdout(), io::stderr());
        let environment = Environment {
            python: Some(executable).filter(|path| !path.as_os_str().is_empty()),
            running,
            variable: &|name| environment::unless(ignored, name),
            out_is_terminal: out.is_terminal(),
            err_is_terminal: err.is_terminal(),
        };
        cli::main(argv, &environment, &mut out, &mut err)
    })
}
