//! `dapper run`: from a command line to the process that runs the program.
//!
//! Options become a `Session`; then this process becomes `python` with the program's own
//! arguments, and the session waits for it in the environment. Nothing of the launcher is left in
//! the program: its exit status, signals, streams, `sys.argv`, `sys.path` and `__main__` are those
//! of a plain run. Wrong use is told in one line and exits with 2.

mod for_client;
mod log_line;
mod options;
mod place;
mod tail;

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ArgMatches;
use pyo3::prelude::*;

use crate::condition;
use crate::environment;
use crate::request::Purity;
use crate::session::{Asked, Session};
use log_line::Log;
use options::{Asking, Named, Run};
use tail::{End, Tail};

/// What is told of `--cache-dir`.
const CACHE_DIR: &str =
    "Where instrumented code is kept [default: DAPPER_CACHE_DIR, else the user's cache folder]";
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
    /// Folder to put on `PYTHONPATH` of an interpreter that does not start dapper by itself.
    #[pyo3(item)]
    bootstrap: String,
    /// Whether this interpreter starts dapper by itself.
    #[pyo3(item)]
    starts_itself: bool,
}

/// Runs the command line `argv` (without the program's name); returns the exit status when the
/// process did not become the program.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python arguments are extracted into values"
)]
pub(crate) fn command(py: Python<'_>, argv: Vec<String>, launch: Launch) -> u8 {
    let verb = options::verb_of(&argv).map(str::to_owned);
    let argv = std::iter::once("dapper".to_owned()).chain(verb).chain(argv);
    let asking = match options::parse(argv) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are no mistakes; a closed pipe is not ours to tell about.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    let (verb, command) = match &asking {
        Asking::Run(run, order) => ("run", prepare(py, run, order, &launch)),
        Asking::Log(log) => ("log", prepare_log(py, log, &launch)),
        Asking::Tail(tail) => return show(py, tail),
    };
    let error = match command {
        Ok(command) => become_program(command),
        Err(error) => error,
    };
    options::complain(verb, &error)
}

fn show(py: Python<'_>, tail: &Tail) -> u8 {
    let interrupted = || py.check_signals().is_err();
    let mut out = BufWriter::new(std::io::stdout().lock());
    match tail::run(tail, &mut out, &interrupted) {
        Ok(()) | Err(End::Interrupted) => 0,
        Err(End::Failed(error)) => options::complain("tail", &error),
    }
}

fn prepare(
    py: Python<'_>,
    run: &Run,
    order: &ArgMatches,
    launch: &Launch,
) -> Result<Command, String> {
    let target = options::target(&run.target)?.to_vec();
    let events = run.events.as_deref().map(open_events).transpose()?;
    let log_to = run.log_to.as_deref();
    let log_to = log_to
        .map(|to| options::log_target("--log-to", to))
        .transpose()?;
    let cache_dir = cache_dir(py, run.cache_dir.as_deref())?;
    let purity = run.purity()?;
    let budget = run.condition_budget;
    if budget.is_some_and(|seconds| seconds.is_nan() || seconds <= 0.0) {
        return Err("--condition-budget has to be a number of seconds above 0".to_owned());
    }
    let session = Session {
        breakpoints: checked(py, run.breakpoints(order)?, purity)?,
        every_line: run.every_line_patterns()?,
        events,
        log_to,
        cache_dir,
        purity,
        profile: run.profile()?,
        condition_budget: budget,
        measure: run.measure,
        main_pid: std::process::id(),
        debug: run.debug()?,
    };
    let mut command = Command::new(&launch.executable);
    command.args(&launch.flags).args(target);
    reach(&mut command, &session, launch, launch.starts_itself)?;
    Ok(command)
}

fn prepare_log(py: Python<'_>, log: &Log, launch: &Launch) -> Result<Command, String> {
    let to = log.to.as_deref();
    let session = Session {
        breakpoints: checked(py, vec![log.breakpoint()?], Purity::default())?,
        log_to: to.map(|to| options::log_target("--to", to)).transpose()?,
        cache_dir: cache_dir(py, log.cache_dir.as_deref())?,
        main_pid: std::process::id(),
        ..Session::default()
    };
    // INVARIANT: clap requires the command.
    let (program, arguments) = log.command.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // Which interpreter the command will start is not known.
    reach(&mut command, &session, launch, false)?;
    Ok(command)
}

/// Has the interpreters that `command` starts take up the session.
fn reach(
    command: &mut Command,
    session: &Session,
    launch: &Launch,
    starts_itself: bool,
) -> Result<(), String> {
    command
        .env("DAPPER", "run")
        .env("DAPPER_SESSION", hand_over(session)?);
    if !starts_itself {
        let mut path = OsString::from(&launch.bootstrap);
        if let Some(rest) = std::env::var_os("PYTHONPATH").filter(|rest| !rest.is_empty()) {
            path.push(if cfg!(windows) { ";" } else { ":" });
            path.push(rest);
        }
        command.env("PYTHONPATH", path);
    }
    Ok(())
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

/// The store that was given, or that the environment names from where the command was given.
fn cache_dir(py: Python<'_>, given: Option<&Path>) -> Result<Option<String>, String> {
    let named = || environment::variable(py, "DAPPER_CACHE_DIR").map(PathBuf::from);
    let path = given.map(Path::to_owned).or_else(named);
    path.as_deref().map(absolute).transpose()
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
pub(crate) fn hand_over(session: &Session) -> Result<String, String> {
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
fn become_program(mut command: Command) -> String {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    format!("cannot run {}: {error}", command.get_program().display())
}

#[cfg(not(unix))]
fn become_program(mut command: Command) -> String {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => format!("cannot run {}: {error}", command.get_program().display()),
    }
}
