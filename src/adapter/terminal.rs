//! A program in a terminal of the client's: `runInTerminal`.
//!
//! What the terminal runs is this adapter as a starter, which asks here what to start, starts it in
//! the terminal, and tells how it ended. So the program is a child of the terminal's, with its streams,
//! and its end is known as exactly as that of any other.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::arguments::TOKEN;
use super::connection::Connection;
use super::launch::{Console, Plan};
use super::meeting::Meeting;
use super::process::Process;
use super::session::{Asker, Session};
use crate::dap::protocol::Refusal;

/// How long a terminal may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process in the terminal that started the program.
pub(super) struct Starter(Connection);

/// Has the client run the starter, and the starter the program.
pub(super) fn start(
    session: &Session,
    plan: &Plan,
    command: &Command,
    meeting: &Meeting,
) -> Result<(Process, Starter), Refusal> {
    let failed = |why: &str| Refusal::shown(format!("the program cannot run in a terminal: {why}"));
    let (told, answer) = mpsc::channel();
    let arguments = terminal(session, plan, meeting);
    session.ask("runInTerminal", &arguments, Asker::Terminal(told));
    let until = Instant::now() + PATIENCE;
    let moment = Duration::from_millis(20);
    let mut answered = false;
    // A client may answer before the starter comes, after it, or never.
    let connection = loop {
        if let Some((hello, connection)) = meeting.next(Some(Instant::now() + moment)) {
            if hello.starts {
                break connection;
            }
            connection.close();
        }
        if session.over.is_raised() {
            return Err(failed("the client has left"));
        }
        if !answered {
            match answer.recv_timeout(Duration::ZERO) {
                Ok(Ok(())) | Err(RecvTimeoutError::Disconnected) => answered = true,
                Ok(Err(reason)) => return Err(failed(&reason)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        if Instant::now() > until {
            return Err(failed("nothing has started in it"));
        }
    };
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    let env: Map<String, Value> = command
        .get_envs()
        .map(|(name, value)| (text(name), value.map(text).into()))
        .collect();
    connection.send(json!({
        "type": "request",
        "command": "dapper/start",
        "arguments": {
            "program": text(command.get_program()),
            "args": command.get_args().map(text).collect::<Vec<_>>(),
            "cwd": plan.cwd,
            "env": env,
        },
    }));
    let mut said = Value::Null;
    connection.messages(None, |message| {
        said = serde_json::from_slice(&message).unwrap_or_default();
        false
    });
    let number = said["body"]["systemProcessId"].as_i64();
    let process = number
        .and_then(|number| i32::try_from(number).ok())
        .and_then(Process::known);
    match process {
        Some(process) => Ok((process, Starter(connection))),
        None => Err(failed(
            said["body"]["message"].as_str().unwrap_or("it was closed"),
        )),
    }
}

/// The arguments of `runInTerminal`.
fn terminal(session: &Session, plan: &Plan, meeting: &Meeting) -> Value {
    let environment = &session.adapter.environment;
    let mut args = vec![
        environment.executable.clone(),
        environment.adapter.clone(),
        "--start-for".to_owned(),
        meeting.address(),
    ];
    let takes_shell = session.state().initialize["supportsArgsCanBeInterpretedByShell"] == true;
    if let Some(shell) = &plan.shell_arguments {
        if takes_shell {
            for arg in &mut args {
                if let Ok(quoted) = shlex::try_quote(arg) {
                    *arg = quoted.into_owned();
                }
            }
        }
        args.push("--".to_owned());
        match shlex::split(shell).filter(|_| !takes_shell) {
            Some(split) => args.extend(split),
            None => args.push(shell.clone()),
        }
    }
    let mut arguments = json!({
        "kind": if plan.console == Console::External { "external" } else { "integrated" },
        "title": plan.title,
        "cwd": plan.cwd.clone().unwrap_or_else(|| std::env::current_dir().unwrap_or_default()),
        "args": args,
        "env": {TOKEN: meeting.token()},
    });
    if plan.shell_arguments.is_some() && takes_shell {
        arguments["argsCanBeInterpretedByShell"] = true.into();
    }
    arguments
}

impl Starter {
    /// Waits until the program has ended; with what status, if the starter lived to tell it.
    pub(super) fn wait(&self, process: &Process) -> Option<i32> {
        let mut status = None;
        self.0.messages(None, |message| {
            let said: Value = serde_json::from_slice(&message).unwrap_or_default();
            let code = said["body"]["exitCode"].as_i64();
            status = code.and_then(|code| i32::try_from(code).ok());
            status.is_none()
        });
        process.has_ended();
        self.0.close();
        status
    }
}
