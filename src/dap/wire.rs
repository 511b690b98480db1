//! The connection to a client or an adapter.
//!
//! Owns the socket, the numbers of what is sent, and the two ways in which reading ends: the other
//! side is gone, or this side wants its thread back. Messages are written by whoever has one, whole
//! and in the order of their numbers; a connection that fails stays failed and is passed over.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use super::framing::encode;

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);
const UNIX: &str = "unix:";

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

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => (&*stream).write_all(bytes),
            Self::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&*stream).read(bytes),
            Self::Unix(stream) => (&*stream).read(bytes),
        }
    }

    fn shut_down(&self) {
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
    /// Over a connected stream.
    pub(crate) fn new(stream: Stream) -> io::Result<Self> {
        Ok(Self {
            stream,
            sent: Mutex::new(0),
            broken: AtomicBool::new(false),
            interruption: UnixStream::pair()?,
        })
    }

    /// Sends a message; its number is set here, and returned.
    pub(crate) fn send(&self, mut message: Value) -> i64 {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent += 1;
        message["seq"] = (*sent).into();
        let written = self
            .stream
            .write_all(&encode(message.to_string().as_bytes()));
        if written.is_err() {
            self.broken.store(true, Ordering::Relaxed);
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
            bytes.extend(encode(message.to_string().as_bytes()));
        }
        let written = self.stream.write_all(&bytes).is_ok();
        if !written {
            self.broken.store(true, Ordering::Relaxed);
        }
        written
    }

    /// Sends bytes that are framed already.
    pub(crate) fn send_framed(&self, bytes: &[u8]) -> io::Result<()> {
        let _sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.write_all(bytes)
    }

    /// Whether something could not be sent.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Waits for bytes of the other side.
    pub(crate) fn read(&self, bytes: &mut [u8]) -> io::Result<Arrival> {
        let mut waiting = [
            PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.interruption.1.as_fd(), PollFlags::IN),
        ];
        loop {
            match poll(&mut waiting, None) {
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

    /// Ends the connection; what was sent arrives.
    pub(crate) fn close(&self) {
        self.stream.shut_down();
    }
}
