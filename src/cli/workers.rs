//! Compiling in parallel: long-lived worker interpreters fed over pipes.
//!
//! CPython's compiler is the ground truth and holds the GIL, so every worker is a process of its
//! own running `worker.py` (its docstring has the wire format). A thread per worker sends batches
//! of sources, reads the next batch while the worker is at one, and takes one answer per source.
//! A file that kills its worker, or takes longer than the limit, is tried once more alone in a
//! fresh worker and then reported; the rest of its batch goes on. Relies on the worker reading a
//! whole request before it answers: a batch is written when every answer to the one before was
//! taken, never into a full pipe while an answer waits to be read.

mod process;
mod timed;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use process::{Answer, Worker};

/// Sources of one request: large enough to hide the round trip, small enough to share the work.
const BATCH_BYTES: u64 = 256 * 1024;
/// The engine recurses with the nesting of code; its threads have room for that.
pub(super) const STACK: usize = 64 << 20;

/// How the workers are run.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The interpreter.
    pub python: PathBuf,
    /// The optimisation level handed to `compile`.
    pub optimize: u8,
    /// How many workers.
    pub jobs: usize,
    /// How long one file may take; no limit when absent.
    pub limit: Option<Duration>,
}

/// One file to compile.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The caller's number for it.
    pub index: usize,
    /// Its path, which becomes `co_filename`.
    pub path: PathBuf,
    /// Its size, which decides the order: the largest first.
    pub size: u64,
}

/// Supplies the source of a task; `None` drops the task.
pub(crate) type SourceOf<'a> = dyn Fn(&Task) -> Option<Vec<u8>> + Sync + 'a;
/// Takes the marshalled code object of a task, or the error.
pub(crate) type Done<'a> = dyn Fn(&Task, Result<Vec<u8>, CompileError>) + Sync + 'a;

/// Why a file could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CompileError {
    /// The compiler refused it.
    Refused {
        /// The exception's class, such as `SyntaxError`.
        exception: String,
        /// The line, if the compiler named one.
        line: Option<u32>,
        /// The compiler's own words.
        message: String,
    },
    /// It took longer than the limit, twice.
    TimedOut(Duration),
    /// The worker ended while it compiled this file, twice.
    Crashed {
        /// How it ended.
        status: String,
        /// The end of what it wrote to its error output.
        stderr: String,
    },
    /// No worker could be started.
    NoWorker(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused {
                exception,
                line: Some(line),
                message,
            } => {
                write!(f, "does not compile: {exception} on line {line}: {message}")
            }
            Self::Refused {
                exception,
                line: None,
                message,
            } => {
                write!(f, "does not compile: {exception}: {message}")
            }
            Self::TimedOut(limit) => write!(
                f,
                "took longer than {} s to compile: raise the limit with --timeout (0 for none)",
                limit.as_secs_f64()
            ),
            Self::Crashed { status, stderr } if stderr.is_empty() => {
                write!(
                    f,
                    "the interpreter died while it compiled this file ({status})"
                )
            }
            Self::Crashed { status, stderr } => {
                write!(
                    f,
                    "the interpreter died while it compiled this file ({status}): {stderr}"
                )
            }
            Self::NoWorker(message) => write!(f, "no compile worker could be started: {message}"),
        }
    }
}

/// Compiles every task. `source` is called when a task's turn comes, then `done`, both from
/// several threads with room for the engine.
pub(super) fn compile_all(
    options: &Options,
    mut tasks: Vec<Task>,
    source: &SourceOf<'_>,
    done: &Done<'_>,
) {
    tasks.sort_by_key(|task| std::cmp::Reverse(task.size));
    let total: u64 = tasks.iter().map(|task| task.size).sum();
    let jobs = options.jobs.clamp(1, tasks.len().max(1));
    let share = total / (jobs as u64 * 8);
    let queue = Mutex::new(batches(tasks, share.min(BATCH_BYTES)));
    let feed = || {
        let line = Line {
            options,
            source,
            done,
            queue: &queue,
            worker: None,
        };
        line.run();
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            let builder = thread::Builder::new().stack_size(STACK);
            if builder.spawn_scoped(scope, feed).is_err() {
                // With too few threads the work takes longer; with none it is done here.
                feed();
            }
        }
    });
}

fn batches(tasks: Vec<Task>, bytes: u64) -> VecDeque<Vec<Task>> {
    let mut queue = VecDeque::new();
    let mut batch = Vec::new();
    let mut filled = 0;
    for task in tasks {
        filled += task.size;
        batch.push(task);
        if filled >= bytes {
            queue.push_back(std::mem::take(&mut batch));
            filled = 0;
        }
    }
    if !batch.is_empty() {
        queue.push_back(batch);
    }
    queue
}

/// Sources as a worker takes them.
struct Request {
    bytes: Vec<u8>,
    /// Those whose answers are to come, in order.
    tasks: VecDeque<Task>,
}

/// One worker process after another, and the thread that feeds it.
struct Line<'a> {
    options: &'a Options,
    source: &'a SourceOf<'a>,
    done: &'a Done<'a>,
    queue: &'a Mutex<VecDeque<Vec<Task>>>,
    worker: Option<Worker>,
}

impl Line<'_> {
    /// Compiles batches until there are no more. While a worker compiles one, the next is read.
    fn run(mut self) {
        let mut ahead = self.next();
        while let Some(mut request) = ahead {
            self.send(&mut request);
            ahead = self.next();
            // What is left of a batch after a worker's death goes on in the next worker.
            while let Some((culprit, _)) = self.take_answers(&mut request.tasks) {
                let mut alone = self.request([culprit.clone()]);
                self.send(&mut alone);
                if let Some((_, error)) = self.take_answers(&mut alone.tasks) {
                    (self.done)(&culprit, Err(error));
                }
                request = self.request(request.tasks);
                self.send(&mut request);
            }
        }
    }

    fn next(&self) -> Option<Request> {
        let batch = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        batch.map(|batch| self.request(batch))
    }

    /// Reads the sources of some tasks.
    fn request(&self, tasks: impl IntoIterator<Item = Task>) -> Request {
        let mut bytes = vec![0; 4];
        let mut read = |task: &Task| {
            let Some(source) = (self.source)(task) else {
                return false;
            };
            push_field(&mut bytes, &path_bytes(&task.path));
            push_field(&mut bytes, &source);
            true
        };
        let tasks = tasks.into_iter().filter(|task| read(task)).collect();
        let length = length_field(bytes.len() - 4);
        bytes[..4].copy_from_slice(&length);
        Request { bytes, tasks }
    }

    /// Hands a request to the worker, which is started if there is none.
    fn send(&mut self, request: &mut Request) {
        if request.tasks.is_empty() {
            return;
        }
        let started = self
            .worker
            .take()
            .map_or_else(|| Worker::start(self.options), Ok);
        match started {
            Ok(mut worker) => {
                worker.request(&request.bytes);
                self.worker = Some(worker);
            }
            Err(message) => {
                for task in request.tasks.drain(..) {
                    (self.done)(&task, Err(CompileError::NoWorker(message.clone())));
                }
            }
        }
        request.bytes = Vec::new();
    }

    /// Takes the answers to a request that was sent. When the worker fails, returns the file it
    /// was at, and leaves those behind it in `left`.
    fn take_answers(&mut self, left: &mut VecDeque<Task>) -> Option<(Task, CompileError)> {
        let worker = self.worker.as_mut()?;
        while let Some(task) = left.pop_front() {
            let result = match worker.answer(self.options.limit) {
                Ok(Answer { status: 0, payload }) => Ok(payload),
                Ok(Answer { payload, .. }) => Err(refused(&payload)),
                Err(error) => {
                    self.worker = None;
                    return Some((task, error));
                }
            };
            (self.done)(&task, result);
        }
        None
    }
}

/// Takes apart the text of a status 1 answer.
fn refused(payload: &[u8]) -> CompileError {
    let text = String::from_utf8_lossy(payload);
    let mut fields = text.splitn(3, '\n');
    let exception = fields.next().unwrap_or_default().to_owned();
    let line = fields
        .next()
        .and_then(|line| line.parse().ok())
        .filter(|&line| line > 0);
    let message = fields.next().unwrap_or_default().to_owned();
    CompileError::Refused {
        exception,
        line,
        message,
    }
}

fn push_field(request: &mut Vec<u8>, field: &[u8]) {
    request.extend_from_slice(&length_field(field.len()));
    request.extend_from_slice(field);
}

/// Sources are far below 4 GiB: `precompile` refuses larger ones before they come here.
fn length_field(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(unix)]
fn path_bytes(path: &Path) -> std::borrow::Cow<'_, [u8]> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().into()
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> std::borrow::Cow<'_, [u8]> {
    path.to_string_lossy().into_owned().into_bytes().into()
}

#[cfg(test)]
mod tests;
