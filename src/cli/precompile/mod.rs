//! `precompile`: from sources and fresh `.pyc` files to entries of the store.
//!
//! Two rounds. The first, over all processors, looks at every file: what the store has is up to
//! date; what has plain code in the store or a fresh `.pyc` is instrumented at once. The second
//! compiles the rest in worker interpreters. A file counts as instrumented when the pack it went
//! to is in place. Sources are read again when their turn to be compiled comes, so memory does
//! not grow with their number; the hash is always that of the bytes that were compiled.

mod sink;

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use cache::{Access, KeyHasher, Origin, ProbeDigest, SourceHash, Stamp, Store};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use super::Failure;
use super::arguments::{self, Selection};
use super::interpreter::Interpreter;
use super::report::{self, Refusal, counted};
use super::terminal::Environment;
use super::walk::{Found, Kinds, walk};
use super::workers::{self, Task, compile_all};
use crate::breakpoint_file;
use crate::freshness::fresh_code;
use crate::request::Place;
use crate::variant::ENGINE;
use crate::variant_key::{Probes, default_root, make};
use sink::{Sink, Stored};

/// Sources from this size on are refused: they would not fit a request to a worker.
const MAX_SOURCE: u64 = 1 << 30;

/// The summary, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Files whose entries were written.
    pub instrumented: usize,
    /// Files whose entries were there.
    pub up_to_date: usize,
    /// Files that were left out, and why.
    pub skipped: Vec<Refusal>,
    /// Files that could not be done, and why.
    pub failed: Vec<Refusal>,
    /// What stands in the store and is not used, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Files looked at in a second.
    pub files_per_second: f64,
}

/// What became of one file.
#[derive(Debug)]
enum Outcome {
    UpToDate,
    /// Handed to the sink, which says whether it was stored.
    Given,
    Failed(String),
}

/// Runs the command; the status is 1 when a file failed.
pub(super) fn run(
    arguments: &arguments::Precompile,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let started = Instant::now();
    let points = match &arguments.breakpoints {
        Some(path) => breakpoint_file::read(path).map_err(Failure::of)?,
        None => Vec::new(),
    };
    let interpreter = super::interpreter(&arguments.python, environment)?;
    let root = cache_dir(arguments.cache_dir.as_deref(), environment)?;
    let target = interpreter.target();
    let tag = target.build().tag();
    let store =
        Store::open(&root, &tag, Access::ReadWrite, &environment.trust()).map_err(Failure::of)?;
    let (limits, problem) = environment.limits();
    if let Some(problem) = problem {
        return Err(Failure::new(problem));
    }
    store.keep_within(limits);
    let notes = notes(&store);
    let found = walk(
        &arguments.paths,
        Kinds::Sources,
        &globs(&arguments.selection.exclude)?,
    );

    let mut wanted_lines: HashMap<PathBuf, Vec<u32>> = HashMap::new();
    for point in points {
        // Which code a column or the name of a function means, an import finds out from the
        // plain code.
        if let Place::Line {
            file,
            line,
            column: None,
        } = point.place
        {
            wanted_lines.entry(file.into()).or_default().push(line);
        }
    }
    let base = if arguments.every_line {
        Probes::EveryLine
    } else {
        Probes::Plain
    };
    let bar = environment.progress(found.files.len());
    let work = Work {
        files: &found.files,
        outcomes: found.files.iter().map(|_| OnceLock::new()).collect(),
        changed: Mutex::default(),
        keys: target.keys(),
        plain: Probes::Plain.digest(),
        base_digest: base.digest(),
        base,
        wanted_lines,
        sink: Sink::new(&store),
        python: format!("CPython {}", interpreter.version),
        interpreter: &interpreter,
        store: &store,
        bar: &bar,
    };
    let jobs = jobs(&arguments.selection);
    work.first_round(jobs)?;
    work.compile_round(&super::worker_options(
        &arguments.python,
        &interpreter,
        jobs,
    ));
    let mut summary = work.finish();
    bar.finish_and_clear();
    summary.notes = notes;
    // What is lost of the memo is hashed again by the next run.
    let _kept = store.flush();
    store.tidy();
    summary.skipped.extend(found.skipped);
    summary.failed.extend(found.failed);
    summary.skipped.sort();
    summary.failed.sort();
    summary.seconds = started.elapsed().as_secs_f64();
    let looked_at = summary.instrumented + summary.up_to_date + summary.failed.len();
    summary.files_per_second = per_second(looked_at, summary.seconds);
    let printed = if json {
        report::json(out, &summary)
    } else {
        print(out, &summary, &root)
    };
    printed.map_err(Failure::output)?;
    Ok(i32::from(!summary.failed.is_empty()))
}

/// What stands in the store and is left alone.
fn notes(store: &Store) -> Vec<String> {
    let newer = store.newer_formats().into_iter().map(|folder| {
        let folder = folder.display();
        format!("{folder} was written by a later version of dapper and is left alone; remove it if that is gone")
    });
    let refused = store.refused();
    newer
        .chain(refused.iter().map(ToString::to_string))
        .collect()
}

fn print(out: &mut dyn Write, summary: &Summary, root: &Path) -> io::Result<()> {
    report::refusals(out, "skipped", &summary.skipped)?;
    report::refusals(out, "failed", &summary.failed)?;
    for note in &summary.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(
        out,
        "{} instrumented, {} up to date, {} skipped, {} failed in {:.2} s ({:.0} files/s), store: {}",
        counted(summary.instrumented, "file"),
        summary.up_to_date,
        summary.skipped.len(),
        summary.failed.len(),
        summary.seconds,
        summary.files_per_second,
        root.display(),
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts of files are small")]
fn per_second(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// The number of files to work on at once.
pub(super) fn jobs(selection: &Selection) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    selection.jobs.unwrap_or_else(processors)
}

/// The threads that run the engine.
pub(super) fn pool(jobs: usize) -> Result<rayon::ThreadPool, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .stack_size(workers::STACK)
        .build()
        .map_err(|error| Failure::new(format!("cannot start {jobs} threads: {error}")))
}

/// Compiles the `--exclude` patterns.
pub(super) fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| Failure::new(format!("--exclude: {error}")))?);
    }
    set.build()
        .map_err(|error| Failure::new(format!("--exclude: {error}")))
}

/// The directory of the store: the given one, else the one the environment says.
pub(super) fn cache_dir(
    given: Option<&Path>,
    environment: &Environment<'_>,
) -> Result<PathBuf, Failure> {
    let path = given
        .map(Path::to_owned)
        .or_else(|| default_root(environment.variable));
    let unknown = || {
        Failure::new(
            "no place for the store: HOME is not set; use --cache-dir or DAPPER_CACHE_DIR".into(),
        )
    };
    std::path::absolute(path.ok_or_else(unknown)?).map_err(|_| unknown())
}

struct Work<'a> {
    files: &'a [Found],
    outcomes: Vec<OnceLock<Outcome>>,
    /// Hashes of the sources that are being compiled.
    changed: Mutex<HashMap<usize, SourceHash>>,
    keys: KeyHasher,
    plain: ProbeDigest,
    base: Probes,
    base_digest: ProbeDigest,
    wanted_lines: HashMap<PathBuf, Vec<u32>>,
    sink: Sink<'a>,
    python: String,
    interpreter: &'a Interpreter,
    store: &'a Store,
    bar: &'a ProgressBar,
}

impl Work<'_> {
    fn first_round(&self, jobs: usize) -> Result<(), Failure> {
        let look = |index: usize| {
            if let Some(outcome) = self.look(index) {
                self.settle(index, outcome);
            }
        };
        pool(jobs)?.install(|| (0..self.files.len()).into_par_iter().for_each(look));
        Ok(())
    }

    /// Does what can be done for a file without compiling it; nothing when it must be.
    fn look(&self, index: usize) -> Option<Outcome> {
        let path = &self.files[index].path;
        let metadata = match fs::metadata(path) {
            Ok(metadata) if metadata.len() <= MAX_SOURCE => metadata,
            Ok(_) => return Some(Outcome::Failed("is larger than 1 GiB".to_owned())),
            Err(error) => return Some(unreadable(&error)),
        };
        let stamp = Stamp::of(&metadata);
        let mut source = None;
        let hash = match self.store.memo_get(path, &stamp) {
            Some(hash) => hash,
            None => match self.read(path, &stamp) {
                Ok((bytes, hash)) => {
                    source = Some(bytes);
                    hash
                }
                Err(error) => return Some(unreadable(&error)),
            },
        };
        let missing = self.missing(path, &hash);
        if missing.is_empty() {
            return Some(Outcome::UpToDate);
        }
        let plain = self.keys.key(&hash, &self.plain);
        if let Some(entry) = self.store.get(&plain).hit()
            && let Some(outcome) = self.give(index, &hash, entry.code(), missing)
        {
            return Some(outcome);
        }
        let (source, hash) = match source {
            Some(source) => (source, hash),
            None => match self.read(path, &stamp) {
                Ok(read) => read,
                Err(error) => return Some(unreadable(&error)),
            },
        };
        let code = self.code_of_pyc(path, &source, &metadata)?;
        self.give(index, &hash, &code, self.missing(path, &hash))
    }

    fn read(&self, path: &Path, stamp: &Stamp) -> io::Result<(Vec<u8>, SourceHash)> {
        let source = fs::read(path)?;
        let hash = SourceHash::of(&source);
        self.store.memo_put(path, stamp, &hash);
        Ok((source, hash))
    }

    fn code_of_pyc(&self, path: &Path, source: &[u8], metadata: &Metadata) -> Option<Vec<u8>> {
        let version = self.interpreter.version;
        let compiled = self.interpreter.pyc_path(path)?;
        let code = fresh_code(&compiled, version, source, metadata).ok()?;
        // Nothing vouches for the rest of the file, and plain code is stored unread.
        instrument::line_map(version, &code).ok()?;
        Some(code)
    }

    /// The probe sets of a file that the store does not have.
    fn missing(&self, path: &Path, hash: &SourceHash) -> Vec<Probes> {
        let stored = |digest| self.store.contains(&self.keys.key(hash, &digest));
        let mut missing = Vec::new();
        if !stored(self.base_digest) {
            missing.push(self.base.clone());
        }
        if !self.wanted_lines.is_empty()
            && let Ok(canonical) = path.canonicalize()
            && let Some(lines) = self.wanted_lines.get(&canonical)
        {
            let probes = Probes::on(lines.iter().copied());
            if !stored(probes.digest()) {
                missing.push(probes);
            }
        }
        missing
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
            let key = self.keys.key(source, &probes.digest());
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
        Some(Outcome::Given)
    }

    fn compile_round(&self, options: &workers::Options) {
        let open = |(index, outcome): (usize, &OnceLock<Outcome>)| {
            let path = &self.files[index].path;
            let size = || fs::metadata(path).map_or(0, |metadata| metadata.len());
            outcome.get().is_none().then(|| Task {
                index,
                path: path.clone(),
                size: size(),
            })
        };
        let tasks: Vec<Task> = self.outcomes.iter().enumerate().filter_map(open).collect();
        if tasks.is_empty() {
            return;
        }
        let hashes = || self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let source = |task: &Task| {
            if let Some(reason) = self.sink.broken() {
                self.settle(task.index, Outcome::Failed(reason));
                return None;
            }
            let read = fs::metadata(&task.path)
                .and_then(|metadata| self.read(&task.path, &Stamp::of(&metadata)));
            match read {
                Ok((source, hash)) => {
                    hashes().insert(task.index, hash);
                    Some(source)
                }
                Err(error) => {
                    self.settle(task.index, unreadable(&error));
                    None
                }
            }
        };
        let done = |task: &Task, result: Result<Vec<u8>, workers::CompileError>| {
            let hash = hashes().remove(&task.index);
            let outcome = match (result, hash) {
                (Ok(code), Some(hash)) => {
                    let missing = self.missing(&task.path, &hash);
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

    fn finish(self) -> Summary {
        let stored = self.sink.finish();
        let mut summary = Summary::default();
        for (index, outcome) in self.outcomes.into_iter().enumerate() {
            let refused = |reason| Refusal::new(&self.files[index].path, reason);
            match outcome.into_inner() {
                Some(Outcome::UpToDate) => summary.up_to_date += 1,
                Some(Outcome::Failed(reason)) => summary.failed.push(refused(reason)),
                Some(Outcome::Given) => match stored.get(&index) {
                    None => summary.instrumented += 1,
                    Some(reason) => summary.failed.push(refused(reason.clone())),
                },
                None => summary.failed.push(refused("was not reached".to_owned())),
            }
        }
        summary
    }
}

fn unreadable(error: &io::Error) -> Outcome {
    Outcome::Failed(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "cannot be read: permission denied; check its mode and owner".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    })
}

fn not_understood() -> Outcome {
    Outcome::Failed("the engine does not understand what the interpreter compiled".to_owned())
}
