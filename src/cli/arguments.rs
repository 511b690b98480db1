//! What can be typed after `dapper-instrument`, with its help.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::cache::arguments::Cache;

const STATUS: &str = "\
Exit status:
  0  everything was done
  1  a file failed; the others were done
  2  wrong use, or nothing could be done at all";

/// Compile breakpoints into Python code ahead of time, and look at what is compiled.
#[derive(Debug, Parser)]
#[command(name = "dapper-instrument", version, after_help = STATUS)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
    /// Print the result as one line of JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fill the store, so that programs start without compiling or instrumenting
    #[command(after_help = PRECOMPILE)]
    Precompile(Precompile),
    /// Show the functions of a file and the lines that can hold a breakpoint
    #[command(after_help = LINES)]
    Lines(Lines),
    /// Show the bytecode of a file, and what probes make of it, side by side
    #[command(after_help = DIS)]
    Dis(Dis),
    /// Prove on real code that instrumenting changes nothing but the probes
    #[command(after_help = VERIFY)]
    Verify(Verify),
    /// Look at the store, keep it small, carry it to other machines
    #[command(arg_required_else_help = true, disable_help_subcommand = true)]
    Cache(Cache),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

const PRECOMPILE: &str = "\
Without --every-line and --breakpoints the plain code is stored: any breakpoint can then be
compiled into it without the source being compiled again. The variants for the breakpoints that
earlier sessions had in these files are stored beside it. Folders whose name starts with a dot are
entered only when they are given.

Examples:
  dapper-instrument precompile src/ tests/
  dapper-instrument precompile --breakpoints points.toml --python .venv/bin/python src/
  dapper-instrument precompile --python 3.12 --python 3.13 --write-baseline store.json src/
  dapper-instrument precompile --every-line --exclude '**/vendor/**' --json src/
  dapper-instrument precompile --check --python 3.12 --python 3.13 src/
  dapper-instrument precompile --baseline store.json src/

Exit status:
  0  all done; with --check: the store has everything
  1  a file failed, the others are done; with --check: something is missing in the store
  2  wrong use, or nothing could be done at all";

pub(super) const CACHE_DIR: &str =
    "The store [default: DAPPER_CACHE_DIR, else $XDG_CACHE_HOME/dapper, else ~/.cache/dapper]";

/// `precompile`
#[derive(Debug, Args)]
pub(super) struct Precompile {
    /// Python files, and folders to search for them
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// An interpreter the code is for, by path or by version such as 3.13; may be repeated
    /// [default: the one that runs this command]
    #[arg(long, value_name = "PYTHON")]
    pub(super) python: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) compilation: Compilation,
    /// Store the variants for the breakpoints of this TOML file
    #[arg(long, value_name = "FILE")]
    pub(super) breakpoints: Option<PathBuf>,
    /// Store the variants with a probe on every line
    #[arg(long)]
    pub(super) every_line: bool,
    /// Leave out the variants for the breakpoints of earlier sessions
    #[arg(long)]
    pub(super) no_remembered: bool,
    #[command(flatten)]
    pub(super) comparison: Comparison,
    /// Read all that is stored and look for damage, even in files that did not change
    #[arg(long)]
    pub(super) verify: bool,
    #[arg(long, value_name = "DIR", help = CACHE_DIR)]
    pub(super) cache_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: Selection,
}

/// Options about what was prepared before.
#[derive(Debug, Args)]
pub(super) struct Comparison {
    /// Write nothing, and fail when something is missing in the store
    #[arg(long)]
    pub(super) check: bool,
    /// Write nothing, and tell what would be instrumented that this baseline does not have
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// Write what was prepared, or looked at, to this file for --baseline
    #[arg(long, value_name = "FILE")]
    pub(super) write_baseline: Option<PathBuf>,
    /// The folder that paths in a baseline are relative to [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
}

impl Comparison {
    /// Whether nothing is to be written but, perhaps, a baseline.
    pub(super) fn writes_nothing(&self) -> bool {
        self.check || self.baseline.is_some()
    }
}

/// The interpreter of commands that work for one.
#[derive(Debug, Args)]
pub(super) struct ForPython {
    /// The interpreter the code is for, by path or by version such as 3.13 [default: the one
    /// that runs this command]
    #[arg(long, value_name = "PYTHON")]
    pub(super) python: Option<PathBuf>,
    #[command(flatten)]
    pub(super) compilation: Compilation,
}

/// Options of commands that compile.
#[derive(Debug, Args)]
pub(super) struct Compilation {
    /// Optimisation level of the code: 0, 1 (python -O) or 2 (python -OO)
    #[arg(long, value_name = "LEVEL", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(super) optimize: u8,
    /// Seconds one file may take to compile; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) timeout: Limit,
}

/// Options of commands that work on many files.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Leave out files and folders whose path matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,
    /// How many files to work on at once [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(super) jobs: Option<usize>,
}

const LINES: &str = "\
Examples:
  dapper-instrument lines app/models.py
  dapper-instrument lines --json app/models.py

Exit status: 0 done, 1 the file cannot be read or does not compile, 2 wrong use";

/// `lines`
#[derive(Debug, Args)]
pub(super) struct Lines {
    /// A Python source or a .pyc file
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) python: ForPython,
}

const DIS: &str = "\
Without --line there is a probe on every line.

Examples:
  dapper-instrument dis app/models.py:Model.save
  dapper-instrument dis app/models.py --line 42 --line 57

Exit status: 0 done, 1 the file cannot be read or does not compile, 2 wrong use";

/// `dis`
#[derive(Debug, Args)]
pub(super) struct Dis {
    /// A Python source or a .pyc file, and the qualified name of a function of it
    #[arg(value_name = "FILE[:FUNCTION]")]
    pub(super) target: OsString,
    /// Show a probe on this line; may be repeated
    #[arg(long = "line", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) lines: Vec<u32>,
    #[command(flatten)]
    pub(super) python: ForPython,
}

const VERIFY: &str = "\
For every code object: reading and writing gives the same bytes; a probe fits on every line and
the result passes verification; taking the probes out gives the original back.

Examples:
  dapper-instrument verify src/
  dapper-instrument verify --json --python python3.13 /usr/lib/python3.13

Exit status: 0 all is well, 1 a code object or a file failed, 2 wrong use";

/// `verify`
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Python sources, .pyc files, and folders to search for them
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) python: ForPython,
    #[command(flatten)]
    pub(super) selection: Selection,
}

const COMPLETIONS: &str = "\
Examples:
  dapper-instrument completions bash > ~/.local/share/bash-completion/completions/dapper-instrument
  dapper-instrument completions zsh > ~/.zfunc/_dapper-instrument";

/// A time limit that can be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<Duration>);

fn seconds(text: &str) -> Result<Limit, String> {
    let wrong = || format!("{text:?} is not a number of seconds");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if seconds == 0.0 {
        return Ok(Limit(None));
    }
    Duration::try_from_secs_f64(seconds)
        .map(|limit| Limit(Some(limit)))
        .map_err(|_| wrong())
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 jobs would do nothing: use 1 or more, or leave --jobs out".to_owned()),
        Ok(jobs @ 1..=1024) => Ok(jobs),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// Splits `FILE:FUNCTION` at its last colon, unless all of it names an existing file.
#[must_use]
pub(super) fn split_function(target: &OsStr) -> (PathBuf, Option<String>) {
    let whole = PathBuf::from(target);
    let text = target.to_str().filter(|_| !whole.exists());
    match text.and_then(|text| text.rsplit_once(':')) {
        Some((file, function)) if !file.is_empty() && !function.is_empty() => {
            (PathBuf::from(file), Some(function.to_owned()))
        }
        _ => (whole, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn functions_follow_the_last_colon() {
        let split = |text: &str| split_function(OsStr::new(text));
        let function = Some("A.f".to_owned());
        assert_eq!(
            split("c:/no/such.py:A.f"),
            (PathBuf::from("c:/no/such.py"), function)
        );
        assert_eq!(split("/no/such.py"), (PathBuf::from("/no/such.py"), None));
        assert_eq!(split("such.py:"), (PathBuf::from("such.py:"), None));
    }

    #[test]
    fn zero_seconds_is_no_limit() {
        assert_eq!(seconds("0"), Ok(Limit(None)));
        assert_eq!(seconds("1.5"), Ok(Limit(Some(Duration::from_millis(1500)))));
        assert!(seconds("-1").is_err() && seconds("soon").is_err());
    }
}
