//! `inProcess`: the process of the adapter as that of the program.
//!
//! The main thread leaves the adapter to its other threads and runs the program; its streams become
//! pipes and the server in it comes to the meeting as any other would. Owns the one program that
//! this process can be, and its end: the process waits with it until the client has heard of it.
//! A signal that nobody handles would leave no time for that, so it ends the process by itself only
//! after everything has been told; until then the program is kept from running on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use rustix::process::{Signal as SystemSignal, getpid, kill_process};

use super::Socket;
use super::connection::Connection;
use super::launch::Plan;
use super::output::Capture;
use super::session::{Phase, Session};
use super::signal::Signal;
use crate::dap::protocol::Refusal;
use crate::ffi::attach::try_attach;
use crate::ffi::threads::Thread;
use crate::ffi::{exit, signals};

/// How long the process waits with its end until the client has heard of it and has left.
const FAREWELL: Duration = Duration::from_secs(12);
/// How long the program may take to come to a point where it can be kept from running on.
const MOMENT: Duration = Duration::from_millis(200);
/// How long a signal may take to end the process.
const GRACE: Duration = Duration::from_millis(500);

/// What the main thread is to run.
#[derive(Debug, IntoPyObject)]
pub(super) struct Program {
    /// As on a command line, behind the interpreter.
    target: Vec<String>,
    cwd: Option<String>,
    /// Variables to set, or to remove.
    env: BTreeMap<String, Option<String>>,
    /// What the process is told of its debugger, if there is one.
    session: Option<String>,
}

/// How a program has ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Exit(Option<i32>),
    Signal(SystemSignal),
}

/// The program that this process is.
#[derive(Debug)]
pub(super) struct Own {
    client: Arc<Connection>,
    end: Mutex<Option<End>>,
    ended: Signal,
    /// Raised when the client has heard of the end.
    told: Signal,
    /// What is removed from the file system in the end.
    socket: Mutex<Option<Socket>>,
}

static OWN: Mutex<Option<Arc<Own>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own() -> Option<Arc<Own>> {
    lock(&OWN).clone()
}

/// Why nothing else can be debugged from this process, if it is a program.
pub(super) fn refusal() -> Option<Refusal> {
    own().map(|_| {
        Refusal::shown(
            "this adapter's process runs a program itself (\"inProcess\"), and serves its client \
             alone: start another adapter",
        )
    })
}

impl Program {
    /// What the plan says, with the session of its process.
    pub(super) fn of(plan: &Plan, session: Option<String>) -> Self {
        Self {
            target: plan.target.clone(),
            cwd: plan.cwd.as_ref().map(|cwd| cwd.display().to_string()),
            env: plan.env.clone(),
            session,
        }
    }
}

/// Makes this process that of a program: what it prints goes to the client from now on.
pub(super) fn begin(session: &Arc<Session>) -> Result<(Arc<Own>, Capture), Refusal> {
    let cannot = |error: io::Error| {
        Refusal::shown(format!("the program cannot run in this process: {error}"))
    };
    let others = session.adapter.sessions();
    let is_busy = |other: &Arc<Session>| {
        let idle = [Phase::New, Phase::Initialized, Phase::Ended];
        !Arc::ptr_eq(other, session) && !idle.contains(&other.state().phase)
    };
    if others.iter().any(is_busy) {
        return Err(Refusal::shown(
            "\"inProcess\": this adapter serves another client, whose program would end with this \
             one: start another adapter",
        ));
    }
    let own = Arc::new(Own {
        client: Arc::clone(&session.client),
        end: Mutex::default(),
        ended: Signal::new().map_err(cannot)?,
        told: Signal::new().map_err(cannot)?,
        socket: Mutex::default(),
    });
    {
        let mut current = lock(&OWN);
        if current.is_some() {
            drop(current);
            return Err(refusal().unwrap_or_else(|| Refusal::new("the program has ended")));
        }
        *current = Some(Arc::clone(&own));
    }
    let pipes = take_streams().map_err(cannot)?;
    let capture = Capture::start(&session.client, pipes).map_err(cannot)?;
    Ok((own, capture))
}

/// Has the standard streams be an input at its end and two pipes.
fn take_streams() -> io::Result<Vec<(&'static str, OwnedFd)>> {
    let (out, written) = io::pipe()?;
    let (error, told) = io::pipe()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(written.as_fd())?;
    rustix::stdio::dup2_stderr(told.as_fd())?;
    Ok(vec![("stdout", out.into()), ("stderr", error.into())])
}

impl Own {
    /// Waits until the program has ended; with what status, if that is known.
    pub(super) fn wait(&self) -> Option<i32> {
        while !self.ended.wait(Duration::from_secs(3600)) {}
        match *lock(&self.end) {
            Some(End::Exit(status)) => status,
            Some(End::Signal(signal)) => Some(128 + signal.as_raw()),
            None => None,
        }
    }

    fn has_ended(&self, end: End) {
        lock(&self.end).get_or_insert(end);
        self.ended.raise();
    }

    /// The client has heard of the end: the process goes on with it.
    pub(super) fn leave(&self) {
        drop(lock(&self.socket).take());
        let end = *lock(&self.end);
        if let Some(End::Signal(signal)) = end {
            // A process may always send itself a signal.
            let _ = kill_process(getpid(), signal);
            std::thread::sleep(GRACE);
            let _ = kill_process(getpid(), SystemSignal::KILL);
        }
        self.told.raise();
    }

    /// Keeps what is to be removed in the end.
    pub(super) fn keep(&self, socket: Option<Socket>) {
        *lock(&self.socket) = socket;
    }

    /// Whether a signal ends the program, whatever it says.
    pub(super) fn dies_of(signal: SystemSignal) -> bool {
        signal == SystemSignal::KILL || signals::is_unhandled(signal.as_raw())
    }

    /// Sends the program a signal; one that it does not handle ends it.
    pub(super) fn signal(&self, signal: SystemSignal) {
        if signal == SystemSignal::CONT {
            return;
        }
        if Self::dies_of(signal) {
            hold();
            self.has_ended(End::Signal(signal));
        } else {
            // A process may always send itself a signal.
            let _ = kill_process(getpid(), signal);
        }
    }
}

/// Keeps the program from running on, unless it is in native code that takes its time.
fn hold() {
    let (told, holds) = mpsc::channel();
    let held = Thread::start("dapper-end", move || {
        try_attach(|_| {
            // Who waited may have given up.
            let _ = told.send(());
            std::thread::sleep(FAREWELL);
        });
    });
    if held.is_ok() {
        // Ended anyway, if a little later.
        let _ = holds.recv_timeout(MOMENT);
    }
}

/// Tells the client of the end of the program that this process is, and waits until it has heard.
fn conclude(status: Option<i32>) {
    if let Some(own) = own() {
        signals::flush_streams();
        // The system takes one byte of it.
        own.has_ended(End::Exit(status.map(|status| status & 0xff)));
        own.told.wait(FAREWELL);
    }
}

/// Has the end of this process told.
pub(super) fn expect() {
    if !exit::with_the_status(|status| conclude(Some(status))) {
        exit::after_the_interpreter(|| conclude(None));
    }
}

/// Leaves the client to the parent of a fork.
#[pyfunction]
pub(super) fn leave_program_to_parent() {
    // Its locks may be held by a thread that this process does not have.
    if let Ok(mut own) = OWN.try_lock()
        && let Some(own) = own.take()
    {
        own.client.abandon();
        std::mem::forget(own);
    }
}
