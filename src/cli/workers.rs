//! Compiling in parallel: long-lived worker interpreters fed over pipes.
//!
//! CPython's compiler is the ground truth and holds the GIL, so every worker is a process of its
//! own running `worker.py` (its docstring has the wire format). A thread per worker sends batches
//! of sources and takes one answer per source. A file that kills its worker, or takes longer than
//! the limit, is tried once more alone in a fresh worker and then reported; the rest of its batch
//! goes on. Relies on the worker reading a whole request before it answers, so a batch is never
//! written into a full pipe while an answer waits to be read.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const WORKER: &str = include_str!("worker.py");
/// Sources of one request: large enough to hide the round trip, small enough to share the work.
const BATCH_BYTES: u64 = 256 * 1024;
/// A worker that has not said it is ready after this long never will.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The engine recurses with the nesting of code; its threads have room for that.
pub(super) const STACK: usize = 64 << 20;
/// How much of what a worker wrote to its error output is kept for the report.
const STDERR_KEPT: usize = 2048;

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
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let feed = || {
        let mut line = Line {
            options,
            source,
            done,
            worker: None,
        };
        while let Some(batch) = next() {
            line.run(batch);
        }
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

/// One worker process after another, and the thread that feeds it.
struct Line<'a> {
    options: &'a Options,
    source: &'a SourceOf<'a>,
    done: &'a Done<'a>,
    worker: Option<Worker>,
}

impl Line<'_> {
    /// Compiles a batch; what is left of it after a worker's death goes on in the next worker.
    fn run(&mut self, batch: Vec<Task>) {
        let mut left: VecDeque<Task> = batch.into();
        while !left.is_empty() {
            let Some((culprit, _)) = self.send(&mut left) else {
                continue;
            };
            let mut alone = VecDeque::from([culprit.clone()]);
            if let Some((_, error)) = self.send(&mut alone) {
                (self.done)(&culprit, Err(error));
            }
        }
    }

    /// Sends all of `left` as one request and takes the answers. When the worker fails, returns
    /// the file it was at, and leaves those behind it in `left`.
    fn send(&mut self, left: &mut VecDeque<Task>) -> Option<(Task, CompileError)> {
        let mut request = vec![0; 4];
        left.retain(|task| {
            let Some(source) = (self.source)(task) else {
                return false;
            };
            push_field(&mut request, &path_bytes(&task.path));
            push_field(&mut request, &source);
            true
        });
        if left.is_empty() {
            return None;
        }
        let length = length_field(request.len() - 4);
        request[..4].copy_from_slice(&length);
        let started = self
            .worker
            .take()
            .map_or_else(|| Worker::start(self.options), Ok);
        let mut worker = match started {
            Ok(worker) => worker,
            Err(message) => {
                for task in left.drain(..) {
                    (self.done)(&task, Err(CompileError::NoWorker(message.clone())));
                }
                return None;
            }
        };
        // A failed write means that the worker is gone: the missing answers will say so.
        let _gone = worker
            .requests
            .write_all(&request)
            .and_then(|()| worker.requests.flush());
        drop(request);
        while let Some(task) = left.pop_front() {
            let result = match worker.answer(self.options.limit) {
                Ok(Answer { status: 0, payload }) => Ok(payload),
                Ok(Answer { payload, .. }) => Err(refused(&payload)),
                Err(RecvTimeoutError::Timeout) => {
                    let limit = self.options.limit.unwrap_or_default();
                    return Some((task, CompileError::TimedOut(limit)));
                }
                Err(RecvTimeoutError::Disconnected) => return Some((task, worker.post_mortem())),
            };
            (self.done)(&task, result);
        }
        self.worker = Some(worker);
        None
    }
}

/// A running worker interpreter; dropping it ends the process.
struct Worker {
    process: Child,
    requests: ChildStdin,
    answers: Receiver<Answer>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
}

struct Answer {
    status: u8,
    payload: Vec<u8>,
}

impl Worker {
    fn start(options: &Options) -> Result<Self, String> {
        let mut process = Command::new(&options.python)
            .args(["-I", "-S", "-B", "-X", "utf8", "-W", "ignore", "-c", WORKER])
            .arg(options.optimize.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", options.python.display()))?;
        let (Some(requests), Some(stdout), Some(stderr)) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        ) else {
            return Err("a pipe is missing".to_owned());
        };
        // Bounded, so that a slow store does not let compiled code pile up in memory.
        let (sender, answers) = sync_channel(16);
        thread::spawn(move || {
            let mut stdout = BufReader::with_capacity(64 * 1024, stdout);
            while let Ok(answer) = read_answer(&mut stdout) {
                if sender.send(answer).is_err() {
                    break;
                }
            }
        });
        let stderr = Some(thread::spawn(move || last_bytes(stderr)));
        let mut worker = Self {
            process,
            requests,
            answers,
            stderr,
        };
        match worker.answers.recv_timeout(START_LIMIT) {
            Ok(Answer { status: 2, .. }) => Ok(worker),
            _ => Err(worker.post_mortem().to_string()),
        }
    }

    fn answer(&mut self, limit: Option<Duration>) -> Result<Answer, RecvTimeoutError> {
        match limit {
            Some(limit) => self.answers.recv_timeout(limit),
            None => self
                .answers
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// How a worker that closed its answers ended.
    fn post_mortem(&mut self) -> CompileError {
        let _already_dead = self.process.kill();
        let status = match self.process.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let said = self
            .stderr
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        let stderr = String::from_utf8_lossy(&said).trim().to_owned();
        CompileError::Crashed { status, stderr }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _already_dead = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn read_answer(from: &mut impl Read) -> io::Result<Answer> {
    let mut header = [0; 5];
    from.read_exact(&mut header)?;
    let [status, length @ ..] = header;
    let mut payload = Vec::new();
    let length = u64::from(u32::from_le_bytes(length));
    if from.take(length).read_to_end(&mut payload)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer { status, payload })
}

fn last_bytes(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..length]);
        let surplus = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..surplus);
    }
    kept
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
