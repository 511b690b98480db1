//! Fills the store of one interpreter, in two rounds.
//!
//! The first, over all processors, looks at every file: what the store has is up to date; what
//! has plain code in the store or a fresh `.pyc` is instrumented at once. The second compiles
//! the rest in worker interpreters. A file counts as instrumented when the pack it went to is in
//! place. Sources are read again when their turn to be compiled comes, so memory does not grow
//! with their number; the hash is always that of the bytes that were compiled. While nothing is
//! stored, what has no `.pyc` is not read in the first round.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use cache::{Origin, SourceHash};
use indicatif::ProgressBar;
use rayon::prelude::*;

use super::shelf::{Looked, Read, Shelf};
use super::sink::{Sink, Stored};
use crate::cli::interpreter::Interpreter;
use crate::cli::walk::Found;
use crate::cli::workers::{self, Task, compile_all};
use crate::freshness::fresh_code;
use crate::variant::ENGINE;
use crate::variant_key::{Probes, make};

/// What became of one file.
#[derive(Debug)]
enum Outcome {
    UpToDate(SourceHash),
    /// Handed to the sink, which says whether it was stored.
    Given(SourceHash),
    Failed(String),
}

/// What became of the files, in their order.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) instrumented: usize,
    pub(super) up_to_date: usize,
    /// The number of the file, and the reason.
    pub(super) failed: Vec<(usize, String)>,
    /// The content of the files whose entries are in the store.
    pub(super) sources: Vec<(usize, SourceHash)>,
}

/// The work for one interpreter.
pub(super) struct Work<'a> {
    files: &'a [Found],
    outcomes: Vec<OnceLock<Outcome>>,
    /// Hashes of the sources that are being compiled.
    compiling: Mutex<HashMap<usize, SourceHash>>,
    shelf: &'a Shelf<'a>,
    sink: Sink<'a>,
    python: String,
    interpreter: &'a Interpreter,
    bar: &'a ProgressBar,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        files: &'a [Found],
        shelf: &'a Shelf<'a>,
        interpreter: &'a Interpreter,
        bar: &'a ProgressBar,
    ) -> Self {
        Self {
            files,
            outcomes: files.iter().map(|_| OnceLock::new()).collect(),
            compiling: Mutex::default(),
            shelf,
            sink: Sink::new(shelf.store),
            python: interpreter.name(),
            interpreter,
            bar,
        }
    }

    /// Does all of it.
    pub(super) fn run(self, pool: &rayon::ThreadPool, options: &workers::Options) -> Done {
        let look = |index: usize| {
            if let Some(outcome) = self.look(index) {
                self.settle(index, outcome);
            }
        };
        pool.install(|| (0..self.files.len()).into_par_iter().for_each(look));
        self.compile_round(options);
        self.finish()
    }

    /// Does what can be done for a file without compiling it; nothing when it must be.
    fn look(&self, index: usize) -> Option<Outcome> {
        let found = &self.files[index];
        let path = &found.path;
        let compiled = || self.interpreter.pyc_path(path);
        if self.shelf.is_empty && !compiled().is_some_and(|path| path.exists()) {
            // What it holds changes nothing, so it is read when it is compiled, and only then.
            return None;
        }
        let Looked { hash, read } = match self.shelf.look(found) {
            Ok(looked) => looked,
            Err(reason) => return Some(Outcome::Failed(reason)),
        };
        let missing = self.shelf.missing(found, &hash);
        if missing.is_empty() {
            return Some(Outcome::UpToDate(hash));
        }
        if let Some(entry) = self.shelf.plain(&hash)
            && let Some(outcome) = self.give(index, &hash, entry.code(), missing)
        {
            return Some(outcome);
        }
        let compiled = compiled()?;
        let Read {
            metadata,
            content,
            hash,
        } = match read.map_or_else(|| self.shelf.read(path), Ok) {
            Ok(read) => read,
            Err(reason) => return Some(Outcome::Failed(reason)),
        };
        let version = self.interpreter.version;
        let code = fresh_code(&compiled, version, &content, &metadata).ok()?;
        // Nothing vouches for the rest of the file, and plain code is stored unread.
        instrument::check_module(&code).ok()?;
        self.give(index, &hash, &code, self.shelf.missing(found, &hash))
    }

    /// Makes the missing variants and gives them to the sink; nothing when `code` is no code.
    fn give(
        &self,
        index: usize,
        source: &SourceHash,
        code: &[u8],
        missing: Vec<Probes>,
    ) -> Option<Outcome> {
        let mut stored = Vec::with_capacity(missing.len());
        for probes in missing {
            let variant = make(self.interpreter.version, code, &probes).ok()?;
            let key = self.shelf.keys.key(source, &probes.digest());
            let origin = Origin {
                path: self.files[index].path.display().to_string(),
                source: *source,
                engine: ENGINE.to_owned(),
                python: self.python.clone(),
                variant: probes.describe(),
            };
            stored.push(Stored {
                key,
                variant,
                origin,
            });
        }
        self.sink.add(index, stored);
        Some(Outcome::Given(*source))
    }

    fn compile_round(&self, options: &workers::Options) {
        let open = |(index, outcome): (usize, &OnceLock<Outcome>)| {
            let found = &self.files[index];
            outcome.get().is_none().then(|| Task {
                index,
                path: found.path.clone(),
                size: found.stamp.map_or(0, |stamp| stamp.size),
            })
        };
        let tasks: Vec<Task> = self.outcomes.iter().enumerate().filter_map(open).collect();
        if tasks.is_empty() {
            return;
        }
        let hashes = || {
            self.compiling
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let source = |task: &Task| {
            if let Some(reason) = self.sink.broken() {
                self.settle(task.index, Outcome::Failed(reason));
                return None;
            }
            match self.shelf.read(&task.path) {
                Ok(read) => {
                    hashes().insert(task.index, read.hash);
                    Some(read.content)
                }
                Err(reason) => {
                    self.settle(task.index, Outcome::Failed(reason));
                    None
                }
            }
        };
        let done = |task: &Task, result: Result<Vec<u8>, workers::CompileError>| {
            let hash = hashes().remove(&task.index);
            let outcome = match (result, hash) {
                (Ok(code), Some(hash)) => {
                    let missing = self.shelf.missing(&self.files[task.index], &hash);
                    self.give(task.index, &hash, &code, missing)
                        .unwrap_or_else(not_understood)
                }
                (Ok(_), None) => not_understood(),
                (Err(error), _) => Outcome::Failed(error.to_string()),
            };
            self.settle(task.index, outcome);
        };
        compile_all(options, tasks, &source, &done);
    }

    fn settle(&self, index: usize, outcome: Outcome) {
        if self.outcomes[index].set(outcome).is_ok() {
            self.bar.inc(1);
        }
    }

    fn finish(self) -> Done {
        let lost = self.sink.finish();
        let mut done = Done {
            sources: Vec::with_capacity(self.outcomes.len()),
            ..Done::default()
        };
        for (index, outcome) in self.outcomes.into_iter().enumerate() {
            match (outcome.into_inner(), lost.get(&index)) {
                (Some(Outcome::UpToDate(hash)), _) => {
                    done.up_to_date += 1;
                    done.sources.push((index, hash));
                }
                (Some(Outcome::Given(hash)), None) => {
                    done.instrumented += 1;
                    done.sources.push((index, hash));
                }
                (Some(Outcome::Given(_)), Some(reason)) => {
                    done.failed.push((index, reason.clone()));
                }
                (Some(Outcome::Failed(reason)), _) => done.failed.push((index, reason)),
                (None, _) => done.failed.push((index, "was not reached".to_owned())),
            }
        }
        done
    }
}

fn not_understood() -> Outcome {
    Outcome::Failed("the engine does not understand what the interpreter compiled".to_owned())
}
