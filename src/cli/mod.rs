//! `dapper-instrument`: fills the store ahead of time, and shows what is compiled.
//!
//! A thin shell: arguments in, one subcommand run, exit status out. Results go to standard
//! output, errors and progress to standard error. Knows nothing of the process it runs in but
//! what [`Environment`] tells. Open `arguments` for what can be typed, then `precompile`.

mod arguments;
mod cache;
mod code;
mod dis;
mod interpreter;
mod lines;
mod precompile;
mod report;
mod terminal;
mod verify;
mod walk;
mod workers;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use interpreter::Interpreter;
pub use terminal::{Environment, Running};

/// Exit status of wrong use, and of work that could not start.
const WRONG_USE: i32 = 2;

/// Why a command could not do anything at all.
#[derive(Debug)]
struct Failure {
    message: String,
    status: i32,
}

impl Failure {
    fn new(message: String) -> Self {
        Self {
            message,
            status: WRONG_USE,
        }
    }

    fn of(error: impl Display) -> Self {
        Self::new(error.to_string())
    }

    /// The one file that the command is about cannot be done.
    fn file(message: String) -> Self {
        Self { message, status: 1 }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "used as a function in `map_err`"
    )]
    fn output(error: io::Error) -> Self {
        // A closed pipe means that the reader has seen enough, as in `| head`.
        let message = match error.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("cannot write the result: {error}"),
        };
        Self { message, status: 1 }
    }
}

/// Runs `dapper-instrument` with the arguments after its name; returns the exit status.
pub fn main(
    argv: Vec<OsString>,
    environment: &Environment<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> i32 {
    let name = OsString::from("dapper-instrument");
    let arguments = match Arguments::try_parse_from(std::iter::once(name).chain(argv)) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error, environment, out, err),
    };
    let result = run(&arguments, environment, out).and_then(|status| {
        out.flush().map_err(Failure::output)?;
        Ok(status)
    });
    match result {
        Ok(status) => status,
        Err(failure) => {
            if !failure.message.is_empty() {
                let red = environment.colours(environment.err_is_terminal);
                let (on, off) = if red {
                    ("\x1b[1;31m", "\x1b[0m")
                } else {
                    ("", "")
                };
                // There is nowhere left to complain to.
                let _lost = writeln!(err, "{on}error:{off} {}", failure.message);
            }
            failure.status
        }
    }
}

fn run(
    arguments: &Arguments,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let json = arguments.json;
    match &arguments.command {
        Command::Precompile(options) => precompile::run(options, json, environment, out),
        Command::Lines(options) => lines::run(options, json, environment, out),
        Command::Dis(options) => dis::run(options, json, environment, out),
        Command::Verify(options) => verify::run(options, json, environment, out),
        Command::Cache(options) => cache::run(options, json, environment, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "dapper-instrument", &mut script);
            let printed = if json {
                let (shell, script) = (shell.to_string(), String::from_utf8_lossy(&script));
                report::json(
                    out,
                    &serde_json::json!({ "shell": shell, "script": script }),
                )
            } else {
                out.write_all(&script)
            };
            printed.map_err(Failure::output)?;
            Ok(0)
        }
    }
}

/// Prints help or a usage error where it belongs, coloured only for a terminal.
fn explain<'a>(
    error: &clap::Error,
    environment: &Environment<'_>,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
) -> i32 {
    let (stream, is_terminal) = if error.use_stderr() {
        (err, environment.err_is_terminal)
    } else {
        (out, environment.out_is_terminal)
    };
    let text = error.render();
    // There is nowhere left to complain to.
    let _lost = if environment.colours(is_terminal) {
        write!(stream, "{}", text.ansi())
    } else {
        write!(stream, "{text}")
    };
    error.exit_code()
}

/// The interpreter that `--python` names, else the one that runs us.
fn interpreter(
    options: &arguments::ForPython,
    environment: &Environment<'_>,
) -> Result<Interpreter, Failure> {
    ask(options.python.as_deref(), &options.compilation, environment)
        .map(|(_, interpreter)| interpreter)
}

/// The interpreters that `precompile` works for, each with the name it was given.
fn interpreters(
    arguments: &arguments::Precompile,
    environment: &Environment<'_>,
) -> Result<Vec<(String, Interpreter)>, Failure> {
    let options = &arguments.compilation;
    if arguments.python.is_empty() {
        return ask(None, options, environment).map(|only| vec![only]);
    }
    let named = arguments.python.iter();
    named
        .map(|python| ask(Some(python), options, environment))
        .collect()
}

fn ask(
    named: Option<&Path>,
    options: &arguments::Compilation,
    environment: &Environment<'_>,
) -> Result<(String, Interpreter), Failure> {
    let program = named
        .map(interpreter::program)
        .or_else(|| environment.python.clone());
    let program = program.unwrap_or_else(|| PathBuf::from("python3"));
    let prefix = environment.set("PYTHONPYCACHEPREFIX");
    let name = named.unwrap_or(&program).display().to_string();
    let running = environment.running.as_ref();
    if let Some(running) = running.filter(|_| environment.python.as_ref() == Some(&program)) {
        let interpreter = Interpreter::running(program, running, options.optimize, prefix);
        return Ok((name, interpreter));
    }
    let interpreter = Interpreter::ask(&program, options.optimize, prefix).map_err(Failure::of)?;
    Ok((name, interpreter))
}

fn worker_options(
    options: &arguments::Compilation,
    interpreter: &Interpreter,
    jobs: usize,
) -> workers::Options {
    workers::Options {
        python: interpreter.program.clone(),
        optimize: interpreter.optimize,
        jobs,
        limit: options.timeout.0,
    }
}
