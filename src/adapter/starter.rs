//! The process that starts a program in a terminal, and tells the adapter how it ended.
//!
//! It is there for as long as the program, and takes no notice of the keys that interrupt it: they
//! are the program's. When the adapter is gone, it ends the program.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::connection::{Connection, Over};
use super::process::Process;
use crate::dap::protocol::event;
use crate::dap::wire::Stream;
use crate::ffi::threads::Thread;

/// As a shell says that a program cannot be run.
const CANNOT_RUN: i32 = 126;

#[derive(Deserialize)]
struct Asked {
    program: String,
    args: Vec<String>,
    cwd: Option<PathBuf>,
    env: BTreeMap<String, Option<String>>,
}

/// Starts what the adapter at `address` says; returns the program's exit status.
pub(super) fn run(address: &str, token: &str, more: &[String]) -> io::Result<i32> {
    let stream = Stream::connect(address)
        .map_err(|error| io::Error::other(format!("the debug adapter is gone: {error}")))?;
    let adapter = Arc::new(Connection::new(Over::Stream(stream)));
    let hello = json!({"token": token, "pid": std::process::id(), "starts": true});
    adapter.send(event("dapper/hello", hello));
    let mut said = Value::Null;
    adapter.messages(None, |message| {
        said = serde_json::from_slice(&message).unwrap_or_default();
        false
    });
    let asked: Asked = serde_json::from_value(said["arguments"].take())
        .map_err(|_| io::Error::other("the debug adapter has left"))?;
    let mut command = Command::new(&asked.program);
    command.args(&asked.args).args(more);
    command.env_remove(super::arguments::TOKEN);
    if let Some(cwd) = &asked.cwd {
        command.current_dir(cwd);
    }
    for (name, value) in &asked.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let (process, mut started) = match Process::start(command, false) {
        Ok(started) => started,
        Err(error) => {
            let message = format!("{} cannot be run: {error}", asked.program);
            adapter.send(event("dapper/failed", json!({"message": message})));
            return Ok(CANNOT_RUN);
        }
    };
    let process = Arc::new(process);
    let body = json!({"systemProcessId": process.number()});
    adapter.send(event("process", body));
    let (watched, reader) = (Arc::clone(&process), Arc::clone(&adapter));
    Thread::start("dapper-adapter", move || {
        reader.messages(None, |_| true);
        watched.end();
    })?;
    let status = process.wait(&mut started);
    adapter.send(event("exited", json!({"exitCode": status})));
    Ok(status)
}
