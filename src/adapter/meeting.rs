//! The place where the processes of a program come to.
//!
//! A Unix socket in a folder that only this user can enter, and a token of 32 random bytes that a
//! process has to say first: whoever else connects is dropped. The folder goes with the meeting.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use super::connection::{Connection, End, Over};
use super::signal::{First, Signal};
use crate::dap::wire::Stream;

/// How long a process has to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How the names of folders begin.
pub(super) const PREFIX: &str = "dapper-";
/// No path of a socket is longer, anywhere.
const LONGEST: usize = 100;

/// What a process says of itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Hello {
    /// The secret of the meeting.
    pub(super) token: Option<String>,
    /// Its number.
    pub(super) pid: u32,
    /// The number of the process that started it.
    pub(super) parent_pid: u32,
    /// Its command line.
    pub(super) argv: Vec<String>,
    /// Whether it only starts the program, in a terminal.
    pub(super) starts: bool,
}

#[derive(Deserialize)]
struct Greeting {
    event: String,
    body: Hello,
}

/// A place, while processes may come.
pub(super) struct Meeting {
    listener: UnixListener,
    folder: TempDir,
    token: String,
    closed: Signal,
}

impl Meeting {
    /// A new one.
    pub(super) fn open() -> io::Result<Self> {
        let folder = private_folder()?;
        let path = socket_in(folder.path());
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            folder,
            token: token()?,
            closed: Signal::new()?,
        })
    }

    /// Where to connect to.
    pub(super) fn address(&self) -> String {
        format!("unix:{}", socket_in(self.folder.path()).display())
    }

    /// What to say first.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Has [`Meeting::next`] end; who comes later is refused.
    pub(super) fn close(&self) {
        self.closed.raise();
        // Whoever still waits for the next process holds the folder.
        let _ = fs::remove_dir_all(self.folder.path());
    }

    /// Waits for the next process; nothing when the meeting is closed, or the time is over.
    pub(super) fn next(&self, until: Option<Instant>) -> Option<(Hello, Connection)> {
        loop {
            let patience = until.map(|until| until.saturating_duration_since(Instant::now()));
            if self.closed.or(self.listener.as_fd(), patience).ok()? != First::File {
                return None;
            }
            let (stream, _) = self.listener.accept().ok()?;
            // Nobody can hold the place up: who says nothing in time is dropped.
            if stream.set_read_timeout(Some(PATIENCE)).is_err() {
                continue;
            }
            let timed = stream.try_clone();
            let connection = Connection::new(Over::Stream(Stream::Unix(stream)));
            if let Some(hello) = greeted(&connection, Some(&self.token))
                && timed.is_ok_and(|stream| stream.set_read_timeout(None).is_ok())
            {
                return Some((hello, connection));
            }
            connection.close();
        }
    }
}

/// What a connection says of itself, if it knows the token where there is one.
pub(super) fn greeted(connection: &Connection, token: Option<&str>) -> Option<Hello> {
    let mut first = None;
    let end = connection.messages(None, |message| {
        first = serde_json::from_slice::<Greeting>(&message).ok();
        false
    });
    let Greeting { event, body } = first.filter(|_| matches!(end, End::Enough))?;
    let known = token.is_none_or(|token| same(body.token.as_deref().unwrap_or_default(), token));
    (event == "dapper/hello" && known).then_some(body)
}

/// Compares in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    let differences = one
        .bytes()
        .zip(other.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("adapter")
}

/// Where the folders are.
pub(super) fn places() -> Vec<PathBuf> {
    let mut places = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR") {
        places.insert(0, runtime.into());
    }
    places.dedup();
    places
}

fn private_folder() -> io::Result<TempDir> {
    let mut last = io::Error::other("no folder for a socket");
    for place in places() {
        if place.as_os_str().len() + "/dapper-123456/adapter".len() > LONGEST {
            continue;
        }
        match tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(place)
        {
            Ok(folder) => return Ok(folder),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn token() -> io::Result<String> {
    let mut bytes = [0u8; 32];
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        let got = rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())?;
        rest = &mut rest[got..];
    }
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
