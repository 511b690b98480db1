//! `precompile --check` and `--baseline`: what would be done, with nothing done.
//!
//! The store is opened for reading, nothing is compiled, and no baseline is compared with
//! anything but the sources: what a source would give is known from its content alone.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cache::{Listed, SourceHash};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use super::baseline::Difference;
use super::shelf::Shelf;
use super::summary::per_second;
use crate::cli::report::{self, Refusal, counted};
use crate::cli::walk::Found;

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// What the store has, where it is checked.
    #[serde(flatten)]
    pub(super) found: Option<Checked>,
    /// The same for each interpreter, in the order in which they were named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) interpreters: Vec<OfInterpreter>,
    /// How the tree differs from a baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) baseline: Option<Difference>,
    /// Files that were left out, and why.
    pub(super) skipped: Vec<Refusal>,
    /// Files that could not be read, and why.
    pub(super) failed: Vec<Refusal>,
    pub(super) seconds: f64,
    pub(super) files_per_second: f64,
}

/// What the store has of the files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Checked {
    /// Files whose entries are all there.
    pub(super) up_to_date: usize,
    /// Files that lack an entry, and which.
    pub(super) missing: Vec<Refusal>,
}

/// What the store has for one interpreter.
#[derive(Debug, Serialize)]
pub(super) struct OfInterpreter {
    pub(super) python: String,
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) checked: Checked,
}

/// The content of the files that could be read, and why the others could not.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) read: Vec<(usize, SourceHash)>,
    pub(super) failed: Vec<Refusal>,
}

/// Looks at every file, with the memo of a store where there is one.
pub(super) fn sources(
    pool: &rayon::ThreadPool,
    files: &[Found],
    shelf: &Shelf<'_>,
    bar: &ProgressBar,
) -> Sources {
    let sources = Mutex::new(Sources::default());
    let look = |(index, found): (usize, &Found)| {
        let looked = shelf.look(found);
        let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Ok(looked) => sources.read.push((index, looked.hash)),
            Err(reason) => sources.failed.push(Refusal::new(&found.path, reason)),
        }
        bar.inc(1);
    };
    pool.install(|| files.par_iter().enumerate().for_each(look));
    let mut sources = sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    sources.read.sort_unstable_by_key(|(index, _)| *index);
    sources
}

/// What the store of one interpreter has of the sources.
pub(super) fn check(
    shelf: &Shelf<'_>,
    files: &[Found],
    sources: &[(usize, SourceHash)],
    refusal: impl Fn(&Found, String) -> Refusal,
) -> Checked {
    let mut checked = Checked::default();
    let mut stored: Option<HashMap<String, SourceHash>> = None;
    for (index, hash) in sources {
        let found = &files[*index];
        let missing = shelf.missing(found, hash);
        let Some(first) = missing.first() else {
            checked.up_to_date += 1;
            continue;
        };
        let stored = stored.get_or_insert_with(|| by_path(shelf.store.list()));
        let before = stored_under(stored, &found.path);
        let reason = if shelf.is_damaged(hash, first) {
            "is damaged in the store".to_owned()
        } else {
            match before {
                None => "is not in the store".to_owned(),
                Some(before) if before != hash => "changed since it was stored".to_owned(),
                Some(_) => format!("is stored, but not with probes on: {}", first.describe()),
            }
        };
        checked.missing.push(refusal(found, reason));
    }
    checked
}

fn by_path(listed: Vec<Listed>) -> HashMap<String, SourceHash> {
    let sources = listed.into_iter().map(|listed| listed.origin);
    sources.map(|origin| (origin.path, origin.source)).collect()
}

/// What was stored of this path: as it is, or as an imported store has it, relative to a root.
fn stored_under<'a>(
    stored: &'a HashMap<String, SourceHash>,
    path: &Path,
) -> Option<&'a SourceHash> {
    let mut parts = path.components();
    loop {
        let found = stored.get(&parts.as_path().display().to_string());
        if found.is_some() || parts.next().is_none() {
            return found;
        }
    }
}

impl Report {
    /// Whether a check that was asked for failed, or a file could not be read.
    pub(super) fn fails(&self) -> bool {
        let lacks = |checked: &Checked| !checked.missing.is_empty();
        self.found.as_ref().is_some_and(lacks) || !self.failed.is_empty()
    }

    /// Adds up what the interpreters have, and the times.
    pub(super) fn add_up(&mut self, files: usize, seconds: f64) {
        let mut all = Checked::default();
        for part in &self.interpreters {
            all.up_to_date += part.checked.up_to_date;
            let missing = part.checked.missing.iter();
            all.missing.extend(missing.cloned());
        }
        all.missing.sort();
        self.found = (!self.interpreters.is_empty()).then_some(all);
        self.skipped.sort();
        self.failed.sort();
        self.seconds = seconds;
        self.files_per_second = per_second(files, seconds);
    }

    /// Writes it as text.
    pub(super) fn print(&self, out: &mut dyn Write, root: &Path) -> io::Result<()> {
        report::refusals(out, "skipped", &self.skipped)?;
        report::refusals(out, "failed", &self.failed)?;
        if let Some(found) = &self.found {
            report::refusals(out, "missing", &found.missing)?;
        }
        if let Some(difference) = &self.baseline {
            difference.print(out)?;
        }
        let Some(Checked {
            up_to_date,
            missing,
        }) = &self.found
        else {
            return Ok(());
        };
        writeln!(
            out,
            "{} up to date, {} missing, {} skipped, {} failed in {:.2} s ({:.0} files/s), \
             store: {}",
            counted(*up_to_date, "file"),
            missing.len(),
            self.skipped.len(),
            self.failed.len(),
            self.seconds,
            self.files_per_second,
            root.display(),
        )
    }
}

impl Difference {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (what, files) in [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ] {
            if !files.is_empty() {
                writeln!(out, "{what}: {}", files.len())?;
            }
            for file in files {
                writeln!(out, "  {file}")?;
            }
        }
        if !self.same_engine {
            writeln!(
                out,
                "engine or interpreters are not those of {}: everything is instrumented anew",
                self.file
            )?;
        }
        writeln!(
            out,
            "{} to instrument since {}, {} unchanged, {} removed",
            counted(self.added.len() + self.changed.len(), "file"),
            self.file,
            self.unchanged,
            self.removed.len(),
        )
    }
}
