//! The options of `dapper run`, and what is wrong with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory, Error, FromArgMatches, Parser, Subcommand};

use super::USAGE;
use super::for_client::ForClient;
use super::log_line::Log;
use super::place::{at, found, log};
use super::tail::Tail;
use crate::allowance::Profile;
use crate::breakpoint::Kind;
use crate::breakpoint_file;
use crate::dap::Debug;
use crate::registry;
use crate::request::{Purity, Terms};
use crate::session::Asked;
use crate::snapshot::CaptureOptions;

const EXAMPLES: &str = "\
Examples:
  dapper run --break app/models.py:42 --if 'self.id == 7' app.py --port 8000
  dapper run --log app/models.py:42='saving {self.id}' --hit '% 100' -m app
  dapper run --snapshot app/models.py:42 --capture=stack=5,expr=self.total app.py
  dapper run --break app.models:User.save --count 'app.views:*' app.py
  dapper run --breakpoints points.toml --events hits.jsonl app.py
  dapper run --every-line 'app/**/*.py' --events - app.py
  dapper run --listen 5678 --wait-for-client app.py

A PLACE that ends in :LINE or :LINE:COLUMN is in a file; any other is MODULE:FUNCTION, where the
main script is __main__. Columns count characters from 1.
At a stop, the prompt is pdb's. Log lines go to --log-to, the final counts to standard error.
--if, --hit and --capture belong to the --break, --log, --count or --snapshot before them.
--capture alone records 20 frames, the innermost 3 with their variables; its OPTIONS are, with
commas between: stack=FRAMES, locals=FRAMES, depth=LEVELS, items=N, string=CHARACTERS,
bytes=N, count=SNAPSHOTS, time=SECONDS, expr=EXPR, redact=NAME, repr=safe|full.
With --events nothing prompts and nothing is printed: every hit is one JSON line.";

const ADAPTER: &str = "\
For editors: dapper adapter speaks the Debug Adapter Protocol; see dapper adapter --help.";

/// Breakpoints compiled into a running program.
#[derive(Debug, Parser)]
#[command(name = "dapper", version, after_help = ADAPTER)]
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
    /// Stop at this line, at the code at its COLUMN, or where functions start (MODULE:Class.* is
    /// every method), with a pdb prompt.
    #[arg(long = "break", value_name = "FILE:LINE[:COLUMN]|MODULE:FUNCTION")]
    stops: Vec<String>,
    /// Write TEXT when this place is reached; {EXPR} in it is evaluated there.
    #[arg(long = "log", value_name = "PLACE=TEXT")]
    logs: Vec<String>,
    /// Count how often this place is reached.
    #[arg(long = "count", value_name = "PLACE")]
    counts: Vec<String>,
    /// Record the stack and its variables when this place is reached, and go on.
    #[arg(long = "snapshot", value_name = "PLACE")]
    snapshots: Vec<String>,
    /// Only where EXPR is true.
    #[arg(long = "if", value_name = "EXPR", allow_hyphen_values = true)]
    conditions: Vec<String>,
    /// Only at the hits that RULE lets through: N, == N, != N, > N, >= N, < N, <= N or % N.
    #[arg(long = "hit", value_name = "RULE")]
    hit_rules: Vec<String>,
    /// Record a snapshot at each hit; see below for OPTIONS.
    #[arg(
        long = "capture",
        value_name = "OPTIONS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    captures: Vec<String>,
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
    /// "require" refuses expressions that may have side effects.
    #[arg(
        long,
        value_name = "allow|require",
        default_value = "allow",
        hide_default_value = true
    )]
    purity: String,
    /// "production" limits what breakpoints cost: those that cost more are disarmed.
    #[arg(
        long,
        value_name = "development|production",
        default_value = "development",
        hide_default_value = true
    )]
    profile: String,
    /// How long one evaluation may take; `inf` compiles every call into the line [default: 0.1].
    #[arg(long = "condition-budget", value_name = "SECONDS")]
    pub(super) condition_budget: Option<f64>,
    /// Count and time the evaluations of conditions in the line, about 20 ns each.
    #[arg(long)]
    pub(super) measure: bool,
    #[command(flatten)]
    client: ForClient,
    #[arg(long, value_name = "DIR", help = super::CACHE_DIR)]
    pub(super) cache_dir: Option<PathBuf>,
    /// SCRIPT, -m MODULE, -c CODE or -, and the arguments of the program.
    #[arg(
        value_name = "PROGRAM",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) target: Vec<OsString>,
}

/// What is asked for.
pub(super) enum Asking {
    /// `dapper run`, and what says in which order its options stand.
    Run(Box<Run>, ArgMatches),
    /// `dapper log`
    Log(Box<Log>),
    /// `dapper tail`
    Tail(Tail),
}

/// The verb of a command line that begins with where the client is.
pub(super) fn verb_of(argv: &[String]) -> Option<&'static str> {
    let first = argv.first()?;
    let (option, _) = first.split_once('=').unwrap_or((first, ""));
    matches!(option, "--listen" | "--connect").then_some("run")
}

/// Reads the command line.
pub(super) fn parse(argv: impl Iterator<Item = String>) -> Result<Asking, Error> {
    let mut matches = Cli::command().try_get_matches_from(argv)?;
    let order = matches.subcommand_matches("run").cloned();
    Ok(match Cli::from_arg_matches_mut(&mut matches)?.verb {
        Verb::Run(run) => Asking::Run(run, order.unwrap_or_default()),
        Verb::Log(log) => Asking::Log(log),
        Verb::Tail(tail) => Asking::Tail(tail),
    })
}

/// A breakpoint with the words by which messages name it.
pub(super) struct Named {
    pub(super) asked: Asked,
    pub(super) name: String,
}

impl Run {
    /// How a client comes to the program, if one does.
    pub(super) fn debug(&self) -> Result<Option<Debug>, String> {
        self.client.debug()
    }

    /// The breakpoints of all options in the order of the command line, then those of files.
    pub(super) fn breakpoints(&self, order: &ArgMatches) -> Result<Vec<Named>, String> {
        let mut all = BTreeMap::new();
        for (index, text) in placed(order, "stops", &self.stops) {
            all.insert(index, named("--break", text, at(text, Kind::Stop))?);
        }
        for (index, text) in placed(order, "logs", &self.logs) {
            all.insert(index, named("--log", text, log(text))?);
        }
        for (index, text) in placed(order, "counts", &self.counts) {
            all.insert(index, named("--count", text, at(text, Kind::Count))?);
        }
        for (index, text) in placed(order, "snapshots", &self.snapshots) {
            all.insert(index, named("--snapshot", text, at(text, Kind::Snapshot))?);
        }
        for (index, text) in placed(order, "conditions", &self.conditions) {
            let terms = terms_before(&mut all, index, &format!("--if {text}"))?;
            if terms.condition.replace(text.clone()).is_some() {
                return Err(format!("--if {text}: this breakpoint has an --if already"));
            }
        }
        for (index, text) in placed(order, "hit_rules", &self.hit_rules) {
            let terms = terms_before(&mut all, index, &format!("--hit {text}"))?;
            if terms.hit_condition.replace(text.clone()).is_some() {
                return Err(format!("--hit {text}: this breakpoint has a --hit already"));
            }
        }
        for (index, text) in placed(order, "captures", &self.captures) {
            let name = capture_name(text);
            let terms = terms_before(&mut all, index, &name)?;
            if terms.capture.replace(capture(text)?).is_some() {
                return Err(format!("{name}: this breakpoint has a --capture already"));
            }
        }
        let mut all: Vec<Named> = all.into_values().collect();
        for path in &self.files {
            let rows = breakpoint_file::read(path).map_err(|error| error.to_string())?;
            for (index, row) in rows.into_iter().enumerate() {
                let name = format!("{}: breakpoint {}", path.display(), index + 1);
                let in_file = |error| format!("{}: {error}", path.display());
                let place = found(row.place).map_err(in_file)?;
                let asked = Asked {
                    place,
                    kind: row.kind,
                    terms: row.terms,
                };
                all.push(Named { asked, name });
            }
        }
        Ok(all)
    }

    /// Which expressions are accepted.
    pub(super) fn purity(&self) -> Result<Purity, String> {
        Purity::from_name(&self.purity).map_err(|error| format!("--purity: {error}"))
    }

    /// What breakpoints may cost.
    pub(super) fn profile(&self) -> Result<Profile, String> {
        Profile::from_name(&self.profile).map_err(|error| format!("--profile: {error}"))
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

/// The values of an option, each with its place on the command line.
fn placed<'a>(
    order: &ArgMatches,
    option: &str,
    values: &'a [String],
) -> impl Iterator<Item = (usize, &'a String)> {
    order.indices_of(option).into_iter().flatten().zip(values)
}

fn named(option: &str, text: &str, asked: Result<Asked, String>) -> Result<Named, String> {
    let name = format!("{option} {text}");
    match asked {
        Ok(asked) => Ok(Named { asked, name }),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// The terms of the breakpoint that the option at `index` belongs to.
fn terms_before<'a>(
    all: &'a mut BTreeMap<usize, Named>,
    index: usize,
    option: &str,
) -> Result<&'a mut Terms, String> {
    let owner = all.range_mut(..index).next_back();
    owner
        .map(|(_, owner)| &mut owner.asked.terms)
        .ok_or_else(|| {
            format!(
                "{option}: put it after the --break, --log, --count or --snapshot that it belongs to"
            )
        })
}

/// The options of `--capture`.
pub(super) fn capture(text: &str) -> Result<CaptureOptions, String> {
    let options = CaptureOptions::from_text(text);
    options.map_err(|error| format!("{}: {error}", capture_name(text)))
}

fn capture_name(text: &str) -> String {
    let sign = if text.is_empty() { "" } else { "=" };
    format!("--capture{sign}{text}")
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
