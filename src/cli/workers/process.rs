//! A worker interpreter as a process: started, written to, read from, and ended.
//!
//! Answers are read by the thread that wants them: with one more in between, every answer would
//! wake two. Relies on `timed` for the limit of a read.

use std::io::{self, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::timed::Timed;
use super::{CompileError, Options};

pub(super) const WORKER: &str = include_str!("../worker.py");
/// A worker that has not said it is ready after this long never will.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Hardly any answer is longer.
const EXPECTED: u64 = 1 << 20;
/// How much of what a worker wrote to its error output is kept for the report.
const STDERR_KEPT: usize = 2048;

/// A running worker interpreter; dropping it ends the process.
pub(super) struct Worker {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<Timed>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
}

/// What a worker said about one source.
pub(super) struct Answer {
    pub(super) status: u8,
    pub(super) payload: Vec<u8>,
}

impl Worker {
    pub(super) fn start(options: &Options) -> Result<Self, String> {
        let mut process = Command::new(&options.python)
            .args(["-I", "-S", "-B", "-X", "utf8", "-W", "ignore", "-c", WORKER])
            .arg(options.optimize.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", options.python.display()))?;
        let (Some(requests), Some(answers), Some(stderr)) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        ) else {
            return Err("a pipe is missing".to_owned());
        };
        let mut worker = Self {
            process,
            requests,
            answers: BufReader::with_capacity(64 * 1024, Timed::new(answers)),
            stderr: Some(thread::spawn(move || last_bytes(stderr))),
        };
        match worker.answer(Some(START_LIMIT)) {
            Ok(Answer { status: 2, .. }) => Ok(worker),
            Err(CompileError::TimedOut(limit)) => {
                Err(format!("it was not ready after {} s", limit.as_secs()))
            }
            Ok(_) => Err(worker.post_mortem().to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes a request. When that fails the worker is gone, as the missing answers will say.
    pub(super) fn request(&mut self, request: &[u8]) {
        let _gone = self
            .requests
            .write_all(request)
            .and_then(|()| self.requests.flush());
    }

    /// Waits for the next answer. After an error the worker is of no more use.
    pub(super) fn answer(&mut self, limit: Option<Duration>) -> Result<Answer, CompileError> {
        self.answers.get_mut().expect_within(limit);
        match (read_answer(&mut self.answers), limit) {
            (Ok(answer), _) => Ok(answer),
            (Err(error), Some(limit)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(CompileError::TimedOut(limit))
            }
            (Err(_), _) => Err(self.post_mortem()),
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
    let length = u64::from(u32::from_le_bytes(length));
    // A length is believed in advance as far as code objects are long.
    let mut payload = Vec::with_capacity(length.min(EXPECTED) as usize);
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
