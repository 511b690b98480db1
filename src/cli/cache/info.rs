//! `cache info`: what the store holds for each interpreter, and what in it is passed over.

use std::io::{self, Write};

use ::cache::{FORMAT_VERSION, MAX_FILE_LEN, Tag, Usage, memo};
use serde::Serialize;

use super::arguments::Parts;
use super::quantity::{n_entries, shown_age, shown_size};
use super::{Command, known, shown};
use crate::cli::Failure;
use crate::cli::report::{Refusal, refusals};
use crate::variant::ENGINE;

/// The report, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    root: String,
    exists: bool,
    engine: &'static str,
    format: u32,
    /// Formats of other versions of dapper that share the root.
    other_formats: Vec<u32>,
    bytes: u64,
    interpreters: Vec<Part>,
    memo: Memo,
    limits: Bounds,
    /// What is passed over, and why.
    problems: Vec<Refusal>,
}

#[derive(Debug, Serialize)]
struct Part {
    tag: String,
    /// The version of CPython, when it is one that is supported.
    python: Option<String>,
    entries: u64,
    packs: u64,
    pack_bytes: u64,
    overlay_files: u64,
    overlay_bytes: u64,
    temporary_files: u64,
    temporary_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Memo {
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Bounds {
    /// What every writer keeps the store within; none is no limit.
    max_bytes: Option<u64>,
    /// Seconds that something may be unused.
    max_age: Option<u64>,
    pack_bytes: u64,
    memo_rows: u64,
}

/// Runs the command.
pub(super) fn run(command: &mut Command<'_>, parts: &Parts) -> Result<i32, Failure> {
    let root = command.open_root()?;
    let tags = command.chosen(&root, parts)?;
    let (memo, limits) = (root.memo(), command.limits()?);
    let mut report = Report {
        root: command.root.display().to_string(),
        exists: root.exists(),
        engine: ENGINE,
        format: FORMAT_VERSION,
        other_formats: root.other_formats(),
        bytes: memo.bytes,
        interpreters: Vec::new(),
        memo: Memo {
            rows: memo.rows,
            bytes: memo.bytes,
        },
        limits: Bounds {
            max_bytes: limits.max_bytes,
            max_age: limits.max_age.map(|age| age.as_secs()),
            pack_bytes: MAX_FILE_LEN,
            memo_rows: memo::MAX_ROWS as u64,
        },
        problems: Vec::new(),
    };
    if let Some(damage) = memo.damage {
        let reason = damage.to_string();
        let path = command.root.join(format!("v{FORMAT_VERSION}/memo"));
        report.problems.push(Refusal::new(&path, reason));
    }
    for tag in tags {
        match root.usage(&tag) {
            Ok(usage) => report.add(&tag, usage),
            Err(error) => {
                let path = command.root.join(tag.as_str());
                report.problems.push(Refusal::new(&path, error.to_string()));
            }
        }
    }
    command.print(&report, |out| print(out, &report))?;
    Ok(0)
}

impl Report {
    fn add(&mut self, tag: &Tag, usage: Usage) {
        self.bytes += usage.bytes() + usage.temporary_bytes;
        self.interpreters.push(Part {
            tag: tag.to_string(),
            python: known(tag).map(|version| version.to_string()),
            entries: usage.pack_entries + usage.overlay_files,
            packs: usage.packs,
            pack_bytes: usage.pack_bytes,
            overlay_files: usage.overlay_files,
            overlay_bytes: usage.overlay_bytes,
            temporary_files: usage.temporary_files,
            temporary_bytes: usage.temporary_bytes,
        });
        let refused = usage.refused.into_iter();
        self.problems
            .extend(refused.map(|refused| Refusal::new(&refused.path, refused.why.to_string())));
        for reason in usage.untrusted {
            let file = tag.to_string();
            self.problems.push(Refusal {
                file,
                reason,
                python: None,
            });
        }
    }
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let state = if report.exists { "" } else { " (not made yet)" };
    writeln!(out, "store: {}{state}", shown(&report.root))?;
    writeln!(out, "format: {}, engine: {}", report.format, report.engine)?;
    for format in &report.other_formats {
        writeln!(
            out,
            "  beside it: format {format}, of another version of dapper"
        )?;
    }
    writeln!(out, "size: {}", shown_size(report.bytes))?;
    for part in &report.interpreters {
        let python = match &part.python {
            Some(version) => format!("CPython {version}"),
            None => "not supported by this version".to_owned(),
        };
        writeln!(out, "{} ({python}): {}", part.tag, n_entries(part.entries))?;
        let (packs, files) = (part.pack_bytes, part.overlay_bytes);
        writeln!(out, "  packs: {} ({})", part.packs, shown_size(packs))?;
        writeln!(
            out,
            "  overlay: {} files ({})",
            part.overlay_files,
            shown_size(files)
        )?;
        if part.temporary_files > 0 {
            let size = shown_size(part.temporary_bytes);
            writeln!(
                out,
                "  being written or left behind: {} files ({size})",
                part.temporary_files
            )?;
        }
    }
    let memo = &report.memo;
    writeln!(
        out,
        "memo: {} sources ({})",
        memo.rows,
        shown_size(memo.bytes)
    )?;
    let limits = &report.limits;
    let size = limits.max_bytes.map_or("any size".to_owned(), shown_size);
    let age = limits.max_age.map_or("any time".to_owned(), shown_age);
    writeln!(out, "kept: {size}, {age} after the last use")?;
    writeln!(
        out,
        "limits: {} a pack, {} sources in the memo",
        shown_size(limits.pack_bytes),
        limits.memo_rows
    )?;
    refusals(out, "not used", &report.problems)
}
