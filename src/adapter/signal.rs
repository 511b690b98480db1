//! A signal between threads that can be waited for beside a file.
//!
//! It is raised once and stays raised. Whoever reads a pipe or a socket waits for both with
//! `poll`, and looks at the file first: what has arrived comes before the signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One that threads share.
#[derive(Debug)]
pub(super) struct Signal {
    /// Readable once the other end is closed.
    raised: UnixStream,
    other: Mutex<Option<UnixStream>>,
}

/// What there is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The file can be read, if only to find its end.
    File,
    /// Nothing is there to be read, and the signal is raised.
    Signal,
    /// The time is over.
    Nothing,
}

impl Signal {
    /// One that is not raised.
    pub(super) fn new() -> io::Result<Self> {
        let (raised, other) = UnixStream::pair()?;
        Ok(Self {
            raised,
            other: Mutex::new(Some(other)),
        })
    }

    /// Raises it.
    pub(super) fn raise(&self) {
        self.other
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Whether it is raised.
    pub(super) fn is_raised(&self) -> bool {
        self.other
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Waits for the signal alone; whether it is raised in time.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let first = self.or(self.raised.as_fd(), Some(patience));
        matches!(first, Ok(First::File | First::Signal))
    }

    /// Waits until the file can be read or the signal is raised, for ever or for some time.
    pub(super) fn or(&self, file: BorrowedFd<'_>, patience: Option<Duration>) -> io::Result<First> {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut waiting = [
            PollFd::from_borrowed_fd(file, PollFlags::IN),
            PollFd::from_borrowed_fd(self.raised.as_fd(), PollFlags::IN),
        ];
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut waiting, left.as_ref()) {
                Ok(0) => return Ok(First::Nothing),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if waiting[0].revents().is_empty() {
            Ok(First::Signal)
        } else {
            Ok(First::File)
        }
    }
}
