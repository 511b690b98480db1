//! `verify`: the engine's proof on real code, file by file and in parallel.
//!
//! `.pyc` files are proved in the version that wrote them; sources are compiled first. A source
//! found in a folder that does not compile holds nothing to prove and is skipped with the
//! compiler's reason; one given by name is a failure.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use instrument::{PyVersion, pyc};
use rayon::prelude::*;
use serde::Serialize;

use super::arguments;
use super::precompile::{globs, jobs, pool};
use super::report::{self, Refusal, counted};
use super::terminal::Environment;
use super::walk::{Found, Kinds, walk};
use super::workers::{Task, compile_all};
use super::{Failure, interpreter, worker_options};

/// The report, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
struct Report {
    files: usize,
    code_objects: u64,
    instrumented: u64,
    untouched: Vec<Place>,
    failures: Vec<Place>,
    skipped: Vec<Refusal>,
    seconds: f64,
}

/// A code object (or a whole file) and what is to be said of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Place {
    file: String,
    first_line: u32,
    qualname: String,
    reason: String,
}

impl Place {
    fn file(file: &Path, reason: String) -> Self {
        let (first_line, qualname) = (0, String::new());
        Self {
            file: file.display().to_string(),
            first_line,
            qualname,
            reason,
        }
    }
}

/// Runs the command; the status is 1 when anything failed.
pub(super) fn run(
    arguments: &arguments::Verify,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let started = Instant::now();
    let exclude = globs(&arguments.selection.exclude)?;
    let jobs = jobs(&arguments.selection);
    let pool = pool(jobs)?;
    let searching = environment.searching();
    let found = pool.install(|| walk(&arguments.paths, Kinds::SourcesAndCompiled, &exclude));
    searching.finish_and_clear();
    let bar = environment.progress(found.files.len());
    let report = Mutex::new(Report::default());
    let add = |file: &Found, outcome| {
        bar.inc(1);
        report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(file, outcome);
    };
    let (compiled, sources): (Vec<&Found>, Vec<&Found>) =
        found.files.iter().partition(|file| file.compiled);
    pool.install(|| {
        compiled
            .par_iter()
            .for_each(|file| add(file, prove_pyc(&file.path)));
    });
    if !sources.is_empty() {
        let interpreter = interpreter(&arguments.python, environment)?;
        let task = |(index, file): (usize, &&Found)| {
            let size = file.stamp.map_or(0, |stamp| stamp.size);
            Task {
                index,
                path: file.path.clone(),
                size,
            }
        };
        let read = |task: &Task| match fs::read(&task.path) {
            Ok(source) => Some(source),
            Err(error) => {
                add(
                    sources[task.index],
                    Outcome::Failed(format!("cannot be read: {error}")),
                );
                None
            }
        };
        let options = worker_options(&arguments.python.compilation, &interpreter, jobs);
        let tasks = sources.iter().enumerate().map(task).collect();
        compile_all(&options, tasks, &read, &|task, compiled| {
            let outcome = match compiled {
                Ok(code) => prove(interpreter.version, &code),
                Err(error) => Outcome::NotCompiled(error.to_string()),
            };
            add(sources[task.index], outcome);
        });
    }
    bar.finish_and_clear();
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.skipped.extend(found.skipped);
    let unusable = found
        .failed
        .into_iter()
        .map(|refusal| Place::file(Path::new(&refusal.file), refusal.reason));
    report.failures.extend(unusable);
    report.sort();
    report.seconds = started.elapsed().as_secs_f64();
    let printed = if json {
        report::json(out, &report)
    } else {
        print(out, &report)
    };
    printed.map_err(Failure::output)?;
    Ok(i32::from(!report.failures.is_empty()))
}

enum Outcome {
    Proved(instrument::Verification),
    NotCompiled(String),
    Skipped(String),
    Failed(String),
}

fn prove_pyc(path: &Path) -> Outcome {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Outcome::Failed(format!("cannot be read: {error}")),
    };
    match pyc::read(&bytes) {
        Ok((header, code)) => prove(header.version, code),
        Err(error) if matches!(error.kind, instrument::ErrorKind::UnknownMagic(_)) => {
            Outcome::Skipped(error.to_string())
        }
        Err(error) => Outcome::Failed(format!("{error}; compile it again")),
    }
}

fn prove(version: PyVersion, code: &[u8]) -> Outcome {
    match instrument::verify(version, code) {
        Ok(verification) => Outcome::Proved(verification),
        Err(error) => Outcome::Failed(format!("cannot be read as code: {error}")),
    }
}

impl Report {
    fn add(&mut self, file: &Found, outcome: Outcome) {
        let path = &file.path;
        let verification = match outcome {
            Outcome::Proved(verification) => verification,
            Outcome::NotCompiled(reason) if !file.given => {
                return self.skipped.push(Refusal::new(path, reason));
            }
            Outcome::Skipped(reason) => return self.skipped.push(Refusal::new(path, reason)),
            Outcome::NotCompiled(reason) | Outcome::Failed(reason) => {
                return self.failures.push(Place::file(path, reason));
            }
        };
        self.files += 1;
        self.code_objects += u64::from(verification.code_objects);
        self.instrumented += u64::from(verification.instrumented);
        let place = |qualname, first_line, reason| Place {
            file: path.display().to_string(),
            first_line,
            qualname,
            reason,
        };
        self.untouched
            .extend(verification.untouched.into_iter().map(|untouched| {
                place(
                    untouched.qualname,
                    untouched.first_line,
                    untouched.reason.to_string(),
                )
            }));
        self.failures.extend(
            verification
                .failures
                .into_iter()
                .map(|failure| place(failure.qualname, failure.first_line, failure.message)),
        );
    }

    fn sort(&mut self) {
        self.untouched.sort();
        self.failures.sort();
        self.skipped.sort();
    }
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    report::refusals(out, "skipped", &report.skipped)?;
    for (heading, places) in [
        ("untouched", &report.untouched),
        ("failed", &report.failures),
    ] {
        if !places.is_empty() {
            writeln!(out, "{heading}: {}", places.len())?;
        }
        for place in places {
            let Place {
                file,
                first_line,
                qualname,
                reason,
            } = place;
            if qualname.is_empty() {
                writeln!(out, "  {file}: {reason}")?;
            } else {
                writeln!(out, "  {file}:{first_line} {qualname}: {reason}")?;
            }
        }
    }
    let objects = usize::try_from(report.code_objects).unwrap_or(usize::MAX);
    writeln!(
        out,
        "{}, {}: {} instrumented, {} untouched, {} in {:.2} s",
        counted(report.files, "file"),
        counted(objects, "code object"),
        report.instrumented,
        report.untouched.len(),
        counted(report.failures.len(), "failure"),
        report.seconds,
    )
}
