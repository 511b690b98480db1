//! `cache list`: the entries of the store with their sources.

use std::io::{self, Write};

use ::cache::Access;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Serialize;

use super::arguments::List;
use super::quantity::{seconds_since, shown_age, shown_size};
use super::{Command, shown, shown_source};
use crate::cli::Failure;

/// One entry, as `--json` prints it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Listed {
    path: String,
    tag: String,
    python: String,
    variant: String,
    /// BLAKE3 of the source.
    source: String,
    engine: String,
    key: String,
    bytes: u64,
    /// Seconds since the last use, to the day.
    age: u64,
    file: String,
}

/// Runs the command.
pub(super) fn run(command: &mut Command<'_>, options: &List) -> Result<i32, Failure> {
    let wanted = patterns(&options.path)?;
    let root = command.open_root()?;
    let mut entries = Vec::new();
    for tag in command.chosen(&root, &options.parts)? {
        for listed in command.open(&tag, Access::ReadOnly)?.list() {
            if !wanted.matches(&listed.origin.path) {
                continue;
            }
            entries.push(Listed {
                path: listed.origin.path,
                tag: tag.to_string(),
                python: listed.origin.python,
                variant: listed.origin.variant,
                source: listed.origin.source.to_string(),
                engine: listed.origin.engine,
                key: listed.key.to_string(),
                bytes: listed.bytes,
                age: seconds_since(listed.used),
                file: listed.file.display().to_string(),
            });
        }
    }
    entries.sort();
    let report = serde_json::json!({ "entries": &entries });
    command.print(&report, |out| print(out, &entries))?;
    Ok(0)
}

fn print(out: &mut dyn Write, entries: &[Listed]) -> io::Result<()> {
    for entry in entries {
        writeln!(
            out,
            "{}  {:<12}  {:>10}  {:>6}  {}  ({})",
            &entry.source[..12],
            shown(&entry.python),
            shown_size(entry.bytes),
            shown_age(entry.age),
            shown_source(&entry.path),
            shown(&entry.variant),
        )?;
    }
    Ok(())
}

/// Patterns for paths; without any, every path matches.
pub(super) struct Patterns(Option<GlobSet>);

impl Patterns {
    pub(super) fn matches(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(path))
    }
}

/// Compiles the `--path` patterns.
pub(super) fn patterns(patterns: &[String]) -> Result<Patterns, Failure> {
    if patterns.is_empty() {
        return Ok(Patterns(None));
    }
    let wrong = |error: globset::Error| Failure::new(format!("--path: {error}"));
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(wrong)?);
    }
    Ok(Patterns(Some(set.build().map_err(wrong)?)))
}
