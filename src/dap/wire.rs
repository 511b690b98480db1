//! The connection to a client or an adapter.
//!
//! Owns the socket, the numbers of what is sent, and the two ways in which reading ends: the other
//! side is gone, or this side wants its thread back. Messages are written by whoever has one, whole
//! and in the order of their numbers; a connection that fails stays failed and is passed over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::framing::encode;
use crate::ffi::descriptor;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone: the program does not wait for it for ever.
const STALLED: Duration = Duration::from_secs(30);
const UNIX: &str = "unix:";

struct Log {
    file: File,
    /// Whose messages they are.
    process: u32,
}

/// Where messages are written to, if anywhere.
static LOG: Mutex<Option<Log>> = Mutex::new(None);
static LOGGING: AtomicBool = AtomicBool::new(false);

/// Appends the messages of the protocol to a file from now on.
pub(crate) fn log_to(path: &str) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    let process = std::process::id();
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(Log { file, process });
    LOGGING.store(true, Ordering::Relaxed);
    Ok(())
}

/// Appends the messages to this process's own file in a folder, unless they go somewhere already;
/// `part` says what the process is.
pub(crate) fn log_in(folder: &str, part: &str) -> io::Result<()> {
    let process = std::process::id();
    let known = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref().is_some_and(|log| log.process == process) {
        return Ok(());
    }
    drop(known);
    log_to(&format!("{folder}/dapper.{part}-{process}.log"))
}

/// Notes a message.
pub(crate) fn log(direction: &str, message: &[u8]) {
    if LOGGING.load(Ordering::Relaxed)
        && let Some(log) = &mut *LOG.lock().unwrap_or_else(PoisonError::into_inner)
    {
        let line = [direction.as_bytes(), b" ", message, b"\n"].concat();
        // A full disk is no reason to lose the session.
        let _ = log.file.write_all(&line);
    }
}

/// A socket of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `HOST:PORT` or `unix:PATH`.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        if let Some(path) = address.strip_prefix(UNIX) {
            return UnixStream::connect(path).map(Self::Unix);
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the address names no host");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Self::of_tcp(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Waits for the next client.
    pub(crate) fn accept(listener: &TcpListener) -> io::Result<Self> {
        Self::of_tcp(listener.accept()?.0)
    }

    /// A connection without the wait for more to send.
    pub(crate) fn of_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    pub(crate) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&*stream).write_all(bytes),
            Self::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(bytes),
            Self::Unix(stream) => (&*stream).read(bytes),
        }
    }

    /// The address of this side, if it is one of the network.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Gives up on a reader that takes nothing for so long; `None` waits for ever.
    pub(super) fn limit_writing(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(patience),
            Self::Unix(stream) => stream.set_write_timeout(patience),
        }
    }

    /// Gives up on a sender that sends nothing for so long; `None` waits for ever.
    pub(crate) fn limit_reading(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(patience),
            Self::Unix(stream) => stream.set_read_timeout(patience),
        }
    }

    pub(crate) fn shut_down(&self) {
        // What is shut down already stays so.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Both),
        };
    }
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// So many bytes.
    Bytes(usize),
    /// The other side is gone.
    End,
    /// [`Wire::interrupt`] was called.
    Interrupted,
    /// Nothing in the time that was given.
    Nothing,
}

/// A connection; shared by all who send.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// The number of the last message.
    sent: Mutex<i64>,
    broken: AtomicBool,
    /// Written to end a read, and its other end.
    interruption: (UnixStream, UnixStream),
}

impl Wire {
    /// Over a connected stream on which so many messages were sent already.
    pub(crate) fn new(stream: Stream, sent: i64) -> io::Result<Self> {
        stream.limit_writing(Some(STALLED))?;
        Ok(Self {
            stream,
            sent: Mutex::new(sent),
            broken: AtomicBool::new(false),
            interruption: UnixStream::pair()?,
        })
    }

    /// Sends a message; its number is set here, and returned.
    pub(crate) fn send(&self, mut message: Value) -> i64 {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        message["seq"] = (*sent).into();
        let text = message.to_string();
        log("<--", text.as_bytes());
        let written = self.stream.write_all(&encode(text.as_bytes()));
        if written.is_err() && !self.broken.swap(true, Ordering::Relaxed) {
            // Half a message may have gone out: the thread that reads finds the end.
            self.stream.shut_down();
        }
        *sent
    }

    /// Sends messages, one behind the other; false when that failed.
    pub(crate) fn send_all(&self, messages: Vec<Value>) -> bool {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        for mut message in messages {
            *sent += 1;
            message["seq"] = (*sent).into();
            let text = message.to_string();
            log("<--", text.as_bytes());
            bytes.extend(encode(text.as_bytes()));
        }
        let written = self.stream.write_all(&bytes).is_ok();
        if !written {
            self.broken.store(true, Ordering::Relaxed);
        }
        written
    }

    /// Whether something could not be sent.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Waits for bytes of the other side, for so long if a time is given.
    pub(crate) fn read(&self, bytes: &mut [u8], time: Option<Duration>) -> io::Result<Arrival> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut waiting = [
            PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.interruption.1.as_fd(), PollFlags::IN),
        ];
        loop {
            match poll(&mut waiting, time.as_ref()) {
                Ok(0) => return Ok(Arrival::Nothing),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !waiting[1].revents().is_empty() {
            (&self.interruption.1).read_exact(&mut [0])?;
            return Ok(Arrival::Interrupted);
        }
        match self.stream.read(bytes) {
            Ok(0) => Ok(Arrival::End),
            Ok(read) => Ok(Arrival::Bytes(read)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Arrival::End),
            Err(error) => Err(error),
        }
    }

    /// Has the thread that reads return.
    pub(crate) fn interrupt(&self) {
        // A full buffer says the same.
        let _ = (&self.interruption.0).write_all(&[0]);
    }

    /// The address of this side, if it is one of the network.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.stream.local_address()
    }

    /// Leaves the connection to the parent of a fork.
    pub(crate) fn abandon(&self) {
        descriptor::detach(self.stream.as_fd());
    }

    /// Ends the connection; what was sent arrives.
    pub(crate) fn close(&self) {
        self.stream.shut_down();
    }
}
