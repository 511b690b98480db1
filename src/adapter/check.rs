//! What is wrong with a program before it is started: it is missing, or it does not compile; and
//! what is wrong with the interpreter that is to run it.
//!
//! The interpreter that this process runs in is asked here; any other is started once, and asked
//! what it is and what it says of the program.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use instrument::PyVersion;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::dap::protocol::Refusal;
use crate::ffi::name::name;

/// Says what it is, and what is wrong with the source on its standard input.
const PROBE: &str = "\
import sys
sys.stdout.write('python %s %d %d\\n' % ((getattr(sys, 'implementation', sys).name,) + sys.version_info[:2]))
try:
    compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', 0, True)
except Exception as error:
    sys.stdout.write('%s: %s (line %s)' % (type(error).__name__, error.args[0], getattr(error, 'lineno', '?')))
";

/// The source that is to run.
pub(super) struct Source {
    /// By which messages name it.
    pub(super) name: String,
    /// Its text, where it is one.
    pub(super) text: Option<Vec<u8>>,
}

/// The program at a path, or what is wrong with it.
pub(super) fn program(path: &Path) -> Result<Source, Refusal> {
    let name = path.display().to_string();
    if path.is_dir() {
        if path.join("__main__.py").is_file() {
            return Ok(Source { name, text: None });
        }
        let message = format!("\"program\" is a folder without a __main__.py: {name}");
        return Err(Refusal::shown(message));
    }
    let text = std::fs::read(path).map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "\"program\" does not exist: {name}; correct the path in the launch configuration"
            ),
            _ => format!("\"program\" cannot be read: {name}: {error}"),
        };
        Refusal::shown(message)
    })?;
    let compiled = text.starts_with(b"PK\x03\x04") || path.extension().is_some_and(|e| e == "pyc");
    let text = (!compiled).then_some(text);
    Ok(Source { name, text })
}

/// What this interpreter says of the source.
pub(super) fn compiles(source: &Source) -> Result<(), Refusal> {
    let Some(text) = &source.text else {
        return Ok(());
    };
    Python::attach(|py| {
        let compile = || -> PyResult<()> {
            // What the compiler warns of is the program's to say.
            let warnings = py.import("warnings")?;
            let caught = warnings.call_method0(name!("catch_warnings"))?;
            caught.call_method0(name!("__enter__"))?;
            warnings.call_method1(name!("simplefilter"), ("ignore",))?;
            let arguments = (PyBytes::new(py, text), &source.name, "exec", 0, true);
            let compiled = py
                .import("builtins")?
                .call_method1(name!("compile"), arguments);
            // The process may become that of the program.
            caught.call_method1(name!("__exit__"), (py.None(), py.None(), py.None()))?;
            compiled.map(drop)
        };
        compile().map_err(|error| {
            let value = error.value(py);
            let said = |name: &str| value.getattr(name).and_then(|value| value.str());
            let text = said("msg").map_or_else(|_| value.to_string(), |text| text.to_string());
            let line = said("lineno").map_or_else(|_| "?".to_owned(), |line| line.to_string());
            let kind = error.get_type(py).to_string();
            let kind = kind.trim_start_matches("<class '").trim_end_matches("'>");
            does_not_compile(&source.name, &format!("{kind}: {text} (line {line})"))
        })
    })
}

fn does_not_compile(name: &str, problem: &str) -> Refusal {
    Refusal::shown(format!("{name} does not compile: {problem}"))
}

/// What another interpreter says of itself and of the source.
pub(super) fn interpreter(python: &[String], source: &Source) -> Result<(), Refusal> {
    let name = python.join(" ");
    let wrong = |problem: &str| {
        let message = format!("\"python\" cannot be used: {name}: {problem}");
        Refusal::shown(message)
    };
    let (program, options) = python.split_first().ok_or_else(|| wrong("it is empty"))?;
    let mut child = Command::new(program)
        .args(options)
        .args(["-I", "-S", "-B", "-W", "ignore", "-c", PROBE, &source.name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| wrong(&error.to_string()))?;
    if let (Some(mut input), Some(text)) = (child.stdin.take(), &source.text) {
        // One that does not read says what is wrong below.
        let _ = std::io::Write::write_all(&mut input, text);
    }
    let mut said = String::new();
    let read = child
        .stdout
        .take()
        .map(|mut output| output.read_to_string(&mut said));
    let ended = child.wait();
    if ended.is_err() || !matches!(read, Some(Ok(_))) {
        return Err(wrong("it does not answer like a Python interpreter"));
    }
    let (first, problem) = said.split_once('\n').unwrap_or((&said, ""));
    let facts: Vec<&str> = first.split(' ').collect();
    let ["python", kind, major, minor] = facts[..] else {
        return Err(wrong("it does not answer like a Python interpreter"));
    };
    let known = minor.parse().ok().and_then(PyVersion::from_minor);
    if kind != "cpython" || major != "3" || known.is_none() {
        return Err(wrong(&format!(
            "it is {kind} {major}.{minor}, and dapper supports CPython 3.11 to 3.15"
        )));
    }
    match problem {
        "" => Ok(()),
        problem => Err(does_not_compile(&source.name, problem)),
    }
}

/// The program that a name on the command line means, if there is one.
pub(super) fn executable(name: &str, path: Option<&str>) -> Option<PathBuf> {
    let is_program = |file: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(file)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = std::path::absolute(name).ok()?;
        return is_program(&path).then_some(path);
    }
    std::env::split_paths(path?)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}
