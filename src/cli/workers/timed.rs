//! Reading from a pipe until a point in time.
//!
//! A deadline is for all reads until the next one is set; past it they fail with `TimedOut`. On
//! Unix the reading thread waits with `poll`. Elsewhere a pipe cannot be waited for with a limit,
//! so a thread reads and hands on what came.

use std::time::{Duration, Instant};

pub(super) use pipe::Timed;

/// What is left until a deadline.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(unix)]
mod pipe {
    use std::io::{self, Read};
    use std::process::ChildStdout;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;

    use super::{Duration, Instant, left};

    /// Output of a process, read with a deadline.
    pub(in super::super) struct Timed {
        pipe: ChildStdout,
        deadline: Option<Instant>,
    }

    impl Timed {
        pub(in super::super) fn new(pipe: ChildStdout) -> Self {
            Self {
                pipe,
                deadline: None,
            }
        }

        /// What is read from now on has to come within `limit`.
        pub(in super::super) fn expect_within(&mut self, limit: Option<Duration>) {
            self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        }
    }

    impl Read for Timed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if let Some(deadline) = self.deadline {
                let mut waited = [PollFd::new(&self.pipe, PollFlags::IN)];
                loop {
                    let limit = Timespec::try_from(left(deadline)).ok();
                    match poll(&mut waited, limit.as_ref()) {
                        Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                        // What ended the wait may be data, the end, or an error: `read` tells.
                        Ok(_) => break,
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            self.pipe.read(buffer)
        }
    }
}

#[cfg(not(unix))]
mod pipe {
    use std::io::{self, Read};
    use std::process::ChildStdout;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
    use std::thread;

    use super::{Duration, Instant, left};

    /// Output of a process, read with a deadline.
    pub(in super::super) struct Timed {
        chunks: Receiver<Vec<u8>>,
        /// What came and was not read yet.
        rest: Vec<u8>,
        deadline: Option<Instant>,
    }

    impl Timed {
        pub(in super::super) fn new(mut pipe: ChildStdout) -> Self {
            // Bounded, so that compiled code does not pile up in memory.
            let (sender, chunks) = sync_channel(4);
            thread::spawn(move || {
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                    if sender.send(chunk[..length].to_vec()).is_err() {
                        break;
                    }
                }
            });
            Self {
                chunks,
                rest: Vec::new(),
                deadline: None,
            }
        }

        /// What is read from now on has to come within `limit`.
        pub(in super::super) fn expect_within(&mut self, limit: Option<Duration>) {
            self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        }
    }

    impl Read for Timed {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty() {
                let came = match self.deadline {
                    Some(deadline) => self.chunks.recv_timeout(left(deadline)),
                    None => self
                        .chunks
                        .recv()
                        .map_err(|_| RecvTimeoutError::Disconnected),
                };
                match came {
                    Ok(chunk) => self.rest = chunk,
                    Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
                    Err(RecvTimeoutError::Disconnected) => return Ok(0),
                }
            }
            let length = self.rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&self.rest[..length]);
            self.rest.drain(..length);
            Ok(length)
        }
    }
}
