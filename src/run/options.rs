//! The options of `dapper run`, and what is wrong with them.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use super::USAGE;
use super::tail::Tail;
use crate::breakpoint::Kind;
use crate::breakpoint_file;
use crate::registry;
use crate::session::Asked;

const EXAMPLES: &str = "\
Examples:
  dapper run --break app/models.py:42 app.py --port 8000
  dapper run --log app/models.py:42='saving' --count app/models.py:57 -m app
  dapper run --breakpoints points.toml --events hits.jsonl app.py
  dapper run --every-line 'app/**/*.py' --events - app.py

At a stop, the prompt is pdb's. Log lines go to --log-to, the final counts to standard error.
With --events nothing prompts and nothing is printed: every hit is one JSON line.";

/// Breakpoints compiled into a running program.
#[derive(Debug, Parser)]
#[command(name = "dapper", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a program with breakpoints.
    Run(Box<Run>),
    /// Run a command with one log line in the Python programs that it starts.
    Log(Box<Log>),
    /// Show what was recorded, and follow what is being recorded.
    Tail(Tail),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// Stop at this line with a pdb prompt.
    #[arg(long = "break", value_name = "FILE:LINE")]
    stops: Vec<String>,
    /// Write TEXT when this line is reached.
    #[arg(long = "log", value_name = "FILE:LINE=TEXT")]
    logs: Vec<String>,
    /// Count how often this line is reached.
    #[arg(long = "count", value_name = "FILE:LINE")]
    counts: Vec<String>,
    /// Read breakpoints from a TOML file.
    #[arg(long = "breakpoints", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Put a counting probe on every line of the files that match.
    #[arg(long = "every-line", value_name = "GLOB")]
    every_line: Vec<String>,
    /// Record every hit as a JSON line in FILE (`-`: standard output) instead of prompting.
    #[arg(long, value_name = "FILE")]
    pub(super) events: Option<PathBuf>,
    /// Where log messages go: stderr, stdout, FILE, or jsonl:FILE for JSON lines [default: stderr].
    #[arg(long = "log-to", value_name = "TARGET")]
    pub(super) log_to: Option<String>,
    /// Where instrumented code is kept [default: the user's cache folder].
    #[arg(long, value_name = "DIR", env = "DAPPER_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,
    /// SCRIPT, -m MODULE, -c CODE or -, and the arguments of the program.
    #[arg(
        value_name = "PROGRAM",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) target: Vec<OsString>,
}

const LOG_EXAMPLES: &str = "\
Examples:
  dapper log app/models.py:42 'saving {self}' -- python app.py --port 8000
  dapper log app/models.py:42 here --to jsonl:log.jsonl -- make test

The command is any command; its children are reached too. `dapper tail` shows JSON lines.";

#[derive(Debug, Args)]
#[command(after_help = LOG_EXAMPLES)]
pub(super) struct Log {
    /// Where the message is made.
    #[arg(value_name = "FILE:LINE")]
    place: String,
    /// The message.
    #[arg(value_name = "TEXT")]
    message: String,
    /// Where messages go: stderr, stdout, FILE, or jsonl:FILE for JSON lines [default: stderr].
    #[arg(long = "to", value_name = "TARGET")]
    pub(super) to: Option<String>,
    /// Where instrumented code is kept [default: the user's cache folder].
    #[arg(long, value_name = "DIR", env = "DAPPER_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,
    /// The command to run, with its arguments.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(super) command: Vec<OsString>,
}

impl Log {
    /// The one breakpoint.
    pub(super) fn breakpoint(&self) -> Result<Asked, String> {
        let mut asked =
            at(&self.place, Kind::Log).map_err(|error| format!("{}: {error}", self.place))?;
        asked.message = Some(self.message.clone());
        Ok(asked)
    }
}

impl Run {
    /// The breakpoints of all options, in the order stop, log, count, file.
    pub(super) fn breakpoints(&self) -> Result<Vec<Asked>, String> {
        let mut all = Vec::new();
        for text in &self.stops {
            all.push(at(text, Kind::Stop).map_err(|error| format!("--break {text}: {error}"))?);
        }
        for text in &self.logs {
            all.push(log(text).map_err(|error| format!("--log {text}: {error}"))?);
        }
        for text in &self.counts {
            all.push(at(text, Kind::Count).map_err(|error| format!("--count {text}: {error}"))?);
        }
        for path in &self.files {
            let rows = breakpoint_file::read(path).map_err(|error| error.to_string())?;
            for row in rows {
                let named = |error| format!("{}: {error}", path.display());
                let file = source_file(&row.file).map_err(named)?;
                all.push(Asked {
                    file,
                    line: row.line,
                    kind: row.kind,
                    message: row.message,
                });
            }
        }
        Ok(all)
    }

    /// The patterns of `--every-line`, anchored where they were given.
    pub(super) fn every_line_patterns(&self) -> Result<Vec<String>, String> {
        let anchor = |pattern: &String| {
            let glob = registry::every_line_glob(pattern)?;
            Ok(glob.glob().to_owned())
        };
        let patterns: Result<_, String> = self.every_line.iter().map(anchor).collect();
        patterns.map_err(|error| format!("--every-line: {error}"))
    }
}

/// The program to run, checked as far as it can be before it runs.
pub(super) fn target(target: &[OsString]) -> Result<&[OsString], String> {
    let Some(first) = target.first() else {
        return Err("no program: give SCRIPT, -m MODULE, -c CODE or -".to_owned());
    };
    let needs = |what| match target.len() {
        1 => Err(format!("{} needs {what}", first.display())),
        _ => Ok(target),
    };
    match first.to_str() {
        Some("-m") => needs("the name of a module"),
        Some("-c") => needs("code"),
        Some("-") => Ok(target),
        Some(option) if option.starts_with('-') => Err(format!(
            "unknown option {option} (options of the program come after it)"
        )),
        _ => Ok(target),
    }
}

/// Where log messages go, with the file named from the root; the file is opened once, so that
/// what is wrong with it is told before the program runs.
pub(super) fn log_target(option: &str, target: &str) -> Result<String, String> {
    let path = match target {
        "stderr" | "stdout" => return Ok(target.to_owned()),
        _ => target.strip_prefix("jsonl:").unwrap_or(target),
    };
    let wrong = |error: &dyn Display| format!("cannot write {option} {target}: {error}");
    if path.is_empty() {
        return Err(wrong(&"the name of the file is missing"));
    }
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| wrong(&error))?;
    let path = super::absolute(Path::new(path))?;
    let prefix = if target.starts_with("jsonl:") {
        "jsonl:"
    } else {
        ""
    };
    Ok(format!("{prefix}{path}"))
}

/// Tells what is wrong in one line, and returns the exit status of wrong use.
pub(super) fn complain(verb: &str, error: &str) -> u8 {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "dapper {verb}: {error}");
    USAGE
}

fn at(text: &str, kind: Kind) -> Result<Asked, String> {
    let (file, line) = text.rsplit_once(':').ok_or("expected FILE:LINE")?;
    Ok(Asked {
        file: source_file(Path::new(file))?,
        line: line_number(line)?,
        kind,
        message: None,
    })
}

fn log(text: &str) -> Result<Asked, String> {
    // The first `:digits=` ends the file, which may hold colons and equal signs itself.
    for (colon, _) in text.match_indices(':') {
        let after = &text[colon + 1..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (line, rest) = after.split_at(digits);
        if let (1.., Some(message)) = (digits, rest.strip_prefix('=')) {
            let file = source_file(Path::new(&text[..colon]))?;
            let message = Some(message.to_owned());
            return Ok(Asked {
                file,
                line: line_number(line)?,
                kind: Kind::Log,
                message,
            });
        }
    }
    Err("expected FILE:LINE=TEXT".to_owned())
}

fn line_number(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("line 0 does not exist: lines count from 1".to_owned()),
        Ok(line) => Ok(line),
        Err(_) => Err(format!("{text:?} is not a line number")),
    }
}

fn source_file(path: &Path) -> Result<String, String> {
    let text = path
        .to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    if registry::is_pseudo(text) {
        return Ok(text.to_owned());
    }
    if path.as_os_str() == OsStr::new("") {
        return Err("the file is missing".to_owned());
    }
    let metadata = path
        .metadata()
        .map_err(|error| format!("cannot find {text}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{text} is not a file"));
    }
    // As the user named it: a link is also met under its own name.
    super::absolute(path)
}
