//! From a server in a process of the program to the client.
//!
//! Runs in the thread that reads from the server. A message is passed on with another number and
//! otherwise as it is. What the adapter asked itself stays here; and of a program that was launched
//! the adapter says itself that it has ended, once everything else has been said.

use std::sync::Arc;

use serde_json::{Value, json};

use super::connection::Connection;
use super::envelope::Envelope;
use super::session::{Asker, Phase, Session};
use super::signal::Signal;

/// The number of the adapter's own `initialize`; clients number theirs from 1.
const INITIALIZE: i64 = -1;
/// The number of a `launch` that no request of the client's stands for.
const AGAIN: i64 = -2;

/// The request by which a session with a server begins.
pub(super) struct Start {
    /// `launch` or `attach`.
    pub(super) command: &'static str,
    /// The client's number of it, where it is the client's.
    pub(super) seq: Option<i64>,
    pub(super) arguments: Value,
}

/// Speaks with a server until it is gone, or until the signal is raised and nothing is left.
pub(super) fn serve(
    session: &Arc<Session>,
    server: &Arc<Connection>,
    start: &Start,
    ended: Option<&Signal>,
) {
    begin(session, server, start);
    let mut said_end = false;
    let is_launched = start.command == "launch";
    server.messages(ended, |message| {
        said_end = pass_on(session, server, &message, is_launched);
        !said_end
    });
    // The process waits for this with its own end.
    server.close();
    session.change(|state| {
        let is_current = |own: &Arc<Connection>| Arc::ptr_eq(own, server);
        state.server.take_if(|own| is_current(own));
    });
    session.forget_asked();
    if !is_launched {
        session.change(|state| state.phase = Phase::Ended);
        if !said_end {
            session.event("terminated", Value::Null);
        }
    }
}

fn begin(session: &Session, server: &Arc<Connection>, start: &Start) {
    let request = |seq: i64, command: &str, arguments: &Value| {
        json!({"type": "request", "seq": seq, "command": command, "arguments": arguments})
            .to_string()
    };
    let seq = start.seq.unwrap_or(AGAIN);
    let mut state = session.state();
    server.forward(request(INITIALIZE, "initialize", &state.initialize).as_bytes());
    server.forward(request(seq, start.command, &start.arguments).as_bytes());
    if start.seq.is_some() {
        state.asked.insert(seq, start.command.to_owned());
    }
    for message in std::mem::take(&mut state.waiting) {
        if let Ok(envelope) = Envelope::of(&message)
            && let (Some(seq), Some(command)) = (envelope.seq(), &envelope.command)
        {
            state.asked.insert(seq, command.clone().into_owned());
        }
        server.forward(&message);
    }
    state.server = Some(Arc::clone(server));
    state.phase = Phase::Debugging;
}

/// Passes a message on; whether it said that the program is at its end.
fn pass_on(session: &Session, server: &Arc<Connection>, message: &[u8], is_launched: bool) -> bool {
    let Ok(envelope) = Envelope::of(message) else {
        return false;
    };
    match &*envelope.kind {
        "response" => {
            let Some(seq) = envelope.request_seq() else {
                return false;
            };
            if seq < 0 {
                if !envelope.success {
                    let answer: Value = serde_json::from_slice(message).unwrap_or_default();
                    let reason = answer["message"].as_str().unwrap_or("no reason was given");
                    session.tell(&format!("the program cannot be debugged: {reason}"));
                }
            } else if session.state().asked.remove(&seq).is_some() {
                session.client.relay(message, &envelope, |_| {});
            }
        }
        "request" => {
            if let Some(own) = envelope.seq() {
                session.client.relay(message, &envelope, |seq| {
                    let asker = Asker::Server(Arc::clone(server), own);
                    session.state().asking.insert(seq, asker);
                });
            }
        }
        _ => {
            let event = envelope.event.as_deref().unwrap_or_default();
            if !(is_launched && matches!(event, "exited" | "terminated" | "process")) {
                session.client.relay(message, &envelope, |_| {});
            }
            return event == "terminated";
        }
    }
    false
}
