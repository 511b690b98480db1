//! One client, and the program that it debugs.
//!
//! Owns how far the session is, whom the answers belong to, and the requests that wait. The thread
//! that reads from the client runs `serve`; a program has a thread that runs it (`run`), and each
//! server in it one that reads (`relay`). What they share is here, and is locked for moments only.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::Adapter;
use super::connection::{Connection, End};
use super::envelope::Envelope;
use super::process::Process;
use super::signal::Signal;
use crate::dap::protocol::{Answer, Refusal, Request, event, response};
use crate::dap::wire;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client has said nothing.
    New,
    /// It has said who it is.
    Initialized,
    /// The program is being started, or looked for.
    Starting,
    /// There is a server to speak with.
    Debugging,
    /// The program runs without one, as was asked.
    Running,
    /// The program has ended, or was let go.
    Ended,
}

/// Who asked the client for something.
pub(super) enum Asker {
    /// A server, under a number of its own.
    Server(Arc<Connection>, i64),
    /// The adapter, which wants a terminal.
    Terminal(Sender<Result<(), String>>),
    /// The adapter, for the child of that number.
    Child(u32),
}

/// What the threads of a session share.
pub(super) struct State {
    pub(super) phase: Phase,
    /// The client's `initialize`, for servers.
    pub(super) initialize: Value,
    /// Arguments of `launch`, for the next start.
    pub(super) launch: Value,
    /// What the client sent while the program was being started.
    pub(super) waiting: Vec<Vec<u8>>,
    pub(super) server: Option<Arc<Connection>>,
    /// Requests that the server has not answered: number and command.
    pub(super) asked: HashMap<i64, String>,
    /// Requests to the client that it has not answered.
    pub(super) asking: HashMap<i64, Asker>,
    /// The process that was launched.
    pub(super) process: Option<Arc<Process>>,
    /// Whether `terminate` is as the interrupt from a keyboard.
    pub(super) interrupts: bool,
    /// How often the program was asked to end.
    pub(super) terminating: u32,
    /// The number of the `restart` that is to be answered when the program has ended.
    pub(super) restart: Option<i64>,
    /// Whether the program runs on without a client.
    pub(super) let_go: bool,
    /// Threads that run a program.
    pub(super) running: usize,
}

/// One client.
pub(super) struct Session {
    pub(super) client: Arc<Connection>,
    pub(super) adapter: Arc<Adapter>,
    /// Whether it may attach to a child that waits, and do nothing else.
    pub(super) of_children: bool,
    state: Mutex<State>,
    changed: Condvar,
    /// Raised when nothing is expected of the client any more.
    pub(super) over: Signal,
}

impl Session {
    /// With a client that has just come.
    pub(super) fn new(
        mut client: Connection,
        adapter: Arc<Adapter>,
        of_children: bool,
    ) -> io::Result<Arc<Self>> {
        client.log();
        Ok(Arc::new(Self {
            client: Arc::new(client),
            adapter,
            of_children,
            state: Mutex::new(State {
                phase: Phase::New,
                initialize: Value::Null,
                launch: Value::Null,
                waiting: Vec::new(),
                server: None,
                asked: HashMap::new(),
                asking: HashMap::new(),
                process: None,
                interrupts: false,
                terminating: 0,
                restart: None,
                let_go: false,
                running: 0,
            }),
            changed: Condvar::new(),
            over: Signal::new()?,
        }))
    }

    /// What the threads share; nothing is sent or waited for while it is locked, but to a server
    /// that has just come.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that others may wait for.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }

    /// Waits until something is so, or the time is over; whether it is.
    pub(super) fn wait(&self, patience: Duration, done: impl Fn(&State) -> bool) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), patience, |state| !done(state));
        done(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Waits until something is so.
    pub(super) fn wait_for(&self, done: impl Fn(&State) -> bool) {
        drop(self.changed.wait_while(self.state(), |state| !done(state)));
    }

    /// Serves the client until it leaves, and then ends what is to end with it.
    pub(super) fn serve(self: &Arc<Self>) {
        let end = self.client.messages(Some(&self.over), |message| {
            self.take(&message);
            !self.over.is_raised()
        });
        if let End::Wrong(error) = &end
            && self.was_client()
        {
            self.tell(&format!("the session ends: {error}"));
        }
        self.vanish();
        self.client.close();
        // What was let go is read on, until it ends.
        self.wait_for(|state| state.running == 0);
    }

    /// Ends the program that was launched, or leaves the one that was attached to.
    pub(super) fn vanish(&self) {
        let (process, server) = {
            let mut state = self.state();
            state.restart = None;
            if state.let_go {
                return;
            }
            (state.process.clone(), state.server.take())
        };
        if let Some(process) = process {
            process.end();
        }
        if let Some(server) = server {
            server.close();
        }
        self.over.raise();
    }

    /// Whether the program runs on without a client.
    pub(super) fn has_let_go(&self) -> bool {
        self.state().let_go
    }

    /// Whether a client of the protocol has spoken.
    pub(super) fn was_client(&self) -> bool {
        self.state().phase != Phase::New
    }

    /// Sends an event.
    pub(super) fn event(&self, name: &str, body: Value) {
        self.client.send(event(name, body));
    }

    /// Tells the user something about dapper itself.
    pub(super) fn tell(&self, text: &str) {
        let body = json!({"category": "important", "output": format!("dapper: {text}\n")});
        self.event("output", body);
    }

    /// Answers a request.
    pub(super) fn answer(&self, seq: i64, command: &str, answer: Answer) {
        let request = Request {
            seq,
            command: command.to_owned(),
            arguments: Value::Null,
        };
        self.client.send(response(&request, answer));
    }

    /// Asks the client for something.
    pub(super) fn ask(&self, command: &str, arguments: &Value, asker: Asker) {
        let request = json!({"type": "request", "command": command, "arguments": arguments});
        let text = request.to_string();
        // INVARIANT: what was just written is a message.
        let Ok(envelope) = Envelope::of(text.as_bytes()) else {
            return;
        };
        self.client.relay(text.as_bytes(), &envelope, |seq| {
            self.state().asking.insert(seq, asker);
        });
    }

    /// Does what a message of the client says.
    fn take(self: &Arc<Self>, message: &[u8]) {
        wire::log("-->", message);
        let envelope = match Envelope::of(message) {
            Ok(envelope) => envelope,
            Err(error) => return self.tell(&format!("a message is passed over: {error}")),
        };
        match (&*envelope.kind, &envelope.command) {
            ("request", Some(command)) => match envelope.seq() {
                Some(seq) => self.request(seq, command, message),
                None => self.tell("a request without a number is passed over"),
            },
            ("response", _) => self.answered(&envelope, message),
            ("event", _) => {}
            _ => self.tell("a message is passed over that is no request, response or event"),
        }
    }

    /// Passes the client's answer on to who asked.
    fn answered(&self, envelope: &Envelope<'_>, message: &[u8]) {
        let seq = envelope.request_seq();
        let asker = seq.and_then(|seq| self.state().asking.remove(&seq));
        match asker {
            Some(Asker::Server(server, seq)) => {
                server.forward(&envelope.answering(message, seq));
            }
            Some(Asker::Terminal(told)) => {
                let answer: Value = serde_json::from_slice(message).unwrap_or_default();
                let reason = answer["message"].as_str().unwrap_or("no reason was given");
                let outcome = envelope.success.then_some(());
                // Who asked may have given up.
                let _ = told.send(outcome.ok_or_else(|| reason.to_owned()));
            }
            Some(Asker::Child(pid)) if !envelope.success => {
                let answer = serde_json::from_slice(message).unwrap_or_default();
                self.is_left_alone(pid, &answer);
            }
            // It attends to the child, or nobody asked.
            Some(Asker::Child(_)) | None => {}
        }
    }

    /// Passes a request on to the server, or keeps it until there is one.
    pub(super) fn pass_on(&self, seq: i64, command: &str, message: &[u8]) {
        let (server, phase) = {
            let mut state = self.state();
            match state.phase {
                Phase::Debugging => {
                    state.asked.insert(seq, command.to_owned());
                }
                Phase::Starting => state.waiting.push(message.to_vec()),
                _ => {}
            }
            (state.server.clone(), state.phase)
        };
        match (phase, server) {
            (Phase::Debugging, Some(server)) => server.forward(message),
            (Phase::Debugging, None) => self.forget_asked(),
            (Phase::Starting, _) => {}
            (Phase::Running, _) => self.answer(seq, command, undebugged(command, message)),
            (Phase::New, _) => {
                let refusal = Refusal::new(format!("{command:?} before \"initialize\""));
                self.answer(seq, command, Err(refusal));
            }
            (Phase::Initialized, _) => {
                let refusal = format!("{command:?} before \"launch\" or \"attach\"");
                self.answer(seq, command, Err(Refusal::new(refusal)));
            }
            (Phase::Ended, _) => self.answer(seq, command, Err(gone())),
        }
    }

    /// Refuses the requests that waited for a server which does not come.
    pub(super) fn refuse_waiting(&self, waiting: &[Vec<u8>], refusal: &Refusal) {
        for message in waiting {
            if let Ok(envelope) = Envelope::of(message)
                && let (Some(seq), Some(command)) = (envelope.seq(), &envelope.command)
            {
                self.answer(seq, command, Err(refusal.clone()));
            }
        }
    }

    /// Answers what the server cannot answer any more.
    pub(super) fn forget_asked(&self) {
        let asked = std::mem::take(&mut self.state().asked);
        for (seq, command) in asked {
            self.answer(seq, &command, Err(gone()));
        }
    }
}

/// Why a request is too late.
pub(super) fn gone() -> Refusal {
    Refusal::new("the program has ended")
}

/// What is answered while the program runs without a debugger.
fn undebugged(command: &str, message: &[u8]) -> Answer {
    let reason = "the program runs without debugging (\"noDebug\")";
    match command {
        "configurationDone" => Ok(Value::Null),
        "threads" => Ok(json!({"threads": []})),
        "setBreakpoints"
        | "setFunctionBreakpoints"
        | "setExceptionBreakpoints"
        | "setDataBreakpoints"
        | "setInstructionBreakpoints" => {
            let request: Value = serde_json::from_slice(message).unwrap_or_default();
            let asked = request["arguments"]["breakpoints"].as_array();
            let one = json!({"verified": false, "message": reason});
            Ok(json!({"breakpoints": vec![one; asked.map_or(0, Vec::len)]}))
        }
        _ => Err(Refusal::new(reason)),
    }
}
