//! How a client ends a session: `disconnect` and `terminate`.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::in_process::Own;
use super::process::Process;
use super::requests::{Outcome, done};
use super::session::{Phase, Session, gone};
use crate::dap::protocol::Request;

/// How long a server has to answer that it lets the program go.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of the adapter's own `disconnect`.
const DISCONNECT: i64 = -3;

impl Session {
    /// Ends the program that was launched, unless it is to run on.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "what the adapter answers itself has one form"
    )]
    pub(super) fn disconnect(self: &Arc<Self>, request: &Request) -> Outcome {
        let (process, server, phase) = {
            let mut state = self.state();
            state.restart = None;
            (state.process.clone(), state.server.clone(), state.phase)
        };
        let ends = request
            .arguments
            .get("terminateDebuggee")
            .and_then(Value::as_bool);
        let is_running = !matches!(phase, Phase::New | Phase::Initialized | Phase::Ended);
        match process {
            Some(process) if ends.unwrap_or(true) => {
                process.end();
                // All that it printed, and how it ended, comes before the answer.
                self.wait(PATIENCE, |state| state.phase == Phase::Ended);
            }
            process => {
                let lets_go = process.is_some() && is_running;
                self.change(|state| state.let_go = lets_go);
                if let Some(server) = server {
                    let message = json!({
                        "seq": DISCONNECT,
                        "type": "request",
                        "command": "disconnect",
                        "arguments": request.arguments,
                    });
                    server.forward(message.to_string().as_bytes());
                    self.wait(PATIENCE, |state| state.server.is_none());
                }
            }
        }
        self.answer(request.seq, &request.command, Ok(Value::Null));
        self.over.raise();
        Ok(None)
    }

    /// Asks the program to end; the second time it is not asked. A server has its stopped threads
    /// hear it, too.
    pub(super) fn terminate(self: &Arc<Self>, request: &Request) -> Outcome {
        let (process, interrupts, times, is_served) = {
            let mut state = self.state();
            state.restart = None;
            state.terminating += 1;
            let is_served = state.server.is_some();
            (
                state.process.clone(),
                state.interrupts,
                state.terminating,
                is_served,
            )
        };
        // This very process would be gone before anybody is told.
        let dies = |process: &Process| process.is_own() && Own::dies_of(Signal::TERM);
        let is_direct =
            |process: &Arc<Process>| !is_served || times > 1 || (!interrupts && dies(process));
        let Some(process) = process.filter(is_direct) else {
            let text = json!({
                "seq": request.seq,
                "type": "request",
                "command": "terminate",
                "arguments": request.arguments,
            });
            self.pass_on(request.seq, &request.command, text.to_string().as_bytes());
            return Ok(None);
        };
        if self.state().phase == Phase::Ended {
            return Err(gone());
        }
        match (times, interrupts) {
            (1, true) => process.interrupt(),
            (1, false) => process.terminate(),
            _ => process.kill(),
        }
        done()
    }
}
