//! What the program prints, as events.
//!
//! One thread a stream reads its pipe and sends what it read; a client that is slow makes the
//! program wait as any reader would. What was written before the program ended is sent before
//! [`Capture::drained`] returns, and what the processes that it left behind still write comes
//! after. Bytes that are no UTF-8 are replaced, those of one character are never torn apart.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::connection::Connection;
use super::signal::{First, Signal};
use crate::dap::protocol::event;
use crate::ffi::threads::Thread;

/// The most that one event carries.
const MOST: usize = 1 << 16;
/// How long the rest of a line is waited for, so that it is one event.
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// How often.
const PATIENCE: u32 = 10;

/// The threads that read what one process prints.
pub(super) struct Capture {
    reading: Arc<(Mutex<usize>, Condvar)>,
    ended: Arc<Signal>,
}

impl Capture {
    /// Reads the pipes and sends to the client.
    pub(super) fn start(
        client: &Arc<Connection>,
        pipes: Vec<(&'static str, OwnedFd)>,
    ) -> io::Result<Self> {
        let capture = Self {
            reading: Arc::new((Mutex::new(pipes.len()), Condvar::new())),
            ended: Arc::new(Signal::new()?),
        };
        for (category, pipe) in pipes {
            let client = Arc::clone(client);
            let ended = Arc::clone(&capture.ended);
            let reading = Arc::clone(&capture.reading);
            let mut drained = Drained(Some(reading));
            Thread::start("dapper-output", move || {
                let mut pipe = Pipe::new(pipe);
                let mut ended = Some(&*ended);
                while let Ok(more) = pipe.next(ended) {
                    match more {
                        More::Text(text) if !text.is_empty() => {
                            let body = json!({"category": category, "output": text});
                            client.send(event("output", body));
                        }
                        More::Text(_) => {}
                        More::Nothing => {
                            ended = None;
                            drained.tell();
                        }
                        More::End => break,
                    }
                }
            })?;
        }
        Ok(capture)
    }

    /// The process has ended: waits until all that it wrote has been sent.
    pub(super) fn drained(&self) {
        self.ended.raise();
        let (reading, changed) = &*self.reading;
        let reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(reading, |reading| *reading > 0));
    }
}

/// Tells once that a stream has nothing left, at the latest when its thread ends.
struct Drained(Option<Arc<(Mutex<usize>, Condvar)>>);

impl Drained {
    fn tell(&mut self) {
        if let Some(reading) = self.0.take() {
            *reading.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            reading.1.notify_all();
        }
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.tell();
    }
}

enum More {
    Text(String),
    /// The process has ended, and the pipe is empty.
    Nothing,
    /// Nobody can write to the pipe any more.
    End,
}

struct Pipe {
    file: File,
    bytes: Vec<u8>,
    /// The beginning of a character whose end is still to come.
    torn: Vec<u8>,
}

impl Pipe {
    fn new(pipe: OwnedFd) -> Self {
        Self {
            file: File::from(pipe),
            bytes: vec![0; MOST],
            torn: Vec::new(),
        }
    }

    fn next(&mut self, ended: Option<&Signal>) -> io::Result<More> {
        if let Some(ended) = ended
            && ended.or(self.file.as_fd(), None)? == First::Signal
        {
            return Ok(More::Nothing);
        }
        let mut all = std::mem::take(&mut self.torn);
        let mut patience = PATIENCE;
        loop {
            let read = match self.file.read(&mut self.bytes) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                if all.is_empty() {
                    return Ok(More::End);
                }
                return Ok(More::Text(String::from_utf8_lossy(&all).into_owned()));
            }
            all.extend_from_slice(&self.bytes[..read]);
            patience -= 1;
            if all.len() >= MOST || patience == 0 || all.ends_with(b"\n") || !self.more_comes()? {
                break;
            }
        }
        self.torn = all.split_off(whole(&all));
        Ok(More::Text(String::from_utf8_lossy(&all).into_owned()))
    }

    fn more_comes(&self) -> io::Result<bool> {
        let mut waiting = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut waiting, Some(&MOMENT)) {
            // The end is for the next read to find.
            Ok(found) => Ok(found > 0 && waiting[0].revents().contains(PollFlags::IN)),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// How many of the bytes do not belong to a character that is cut off at the end.
fn whole(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3)..bytes.len();
    for at in tail.rev() {
        let needs = match bytes[at] {
            0x00..=0x7f => 1,
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
        };
        let is_cut = at + needs > bytes.len() && bytes[at] < 0xf5;
        return if is_cut { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn characters_are_not_torn() {
        let text = "aé€😀";
        for end in 0..=text.len() {
            let bytes = &text.as_bytes()[..end];
            let expected = (0..=end).rev().find(|at| text.is_char_boundary(*at));
            assert_eq!(Some(whole(bytes)), expected, "{end}");
        }
        assert_eq!(whole(b"\x80\x80\x80"), 3);
        assert_eq!(whole(b"a\xff"), 2);
    }
}
