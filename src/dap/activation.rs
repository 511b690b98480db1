//! How a process comes to be debugged without a word of its program.
//!
//! Owns the part of the session in the environment that says where the debugger is, and what the
//! children of this process are told: the same place, or that of the process which listens.
//! A child that nobody attends to goes on after a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::session::{self, Session};
use super::wire::{self, Stream, Wire};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::{pause, session::Session as Asked};

/// How long a child waits for a client that attends to it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a process is debugged from its start.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Debug {
    /// Where an adapter waits: `unix:PATH` or `HOST:PORT`.
    pub(crate) connect: Option<String>,
    /// Where clients are waited for: `HOST:PORT`.
    pub(crate) listen: Option<String>,
    /// What the adapter knows the process by.
    pub(crate) token: Option<String>,
    /// Whether the program starts when the client has said all.
    pub(crate) wait: bool,
    /// Whether the processes that it starts are debugged, too.
    pub(crate) sub_process: bool,
    /// Whether another process that is debugged started it.
    pub(crate) child: bool,
    /// The folder where its messages are written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_dir: Option<String>,
}

impl Default for Debug {
    fn default() -> Self {
        Self {
            connect: None,
            listen: None,
            token: None,
            wait: false,
            sub_process: true,
            child: false,
            log_dir: None,
        }
    }
}

impl Debug {
    /// How the children of a process are debugged whose debugger is at `address`.
    pub(super) fn of_children(address: &str, token: Option<&str>) -> Self {
        Self {
            connect: Some(address.to_owned()),
            token: token.map(str::to_owned),
            wait: true,
            child: true,
            log_dir: asked().and_then(|asked| asked.log_dir),
            ..Self::default()
        }
    }
}

/// What the environment asked for.
static ASKED: Mutex<Option<Asked>> = Mutex::new(None);
/// What children are told.
static OFFER: Mutex<Option<Debug>> = Mutex::new(None);
/// What hooks what is to be hooked, for children that are forked.
static FOLLOW: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what the environment asks for.
pub(crate) fn ask(session: Asked) {
    *lock(&ASKED) = Some(session);
}

/// How the environment asks for a client.
pub(super) fn asked() -> Option<Debug> {
    lock(&ASKED).as_ref()?.debug.clone()
}

/// The session of children, as their environment carries it; nothing when they are left alone.
pub(super) fn session_of_children() -> Option<String> {
    let debug = offered()?;
    let mut session = lock(&ASKED).clone().unwrap_or_default();
    session.debug = Some(debug);
    serde_json::to_string(&session).ok()
}

/// Says what children are told from now on.
pub(super) fn offer(py: Python<'_>, debug: Option<Debug>, follow: &Py<PyAny>) {
    *lock(&OFFER) = debug;
    let before = lock(&FOLLOW).replace(follow.clone_ref(py));
    drop(before);
}

/// Leaves children alone from now on.
pub(super) fn withdraw() {
    lock(&OFFER).take();
}

/// What children are told.
pub(super) fn offered() -> Option<Debug> {
    lock(&OFFER).clone()
}

/// Connects to a debugger, and says which process this is.
pub(super) fn connect(
    py: Python<'_>,
    address: &str,
    token: Option<&str>,
    follow: Py<PyAny>,
) -> PyResult<Arc<Session>> {
    let argv: Vec<String> = py
        .import("sys")?
        .getattr(name!("orig_argv"))?
        .extract()
        .unwrap_or_default();
    let hello = json!({
        "token": token,
        "pid": std::process::id(),
        "parentPid": std::os::unix::process::parent_id(),
        "argv": argv,
        "version": env!("CARGO_PKG_VERSION"),
    });
    if let Some(folder) = asked().and_then(|asked| asked.log_dir) {
        // The adapter was told that it can be written; without it the program is debugged as well.
        let _ = wire::log_in(&folder, "server");
    }
    let begun = py.detach(|| {
        // The first number is the client's first: it does not hear this word.
        let wire = Wire::new(Stream::connect(address)?, -1)?;
        wire.send(super::protocol::event("dapper/hello", hello));
        Session::begin(wire, follow, None)
    });
    begun.map_err(|error| {
        PyOSError::new_err(format!("no debugger can be reached at {address}: {error}"))
    })
}

/// Waits until the client of a session has said all; a child that nobody attends to goes on.
pub(super) fn wait(py: Python<'_>, session: &Session, child: bool) -> PyResult<()> {
    let mut patience = child.then_some(PATIENCE);
    loop {
        let (ready, attended) = py.detach(|| (session.is_configured(), session.is_attended()));
        if ready {
            return Ok(());
        }
        if attended {
            patience = None;
        }
        if let Some(left) = patience {
            match left.checked_sub(session::MOMENT) {
                Some(left) => patience = Some(left),
                None => return Ok(()),
            }
        }
        py.check_signals()?;
    }
}

/// What comes between the settings of the client and the first line of the program.
pub(super) fn begin_program(py: Python<'_>, session: &Session) -> PyResult<()> {
    if session.settings().stop_on_entry && !session.is_over() {
        pause::at_entry(py)?;
    }
    Ok(())
}

/// Begins a session of its own in a child of a fork, where the parent has one.
pub(super) fn join_forked(py: Python<'_>) {
    let Some(offer) = offered() else { return };
    let follow = lock(&FOLLOW).as_ref().map(|follow| follow.clone_ref(py));
    let (Some(address), Some(follow)) = (&offer.connect, follow) else {
        return;
    };
    if is_about_to_exec(py) {
        return;
    }
    // The debugger may be gone, which is no matter of the child's.
    if let Ok(session) = connect(py, address, offer.token.as_deref(), follow)
        && let Err(error) = wait(py, &session, true)
    {
        error.restore(py);
    }
}

/// Whether `subprocess` or `os.spawnv` forked, to run another program at once.
fn is_about_to_exec(py: Python<'_>) -> bool {
    let Some(frame) = tracing::current_frame(py) else {
        return false;
    };
    let name = tracing::code_of(&frame)
        .getattr(name!("co_name"))
        .and_then(|name| name.extract::<String>());
    name.is_ok_and(|name| matches!(name.as_str(), "_execute_child" | "_spawnvef"))
}
