//! What a run tells: for each interpreter and in all, as text or as JSON.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::cli::report::{self, Refusal, counted};

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// The same for each interpreter, in the order in which they were named.
    pub(super) interpreters: Vec<OfInterpreter>,
}

/// Counts, refusals and times.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    /// Files whose entries were written.
    pub(super) instrumented: usize,
    /// Files whose entries were there.
    pub(super) up_to_date: usize,
    /// Entries that were damaged; those of the files are made again.
    pub(super) damaged: usize,
    /// Files that were left out, and why.
    pub(super) skipped: Vec<Refusal>,
    /// Files that could not be done, and why.
    pub(super) failed: Vec<Refusal>,
    /// What stands in the store and is not used, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// How long it took.
    pub(super) seconds: f64,
    /// Files looked at in a second.
    pub(super) files_per_second: f64,
}

/// What was done for one interpreter.
#[derive(Debug, Serialize)]
pub(super) struct OfInterpreter {
    /// The program, as it was named.
    pub(super) python: String,
    /// What it is, such as `CPython 3.13`.
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) totals: Totals,
}

impl Totals {
    /// Adds the times.
    pub(super) fn took(&mut self, seconds: f64) {
        self.seconds = seconds;
        let looked_at = self.instrumented + self.up_to_date + self.failed.len();
        self.files_per_second = per_second(looked_at, seconds);
    }

    fn line(&self) -> String {
        format!(
            "{} instrumented, {} up to date, {} skipped, {} failed in {:.2} s ({:.0} files/s)",
            counted(self.instrumented, "file"),
            self.up_to_date,
            self.skipped.len(),
            self.failed.len(),
            self.seconds,
            self.files_per_second,
        )
    }
}

impl Summary {
    /// Adds up what was done for the interpreters; `skipped` and `failed` concern all of them.
    pub(super) fn new(
        interpreters: Vec<OfInterpreter>,
        skipped: Vec<Refusal>,
        failed: Vec<Refusal>,
    ) -> Self {
        let mut totals = Totals {
            skipped,
            failed,
            ..Totals::default()
        };
        for OfInterpreter { totals: part, .. } in &interpreters {
            totals.instrumented += part.instrumented;
            totals.up_to_date += part.up_to_date;
            totals.damaged += part.damaged;
            totals.failed.extend(part.failed.iter().cloned());
            totals.notes.extend(part.notes.iter().cloned());
        }
        totals.notes.sort_unstable();
        totals.notes.dedup();
        totals.skipped.sort();
        totals.failed.sort();
        Self {
            totals,
            interpreters,
        }
    }

    /// Writes it as text.
    pub(super) fn print(&self, out: &mut dyn Write, root: &Path) -> io::Result<()> {
        report::refusals(out, "skipped", &self.totals.skipped)?;
        report::refusals(out, "failed", &self.totals.failed)?;
        for note in &self.totals.notes {
            writeln!(out, "note: {note}")?;
        }
        if self.interpreters.len() > 1 {
            for OfInterpreter {
                python,
                version,
                totals,
            } in &self.interpreters
            {
                writeln!(out, "{python} ({version}): {}", totals.line())?;
            }
        }
        if self.totals.damaged > 0 {
            writeln!(
                out,
                "{} in the store damaged: what these files need of them was made again; \
                 `dapper-instrument cache verify --repair` removes them",
                entries(self.totals.damaged),
            )?;
        }
        writeln!(out, "{}, store: {}", self.totals.line(), root.display())
    }
}

fn entries(count: usize) -> String {
    match count {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of files are small")]
pub(super) fn per_second(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}
