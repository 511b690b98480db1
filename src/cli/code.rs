//! The marshal bytes of one file, for the commands that look at a single file.
//!
//! A `.pyc` is read as it is, whatever version wrote it; a source is compiled by the interpreter,
//! not taken from its `.pyc`, so that what is shown is what stands in the file.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use instrument::{PyVersion, pyc};

use super::arguments::ForPython;
use super::terminal::Environment;
use super::workers::{Task, compile_all};
use super::{Failure, interpreter, worker_options};

/// The code of one file.
pub(super) struct Code {
    pub(super) version: PyVersion,
    /// Marshal bytes of the module's code object.
    pub(super) marshalled: Vec<u8>,
    /// The source, when the file is one and is UTF-8.
    pub(super) source: Option<String>,
}

/// Reads `path`, and compiles it unless it is a `.pyc` file.
pub(super) fn load(
    path: &Path,
    options: &ForPython,
    environment: &Environment<'_>,
) -> Result<Code, Failure> {
    let refused = |reason: String| Failure::file(format!("{}: {reason}", path.display()));
    let bytes = fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    if path.extension().is_some_and(|extension| extension == "pyc") {
        let (header, code) = pyc::read(&bytes).map_err(|error| refused(error.to_string()))?;
        let marshalled = code.to_vec();
        return Ok(Code {
            version: header.version,
            marshalled,
            source: None,
        });
    }
    let interpreter = interpreter(options, environment)?;
    let result = Mutex::new(None);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let task = Task {
        index: 0,
        path: absolute,
        size: bytes.len() as u64,
    };
    compile_all(
        &worker_options(&options.compilation, &interpreter, 1),
        vec![task],
        &|_| Some(bytes.clone()),
        &|_, compiled| {
            if let Ok(mut result) = result.lock() {
                *result = Some(compiled);
            }
        },
    );
    let compiled = result.into_inner().ok().flatten();
    let compiled = compiled.ok_or_else(|| refused("the compile worker gave no answer".into()))?;
    let marshalled = compiled.map_err(|error| refused(error.to_string()))?;
    Ok(Code {
        version: interpreter.version,
        marshalled,
        source: String::from_utf8(bytes).ok(),
    })
}
