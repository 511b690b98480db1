//! `dapper run`: from a command line to the process that runs the program.
//!
//! Options become a `Session`; then this process becomes `python` with the program's own
//! arguments, and the session waits for it in the environment. Nothing of the launcher is left in
//! the program: its exit status, signals, streams, `sys.argv`, `sys.path` and `__main__` are those
//! of a plain run. Wrong use is told in one line and exits with 2.

mod options;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use clap::ArgMatches;
use pyo3::prelude::*;

use crate::condition;
use crate::request::Purity;
use crate::session::{Asked, Session};
use options::{Named, Run};

/// Exit status of wrong use.
const USAGE: u8 = 2;
/// An environment variable longer than this is handed over in a file.
const ENVIRONMENT_LIMIT: usize = 100_000;

/// What the launcher has to know about the interpreter that it is to start.
#[derive(Debug, FromPyObject)]
pub(crate) struct Launch {
    #[pyo3(item)]
    executable: String,
    /// Interpreter options to pass on.
    #[pyo3(item)]
    flags: Vec<String>,
    /// Folder to put on `PYTHONPATH`, when the interpreter does not start dapper by itself.
    #[pyo3(item)]
    bootstrap: Option<String>,
}

/// Runs the command line `argv` (without the program's name); returns the exit status when the
/// process did not become the program.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python arguments are extracted into values"
)]
pub(crate) fn command(py: Python<'_>, argv: Vec<String>, launch: Launch) -> u8 {
    let argv = std::iter::once("dapper".to_owned()).chain(argv);
    let (run, order) = match Run::parse(argv) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are no mistakes; a closed pipe is not ours to tell about.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    let error = match prepare(py, &run, &order, &launch) {
        Ok(command) => become_program(command, &launch),
        Err(error) => error,
    };
    options::complain(&error)
}

fn prepare(
    py: Python<'_>,
    run: &Run,
    order: &ArgMatches,
    launch: &Launch,
) -> Result<Command, String> {
    let target = options::target(&run.target)?.to_vec();
    let events = run.events.as_deref().map(open_events).transpose()?;
    let cache_dir = run.cache_dir.as_deref().map(absolute).transpose()?;
    let purity = run.purity()?;
    let budget = run.condition_budget;
    if budget.is_some_and(|seconds| !(seconds > 0.0 && seconds.is_finite())) {
        return Err("--condition-budget has to be a number of seconds above 0".to_owned());
    }
    let session = Session {
        breakpoints: checked(py, run.breakpoints(order)?, purity)?,
        every_line: run.every_line_patterns()?,
        events,
        cache_dir,
        purity,
        profile: run.profile()?,
        condition_budget: budget,
        main_pid: std::process::id(),
    };
    let mut command = Command::new(&launch.executable);
    command.args(&launch.flags).args(target);
    command
        .env("DAPPER", "run")
        .env("DAPPER_SESSION", hand_over(&session)?);
    if let Some(bootstrap) = &launch.bootstrap {
        let mut path = OsString::from(bootstrap);
        if let Some(rest) = std::env::var_os("PYTHONPATH").filter(|rest| !rest.is_empty()) {
            path.push(if cfg!(windows) { ";" } else { ":" });
            path.push(rest);
        }
        command.env("PYTHONPATH", path);
    }
    Ok(command)
}

/// Refuses breakpoints that the process of the program would refuse.
fn checked(py: Python<'_>, breakpoints: Vec<Named>, purity: Purity) -> Result<Vec<Asked>, String> {
    let check = |Named { asked, name }: Named| {
        let request = asked
            .request(purity)
            .map_err(|problem| format!("{name}: {problem}"))?;
        condition::check(py, &request).map_err(|error| format!("{name}: {}", error.value(py)))?;
        Ok(asked)
    };
    breakpoints.into_iter().map(check).collect()
}

/// Empties the file of `--events`, so that every process can append to it.
fn open_events(path: &Path) -> Result<String, String> {
    if path == Path::new("-") {
        return Ok("-".to_owned());
    }
    File::create(path)
        .map_err(|error| format!("cannot write --events {}: {error}", path.display()))?;
    absolute(path)
}

fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path)
        .map_err(|error| format!("cannot resolve {}: {error}", path.display()))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|path| format!("{} is not UTF-8", path.display()))
}

/// The session as the environment carries it: JSON, or `@` and the path of a file that holds it.
fn hand_over(session: &Session) -> Result<String, String> {
    let json = serde_json::to_string(session).map_err(|error| error.to_string())?;
    if json.len() <= ENVIRONMENT_LIMIT {
        return Ok(json);
    }
    // A new file that only this user can read; the program deletes it at its end.
    let kept = tempfile::Builder::new()
        .prefix("dapper-session-")
        .suffix(".json")
        .tempfile()
        .and_then(|mut file| file.write_all(json.as_bytes()).map(|()| file))
        .and_then(|file| file.keep().map_err(|kept| kept.error));
    let (_, path) = kept.map_err(|error| {
        let folder = std::env::temp_dir();
        format!("cannot write the session to {}: {error}", folder.display())
    })?;
    Ok(format!("@{}", absolute(&path)?))
}

#[cfg(unix)]
fn become_program(mut command: Command, launch: &Launch) -> String {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    format!("cannot run {}: {error}", launch.executable)
}

#[cfg(not(unix))]
fn become_program(mut command: Command, launch: &Launch) -> String {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => format!("cannot run {}: {error}", launch.executable),
    }
}
