//! `dapper log`: one log line in whatever Python programs a command starts.
//!
//! Owns the options of the verb, and what breakpoint they come to.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::options::Named;
use super::place::at;
use crate::breakpoint::Kind;

const EXAMPLES: &str = "\
Examples:
  dapper log app/models.py:42 'saving {self}' -- python app.py --port 8000
  dapper log app/models.py:42 '{name=}' --if 'name is None' --to jsonl:log.jsonl -- make test

The command is any command; its children are reached too. `dapper tail` shows JSON lines.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Log {
    /// Where the message is made.
    #[arg(value_name = "FILE:LINE[:COLUMN]|MODULE:FUNCTION")]
    place: String,
    /// The message; {EXPR} in it is evaluated there.
    #[arg(value_name = "TEXT")]
    message: String,
    /// Only where this is true.
    #[arg(long = "if", value_name = "EXPR")]
    condition: Option<String>,
    /// Only at these hits: N, == N, != N, > N, >= N, < N, <= N or % N.
    #[arg(long = "hit", value_name = "RULE")]
    hit_condition: Option<String>,
    /// Record a snapshot with each message, too: see `dapper run --help`.
    #[arg(
        long,
        value_name = "OPTIONS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    capture: Option<String>,
    /// Where messages go: stderr, stdout, FILE, or jsonl:FILE for JSON lines [default: stderr].
    #[arg(long = "to", value_name = "TARGET")]
    pub(super) to: Option<String>,
    #[arg(long, value_name = "DIR", help = super::CACHE_DIR)]
    pub(super) cache_dir: Option<PathBuf>,
    /// The command to run, with its arguments.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(super) command: Vec<OsString>,
}

impl Log {
    /// The one breakpoint.
    pub(super) fn breakpoint(&self) -> Result<Named, String> {
        let name = self.place.clone();
        let mut asked = at(&name, Kind::Log).map_err(|error| format!("{name}: {error}"))?;
        asked.terms.log_message = Some(self.message.clone());
        asked.terms.condition.clone_from(&self.condition);
        asked.terms.hit_condition.clone_from(&self.hit_condition);
        asked.terms.capture = match &self.capture {
            Some(text) => Some(super::options::capture(text)?),
            None => None,
        };
        Ok(Named { asked, name })
    }
}
