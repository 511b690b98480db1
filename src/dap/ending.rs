//! How a session and its program end.
//!
//! Owns `disconnect` and `terminate`, and what the client is told when the program ends by itself:
//! its status and that it is over, while the C library exits and no interpreter is there any more.
//! The client is given a moment to answer, since what is under way to one that still writes is lost
//! when the process is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use super::frame_eval;
use super::listener;
use super::parked::Go;
use super::protocol::Request;
use super::session::{self, Session};
use crate::ffi::exit;
use crate::ffi::threads::Thread;

/// How long the client is waited for when the program has ended.
const FAREWELL: Duration = Duration::from_millis(300);
/// How long a process has for what it wants to do at its end.
const GRACE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DisconnectArguments {
    terminate_debuggee: bool,
}

/// `disconnect`
pub(super) fn disconnect(session: &Arc<Session>, request: &Request) {
    let wanted: DisconnectArguments = match request.arguments() {
        Ok(wanted) => wanted,
        Err(refusal) => return session.respond(request, Err(refusal)),
    };
    session.respond(request, Ok(Value::Null));
    if wanted.terminate_debuggee {
        end_process();
    }
    session.end();
}

/// `terminate`: gently the first time, whatever happens the second time.
pub(super) fn terminate(session: &Arc<Session>, request: &Request) {
    session.respond(request, Ok(Value::Null));
    if session.terminations.fetch_add(1, Ordering::Relaxed) > 0 {
        return end_process();
    }
    let interrupts = session.settings().on_terminate.as_deref() == Some("KeyboardInterrupt");
    send(if interrupts {
        Signal::INT
    } else {
        Signal::TERM
    });
    session.resume_all(Go::Continue);
}

fn send(signal: Signal) {
    // A process may always send itself a signal.
    let _ = kill_process(getpid(), signal);
}

/// Ends the process: as `kill` does, and by force when it does not listen.
fn end_process() {
    send(Signal::TERM);
    let killed = Thread::start("dapper-end", || {
        std::thread::sleep(GRACE);
        send(Signal::KILL);
    });
    if killed.is_err() {
        send(Signal::KILL);
    }
}

/// Has the client told when the program ends.
pub(super) fn expect() {
    if !exit::with_the_status(|status| conclude(Some(status))) {
        exit::after_the_interpreter(|| conclude(None));
    }
}

/// Tells the client that the program has ended, and ends the session.
pub(super) fn conclude(status: Option<i32>) {
    if let Some(session) = session::current() {
        frame_eval::check_overhead(&session);
        if let Some(status) = status {
            session.event("exited", json!({"exitCode": status}));
        }
        session.event("terminated", Value::Null);
        let until = Instant::now() + FAREWELL;
        while session::latest().is_some() && Instant::now() < until {
            std::thread::sleep(MOMENT);
        }
        session.close();
    }
    listener::conclude();
}
