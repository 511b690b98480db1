//! How a process that runs already comes to the adapter.
//!
//! With `listen` it connects by itself (`dapper.connect`), and so do its children. With `processId`
//! its own interpreter is asked to have it do so, by `sys.remote_exec`.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connection::{Connection, Over};
use super::given::{Given, wrong};
use super::meeting::{self, Meeting};
use super::session::Session;
use super::signal::First;
use crate::dap::protocol::Refusal;
use crate::dap::wire::Stream;
use crate::ffi::threads::Thread;

/// How long a process has to run what it was sent.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection has to say who it is.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// The token that a process has to know which connects by itself.
const TOKEN: &str = "DAPPER_TOKEN";

/// Has an interpreter send a script to a process, or says what it lacks and ends with 3.
const SEND: &str = "\
import sys
if not hasattr(sys, 'remote_exec'):
    print('%d.%d' % sys.version_info[:2], end='')
    sys.exit(3)
sys.remote_exec(int(sys.argv[1]), sys.argv[2])
";
const LACKS: i32 = 3;

impl Session {
    /// Waits at an address until a program connects; others that do are its children.
    pub(super) fn wait_at(self: &Arc<Self>, given: &Given) -> Result<Connection, Refusal> {
        let address = super::attach::address(given, "127.0.0.1")?;
        let cannot = |error: std::io::Error| {
            Refusal::shown(format!("cannot wait for a program at {address}: {error}"))
        };
        let listener = TcpListener::bind(&address).map_err(cannot)?;
        let at = listener.local_addr().map_err(cannot)?;
        let place = json!({"host": at.ip().to_string(), "port": at.port()});
        self.event("debugpyWaitingForServer", place);
        let gone = || Refusal::new("the client has left");
        let shown = self.progress(&format!("Waiting for a program to connect to {at}"));
        let (_, first) = self.next_at(&listener).ok_or_else(gone)?;
        drop(shown);
        let session = Arc::clone(self);
        let children = Thread::start("dapper-children", move || {
            while let Some((hello, connection)) = session.next_at(&listener) {
                session.introduce(&hello, connection);
            }
        });
        children.map_err(cannot)?;
        Ok(first)
    }

    /// The next process that says who it is; nothing when the session is over.
    fn next_at(&self, listener: &TcpListener) -> Option<(meeting::Hello, Connection)> {
        let token = std::env::var(TOKEN).ok();
        loop {
            if self.over.or(listener.as_fd(), None).ok()? != First::File {
                return None;
            }
            let Ok(stream) = Stream::accept(listener) else {
                continue;
            };
            let connection = Connection::new(Over::Stream(stream));
            // Nobody can hold the place up: who says nothing in time is dropped.
            if connection.limit_reading(Some(FIRST_WORD)).is_ok()
                && let Some(hello) = meeting::greeted(&connection, token.as_deref())
                && connection.limit_reading(None).is_ok()
            {
                return Some((hello, connection));
            }
            connection.close();
        }
    }

    /// Has a running process come.
    pub(super) fn fetch(self: &Arc<Self>, given: &Value) -> Result<Connection, Refusal> {
        let pid = match given {
            Value::Number(pid) => pid.as_u64(),
            Value::String(pid) => pid.trim().parse().ok(),
            _ => None,
        };
        let pid = pid
            .and_then(|pid| u32::try_from(pid).ok())
            .ok_or_else(|| wrong("processId", "the number of a process", given))?;
        let cannot = |error: std::io::Error| {
            Refusal::shown(format!("cannot attach to process {pid}: {error}"))
        };
        let python = std::fs::read_link(format!("/proc/{pid}/exe")).map_err(|error| {
            Refusal::shown(match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no process {pid}"),
                _ => format!("process {pid} is not this user's: {error}"),
            })
        })?;
        // What is no interpreter would take the words of one for its own.
        let name = python.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("python") {
            return Err(Refusal::shown(format!(
                "cannot attach to process {pid}: it runs {}, which is no Python interpreter",
                python.display()
            )));
        }
        let meeting = Arc::new(Meeting::open().map_err(cannot)?);
        let mut script = tempfile::Builder::new()
            .prefix("dapper-attach-")
            .suffix(".py")
            .tempfile()
            .map_err(cannot)?;
        let text = self.script(&meeting);
        script.write_all(text.as_bytes()).map_err(cannot)?;
        send(pid, &python, script.path())?;
        let until = Instant::now() + PATIENCE;
        // The script is there until the process has read it.
        let title = format!("Attaching to process {pid}");
        let (_, server) = self.meet(&meeting, until, &title).ok_or_else(|| {
            Refusal::shown(format!(
                "process {pid} has not come within {} s: its main thread runs no Python code (it \
                 waits in a system call, or in an extension), or dapper cannot be imported there",
                PATIENCE.as_secs()
            ))
        })?;
        let session = Arc::clone(self);
        let children = Thread::start("dapper-children", move || {
            while let Some((hello, connection)) = meeting.next(None) {
                session.introduce(&hello, connection);
            }
        });
        children.map_err(cannot)?;
        Ok(server)
    }

    /// What the process is to run.
    fn script(&self, meeting: &Meeting) -> String {
        let adapter = Path::new(&self.adapter.environment.adapter);
        let root = adapter.parent().and_then(Path::parent);
        let root = root.map(|root| root.display().to_string());
        // A string of JSON is one of Python, too.
        let text = |text: &str| Value::from(text).to_string();
        format!(
            "import sys\nsys.path.insert(0, {root})\ntry:\n    from dapper import debug\nfinally:\n\
             \x20   sys.path.remove({root})\ndebug.attach_from_outside({address}, {token})\n",
            root = text(&root.unwrap_or_default()),
            address = text(&meeting.address()),
            token = text(meeting.token()),
        )
    }
}

/// Sends a script to a process by way of its own interpreter.
fn send(pid: u32, python: &Path, script: &Path) -> Result<(), Refusal> {
    let done = Command::new(python)
        .args(["-I", "-S", "-c", SEND, &pid.to_string()])
        .arg(script)
        .stdin(Stdio::null())
        .output();
    let refused = |reason: &str| {
        Err(Refusal::shown(format!(
            "cannot attach to process {pid} ({}): {reason}",
            python.display()
        )))
    };
    match done {
        Err(error) => refused(&error.to_string()),
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) if done.status.code() == Some(LACKS) => {
            let version = String::from_utf8_lossy(&done.stdout).into_owned();
            refused(&format!(
                "it runs Python {version}, and 3.14 or newer is needed to come into a process from \
                 outside; call dapper.listen() in it, or start it with \"dapper run --listen\", \
                 and attach with \"connect\""
            ))
        }
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let last = said.trim().lines().last().unwrap_or("it is no Python");
            refused(last)
        }
    }
}
