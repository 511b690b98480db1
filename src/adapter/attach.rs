//! `attach`: a server that is there already.

use std::sync::Arc;

use serde_json::Value;

use super::connection::{Connection, Over};
use super::given::Given;
use super::in_process;
use super::relay::{self, Start};
use super::requests::Outcome;
use super::session::{Phase, Session};
use crate::dap::protocol::{Refusal, Request};
use crate::dap::wire::Stream;
use crate::ffi::threads::Thread;

impl Session {
    /// Connects to the server that the arguments name; it answers the request.
    pub(super) fn attach(self: &Arc<Self>, request: &Request) -> Outcome {
        self.enter_start(request)?;
        let session = Arc::clone(self);
        let request = request.clone();
        self.state().running += 1;
        let reader = Thread::start("dapper-server", move || {
            session.attach_to(&request);
            session.change(|state| state.running -= 1);
        });
        if let Err(error) = reader {
            self.change(|state| state.running -= 1);
            return Err(Refusal::shown(format!("cannot attach: {error}")));
        }
        Ok(None)
    }

    fn attach_to(self: &Arc<Self>, request: &Request) {
        match self.server_for(&request.arguments) {
            Ok(server) => {
                let start = Start {
                    command: "attach",
                    seq: Some(request.seq),
                    arguments: request.arguments.clone(),
                };
                relay::serve(self, &Arc::new(server), &start, None);
            }
            Err(refusal) => self.fail(Some(request.seq), "attach", &refusal),
        }
    }

    /// The server that the arguments mean.
    fn server_for(self: &Arc<Self>, arguments: &Value) -> Result<Connection, Refusal> {
        let child = arguments.get("subProcessId").and_then(Value::as_u64);
        let child = child.and_then(|pid| u32::try_from(pid).ok());
        if let Some(server) = child.and_then(|pid| self.adapter.children.take(pid)) {
            return Ok(server);
        }
        if self.of_children {
            return Err(Refusal::new(match child {
                Some(pid) => format!("process {pid} does not wait any more"),
                None => "\"subProcessId\" has to name a process that waits".to_owned(),
            }));
        }
        if let Some(refusal) = in_process::refusal() {
            return Err(refusal);
        }
        let given = Given::of(arguments)?;
        if let Some(remark) = given.remark() {
            self.tell(&remark);
        }
        self.change(|state| state.launch = arguments.clone());
        let ways = ["connect", "listen", "processId"];
        let named: Vec<&str> = ways
            .into_iter()
            .filter(|way| given.get(way).is_some())
            .collect();
        match *named {
            [] | ["connect"] => {
                let connect = given.get("connect").map(Given::of).transpose()?;
                connected(&address(connect.as_ref().unwrap_or(&given), "127.0.0.1")?)
            }
            ["listen"] => {
                let listen = given.get("listen").map(Given::of).transpose()?;
                self.wait_at(&listen.unwrap_or_default())
            }
            ["processId"] => self.fetch(&arguments["processId"]),
            _ => Err(Refusal::shown(format!(
                "only one of \"connect\", \"listen\" and \"processId\" can be meant, and {} are given",
                named.join(" and ")
            ))),
        }
    }

    /// The program cannot be started or found; what waits for it is answered.
    pub(super) fn fail(&self, seq: Option<i64>, command: &str, refusal: &Refusal) {
        let waiting = self.change(|state| {
            state.phase = Phase::Initialized;
            state.process = None;
            std::mem::take(&mut state.waiting)
        });
        if let Some(seq) = seq {
            self.answer(seq, command, Err(refusal.clone()));
        } else {
            self.tell(&refusal.message);
            self.event("terminated", Value::Null);
        }
        self.refuse_waiting(&waiting, refusal);
    }
}

fn connected(address: &str) -> Result<Connection, Refusal> {
    let stream = Stream::connect(address).map_err(|error| {
        Refusal::shown(format!(
            "no program waits for a debugger at {address}: {error}; start it with dapper.listen() \
             or \"dapper run --listen\", or correct \"connect\" in the configuration"
        ))
    })?;
    Ok(Connection::new(Over::Stream(stream)))
}

/// `HOST:PORT`, from the fields of those names.
pub(super) fn address(given: &Given, otherwise: &str) -> Result<String, Refusal> {
    let host = given.text("host")?.unwrap_or_else(|| otherwise.to_owned());
    let port = match given.get("port") {
        Some(Value::Number(port)) => port.as_u64(),
        Some(Value::String(port)) => port.parse().ok(),
        _ => None,
    };
    match port.and_then(|port| u16::try_from(port).ok()) {
        Some(port) => Ok(format!("{host}:{port}")),
        None => Err(Refusal::shown(
            "nothing to attach to: give \"connect\": {\"host\": ..., \"port\": ...} for a program that \
             listens, \"listen\" for one that connects, or \"processId\"",
        )),
    }
}
