//! `precompile`: from sources and fresh `.pyc` files to entries of the store.
//!
//! Walks the tree once and fills the store of one interpreter after the other (`work`), or says
//! what is missing there and what a baseline lacks (`check`), with nothing written. Everything
//! that can be wrong with interpreters, stores and files that are named is found out before the
//! first source is read.

mod baseline;
mod check;
mod shelf;
mod sink;
mod summary;
mod wanted;
mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cache::{Access, SourceHash, Store};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::arguments::{self, Selection};
use super::interpreter::Interpreter;
use super::report::{self, Refusal};
use super::terminal::Environment;
use super::walk::{Found, Kinds, Walk, walk};
use super::{Failure, workers};
use crate::breakpoint_file;
use crate::variant::ENGINE;
use crate::variant_key::default_root;
use baseline::Baseline;
use check::Report;
pub(super) use shelf::MAX_SOURCE;
use shelf::Shelf;
use summary::{OfInterpreter, Summary, Totals};
use wanted::Wanted;
use work::Work;

/// An interpreter and its part of the store.
struct Target {
    /// As it was named.
    python: String,
    interpreter: Interpreter,
    store: Store,
}

/// Everything that a run starts from.
struct Plan<'a> {
    arguments: &'a arguments::Precompile,
    targets: Vec<Target>,
    wanted: Wanted,
    /// The store.
    root: PathBuf,
    /// The baseline to compare with.
    before: Option<(Baseline, &'a Path)>,
    /// What paths in a baseline are relative to.
    baseline_root: PathBuf,
    jobs: usize,
    pool: rayon::ThreadPool,
}

/// Runs the command; the status is 1 when a file failed, or is missing in the store that is
/// checked.
pub(super) fn run(
    arguments: &arguments::Precompile,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let started = Instant::now();
    let dry = arguments.comparison.writes_nothing();
    let plan = Plan::new(arguments, environment, dry)?;
    let exclude = globs(&arguments.selection.exclude)?;
    let searching = environment.searching();
    let walked = plan
        .pool
        .install(|| walk(&arguments.paths, Kinds::Sources, &exclude));
    searching.finish_and_clear();
    if dry {
        let report = plan.check(walked, environment, started)?;
        let printed = if json {
            report::json(out, &report)
        } else {
            report.print(out, &plan.root)
        };
        printed.map_err(Failure::output)?;
        return Ok(i32::from(report.fails()));
    }
    let summary = plan.fill(walked, environment, started)?;
    let printed = if json {
        report::json(out, &summary)
    } else {
        summary.print(out, &plan.root)
    };
    printed.map_err(Failure::output)?;
    Ok(i32::from(!summary.totals.failed.is_empty()))
}

impl<'a> Plan<'a> {
    fn new(
        arguments: &'a arguments::Precompile,
        environment: &Environment<'_>,
        dry: bool,
    ) -> Result<Self, Failure> {
        let points = match &arguments.breakpoints {
            Some(path) => breakpoint_file::read(path).map_err(Failure::of)?,
            None => Vec::new(),
        };
        let before = match &arguments.comparison.baseline {
            Some(path) => Some((Baseline::read(path)?, &**path)),
            None => None,
        };
        let baseline_root = baseline::root(arguments.comparison.root.as_deref())?;
        let root = cache_dir(arguments.cache_dir.as_deref(), environment)?;
        let access = if dry {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let (limits, problem) = environment.limits();
        if let Some(problem) = problem {
            return Err(Failure::new(problem));
        }
        let open = |(python, interpreter): (String, Interpreter)| {
            let tag = interpreter.target().build().tag();
            let store = Store::open(&root, &tag, access, &environment.trust());
            let store = store.map_err(Failure::of)?;
            store.keep_within(limits);
            Ok(Target {
                python,
                interpreter,
                store,
            })
        };
        let interpreters = super::interpreters(arguments, environment)?.into_iter();
        let targets: Vec<Target> = interpreters.map(open).collect::<Result<_, Failure>>()?;
        let mut wanted = Wanted::new(arguments.every_line, points);
        // A check is about what the tree needs, on whatever machine it runs.
        if !dry
            && !arguments.no_remembered
            && let Some(target) = targets.first()
        {
            wanted.remember(target.store.remembered());
        }
        let jobs = jobs(&arguments.selection);
        Ok(Self {
            arguments,
            targets,
            wanted,
            root,
            before,
            baseline_root,
            jobs,
            pool: pool(jobs)?,
        })
    }

    fn shelf<'s>(&'s self, target: &'s Target) -> Shelf<'s> {
        let again = self.arguments.verify;
        Shelf::new(&target.store, &target.interpreter, &self.wanted, again)
    }

    fn fill(
        &self,
        walked: Walk,
        environment: &Environment<'_>,
        started: Instant,
    ) -> Result<Summary, Failure> {
        let files = &walked.files;
        let bar = environment.progress(files.len() * self.targets.len());
        let mut parts = Vec::with_capacity(self.targets.len());
        // What every interpreter has is prepared.
        let mut prepared: Option<Vec<(usize, SourceHash)>> = None;
        for target in &self.targets {
            let started = Instant::now();
            let stored = self.shelf(target);
            let compilation = &self.arguments.compilation;
            let options = super::worker_options(compilation, &target.interpreter, self.jobs);
            let work = Work::new(files, &stored, &target.interpreter, &bar);
            let done = work.run(&self.pool, &options);
            let mut totals = Totals {
                instrumented: done.instrumented,
                up_to_date: done.up_to_date,
                damaged: stored.n_damaged(),
                notes: notes(&target.store),
                ..Totals::default()
            };
            let refused =
                |(index, reason): (usize, String)| self.refusal(target, &files[index], reason);
            totals.failed = done.failed.into_iter().map(refused).collect();
            totals.failed.sort();
            if let Some(prepared) = &mut prepared {
                let here: std::collections::HashSet<_> = done.sources.into_iter().collect();
                prepared.retain(|source| here.contains(source));
            } else {
                prepared = Some(done.sources);
            }
            // What is lost of the memo is hashed again by the next run.
            let _kept = target.store.flush();
            target.store.tidy();
            totals.took(started.elapsed().as_secs_f64());
            parts.push(OfInterpreter {
                python: target.python.clone(),
                version: target.interpreter.name(),
                totals,
            });
        }
        bar.finish_and_clear();
        self.write_baseline(files, &prepared.unwrap_or_default())?;
        let mut summary = Summary::new(parts, walked.skipped, walked.failed);
        summary.totals.took(started.elapsed().as_secs_f64());
        Ok(summary)
    }

    fn check(
        &self,
        walked: Walk,
        environment: &Environment<'_>,
        started: Instant,
    ) -> Result<Report, Failure> {
        let files = &walked.files;
        let bar = environment.progress(files.len());
        let shelves: Vec<Shelf<'_>> = self
            .targets
            .iter()
            .map(|target| self.shelf(target))
            .collect();
        let Some(first) = shelves.first() else {
            return Ok(Report::default());
        };
        let sources = check::sources(&self.pool, files, first, &bar);
        bar.finish_and_clear();
        let mut report = Report {
            skipped: walked.skipped,
            failed: walked.failed,
            ..Report::default()
        };
        report.failed.extend(sources.failed);
        if self.arguments.comparison.check {
            for (target, shelf) in self.targets.iter().zip(&shelves) {
                report.interpreters.push(check::OfInterpreter {
                    python: target.python.clone(),
                    version: target.interpreter.name(),
                    checked: check::check(shelf, files, &sources.read, |found, reason| {
                        self.refusal(target, found, reason)
                    }),
                });
            }
        }
        if let Some((before, path)) = &self.before {
            let now = self.baseline_of(files, &sources.read);
            report.baseline = Some(before.compare(&now, path));
        }
        self.write_baseline(files, &sources.read)?;
        report.add_up(files.len(), started.elapsed().as_secs_f64());
        Ok(report)
    }

    /// A refusal, which names the interpreter where there are several.
    fn refusal(&self, target: &Target, found: &Found, reason: String) -> Refusal {
        let refusal = Refusal::new(&found.path, reason);
        if self.targets.len() > 1 {
            refusal.for_python(&target.python)
        } else {
            refusal
        }
    }

    fn write_baseline(
        &self,
        files: &[Found],
        sources: &[(usize, SourceHash)],
    ) -> Result<(), Failure> {
        match &self.arguments.comparison.write_baseline {
            Some(path) => self.baseline_of(files, sources).write(path),
            None => Ok(()),
        }
    }

    fn baseline_of(&self, files: &[Found], sources: &[(usize, SourceHash)]) -> Baseline {
        let tag = |target: &Target| {
            let build = target.interpreter.target();
            format!("{} -O{}", build.build().tag(), build.optimize)
        };
        let mut baseline = Baseline::new(ENGINE, self.targets.iter().map(tag).collect());
        for (index, hash) in sources {
            let found = &files[*index];
            let variants = self.wanted.describe(found, hash);
            baseline.add(&self.baseline_root, &found.path, hash, variants);
        }
        baseline
    }
}

/// What stands in the store and is left alone.
fn notes(store: &Store) -> Vec<String> {
    let newer = store.newer_formats().into_iter().map(|folder| {
        let folder = folder.display();
        format!(
            "{folder} was written by a later version of dapper and is left alone; remove it if \
             that is gone"
        )
    });
    let refused = store.refused();
    newer
        .chain(refused.iter().map(ToString::to_string))
        .collect()
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
