//! One end of the relay: the client's, or that of a server in a process of the program.
//!
//! Owns the numbers of what is sent to it and what it is over: a socket, or the standard streams of
//! this process. Messages are written whole, by whoever has one, and in the order of their numbers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::envelope::Envelope;
use super::signal::{First, Signal};
use crate::dap::framing::{Decoder, FramingError, encode};
use crate::dap::wire::{self, Stream};
use crate::ffi::descriptor;

/// What messages are read from and written to.
#[derive(Debug)]
pub(super) enum Over {
    /// A socket.
    Stream(Stream),
    /// The streams with which this process was started.
    Stdio(File, File),
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum End {
    /// The other side is gone.
    Closed,
    /// What arrived is not the protocol.
    Wrong(FramingError),
    /// The signal was raised and nothing was left to be read.
    Signalled,
    /// The one who was given the messages wants no more.
    Enough,
}

/// One end; shared by all who send.
#[derive(Debug)]
pub(super) struct Connection {
    over: Over,
    /// Whether what is sent is logged, if anything is.
    logged: bool,
    /// The number of the last message.
    sent: Mutex<i64>,
    /// What has arrived and was not taken yet.
    decoder: Mutex<Decoder>,
}

impl Connection {
    /// Over a socket or the standard streams.
    pub(super) fn new(over: Over) -> Self {
        Self {
            over,
            logged: false,
            sent: Mutex::new(0),
            decoder: Mutex::default(),
        }
    }

    /// Takes the standard streams of this process for it. What else writes to standard output
    /// writes to standard error from then on, and standard input is at its end.
    pub(super) fn stdio() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        rustix::stdio::dup2_stdout(io::stderr().as_fd())?;
        Ok(Self::new(Over::Stdio(input, output)))
    }

    /// Gives up on a sender that sends nothing for so long; `None` waits for ever.
    pub(super) fn limit_reading(&self, patience: Option<Duration>) -> io::Result<()> {
        match &self.over {
            Over::Stream(stream) => stream.limit_reading(patience),
            Over::Stdio(..) => Ok(()),
        }
    }

    /// Has what is sent logged, if anything is: it is the client's.
    pub(super) fn log(&mut self) {
        self.logged = true;
    }

    /// Whether it is over the standard streams.
    pub(super) fn is_stdio(&self) -> bool {
        matches!(self.over, Over::Stdio(..))
    }

    /// Sends a message; its number is set here, and returned.
    pub(super) fn send(&self, mut message: Value) -> i64 {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        message["seq"] = (*sent).into();
        self.write(message.to_string().as_bytes());
        *sent
    }

    /// Passes a message on under a number of this connection's, which is told before it is sent.
    pub(super) fn relay(&self, message: &[u8], envelope: &Envelope<'_>, told: impl FnOnce(i64)) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        told(*sent);
        self.write(&envelope.numbered(message, *sent));
    }

    /// Passes a message on as it is.
    pub(super) fn forward(&self, message: &[u8]) {
        let _sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(message);
    }

    fn write(&self, body: &[u8]) {
        if self.logged {
            wire::log("<--", body);
        }
        let framed = encode(body);
        // The reader notices that the other side is gone.
        let _lost = match &self.over {
            Over::Stream(stream) => stream.write_all(&framed),
            Over::Stdio(_, output) => (&*output).write_all(&framed),
        };
    }

    /// Gives each message that arrives to `take`, until it says that it wants no more (false), the
    /// other side is gone, or the signal is raised and nothing is left.
    pub(super) fn messages(
        &self,
        signal: Option<&Signal>,
        mut take: impl FnMut(Vec<u8>) -> bool,
    ) -> End {
        let mut bytes = vec![0; 1 << 16];
        loop {
            loop {
                match self.next() {
                    Ok(Some(message)) => {
                        if !take(message) {
                            return End::Enough;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return End::Wrong(error),
                }
            }
            if let Some(signal) = signal {
                match signal.or(self.input(), None) {
                    Ok(First::File) => {}
                    Ok(_) => return End::Signalled,
                    Err(_) => return End::Closed,
                }
            }
            match self.read(&mut bytes) {
                Ok(0) => return End::Closed,
                Ok(read) => self
                    .decoder
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return End::Closed,
            }
        }
    }

    fn next(&self) -> Result<Option<Vec<u8>>, FramingError> {
        self.decoder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next_message()
    }

    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.over {
            Over::Stream(stream) => stream.read(bytes),
            Over::Stdio(input, _) => (&*input).read(bytes),
        }
    }

    fn input(&self) -> BorrowedFd<'_> {
        match &self.over {
            Over::Stream(stream) => stream.as_fd(),
            Over::Stdio(input, _) => input.as_fd(),
        }
    }

    /// Leaves the connection to the parent of a fork.
    pub(super) fn abandon(&self) {
        match &self.over {
            Over::Stream(stream) => descriptor::detach(stream.as_fd()),
            Over::Stdio(input, output) => {
                descriptor::detach(input.as_fd());
                descriptor::detach(output.as_fd());
            }
        }
    }

    /// Ends the connection; what was sent arrives.
    pub(super) fn close(&self) {
        if let Over::Stream(stream) = &self.over {
            stream.shut_down();
        }
    }
}
