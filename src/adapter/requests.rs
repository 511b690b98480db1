//! The requests that the adapter answers itself, or has to know of.

use std::sync::Arc;

use serde_json::{Value, json};

use super::in_process;
use super::run;
use super::session::{Phase, Session};
use crate::dap::capabilities;
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::ffi::threads::Thread;

impl Session {
    /// Does what the client asks for, or has it done.
    pub(super) fn request(self: &Arc<Self>, seq: i64, command: &str, message: &[u8]) {
        let own = match command {
            "initialize" => Self::initialize,
            "launch" => Self::launch,
            "attach" => Self::attach,
            "disconnect" => Self::disconnect,
            "terminate" => Self::terminate,
            "restart" => Self::restart,
            _ => return self.pass_on(seq, command, message),
        };
        let request: Result<Request, _> = serde_json::from_slice(message);
        let outcome = request
            .map_err(|error| Refusal::new(format!("the request is malformed: {error}")))
            .and_then(|request| own(self, &request));
        match outcome {
            Ok(Some(answer)) => self.answer(seq, command, Ok(answer)),
            Ok(None) => {}
            Err(refusal) => self.answer(seq, command, Err(refusal)),
        }
    }

    fn initialize(self: &Arc<Self>, request: &Request) -> Outcome {
        let mut state = self.state();
        if state.phase != Phase::New {
            return Err(Refusal::new("\"initialize\" was answered already"));
        }
        state.phase = Phase::Initialized;
        state.initialize = match &request.arguments {
            Value::Null => json!({}),
            arguments => arguments.clone(),
        };
        drop(state);
        let mut all = capabilities();
        if let Some(all) = all.as_object_mut() {
            for name in [
                "supportsTerminateRequest",
                "supportTerminateDebuggee",
                "supportsRestartRequest",
            ] {
                all.insert(name.to_owned(), true.into());
            }
        }
        Ok(Some(all))
    }

    /// Goes on to [`Phase::Starting`], if a program can be started now.
    pub(super) fn enter_start(&self, request: &Request) -> Result<(), Refusal> {
        let mut state = self.state();
        let refused = |why: &str| Refusal::new(format!("{:?} {why}", request.command));
        match state.phase {
            Phase::Initialized => {}
            Phase::New => return Err(refused("before \"initialize\"")),
            Phase::Ended => return Err(refused("after the program has ended")),
            _ => return Err(refused("while a program is debugged already")),
        }
        state.phase = Phase::Starting;
        Ok(())
    }

    fn launch(self: &Arc<Self>, request: &Request) -> Outcome {
        if self.of_children {
            return Err(Refusal::new(
                "only a process that waits can be attached to here",
            ));
        }
        if let Some(refusal) = in_process::refusal() {
            return Err(refusal);
        }
        self.enter_start(request)?;
        self.state().launch = request.arguments.clone();
        self.start(Some(request.seq)).map(|()| None)
    }

    /// Has a thread start the program and wait for its end; that answers the request.
    pub(super) fn start(self: &Arc<Self>, seq: Option<i64>) -> Result<(), Refusal> {
        self.state().running += 1;
        let session = Arc::clone(self);
        let started = Thread::start("dapper-program", move || {
            run::launch(&session, seq);
            session.change(|state| state.running -= 1);
        });
        started.map(drop).map_err(|error| {
            self.change(|state| {
                state.running -= 1;
                state.phase = Phase::Initialized;
            });
            Refusal::shown(format!("the program cannot be started: {error}"))
        })
    }

    /// The program is to be ended, and started again with the same arguments or new ones.
    fn restart(self: &Arc<Self>, request: &Request) -> Outcome {
        let mut state = self.state();
        if state.restart.is_some() {
            return Err(Refusal::new("the program is being restarted already"));
        }
        let Some(process) = state.process.clone() else {
            return Err(Refusal::new(
                "only a program that was launched can be restarted",
            ));
        };
        if process.is_own() {
            return Err(Refusal::shown(
                "a program in the adapter's own process (\"inProcess\") cannot be restarted: begin a \
                 new session",
            ));
        }
        if state.phase == Phase::Ended {
            return Err(super::session::gone());
        }
        if let Some(arguments) = request
            .arguments
            .get("arguments")
            .filter(|new| new.is_object())
        {
            state.launch = arguments.clone();
        }
        state.restart = Some(request.seq);
        drop(state);
        process.end();
        Ok(None)
    }
}

/// What is to be answered at once, if anything.
pub(super) type Outcome = Result<Option<Value>, Refusal>;

/// What is answered where there is nothing to say.
pub(super) fn done() -> Outcome {
    let answer: Answer = Ok(Value::Null);
    answer.map(Some)
}
