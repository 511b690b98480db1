//! Processes that the program has started, and that wait for clients of their own.
//!
//! They come to the meeting of their parent. Its client is asked to attend to them, and does so at
//! the port where this adapter takes clients: its own, or one of this machine that is opened for
//! the first child. Who comes there can attach to a child that waits, and do nothing else.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Adapter;
use super::connection::Connection;
use super::meeting::Hello;
use super::session::{Asker, Session};
use crate::dap::children::{Call, call, configuration};
use crate::dap::wire::Stream;

/// What waits, and where clients find it.
#[derive(Default)]
pub(super) struct Children {
    waiting: Mutex<Vec<(u32, Connection)>>,
    door: Mutex<Option<SocketAddr>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Children {
    /// Has clients come to a port at which this adapter takes them anyway.
    pub(super) fn use_door(&self, address: SocketAddr) {
        *lock(&self.door) = Some(address);
    }

    /// The child with that number, if it waits.
    pub(super) fn take(&self, pid: u32) -> Option<Connection> {
        let mut waiting = lock(&self.waiting);
        let at = waiting.iter().position(|(number, _)| *number == pid)?;
        Some(waiting.swap_remove(at).1)
    }
}

impl Adapter {
    /// Where clients of children come to.
    fn door(self: &Arc<Self>) -> io::Result<SocketAddr> {
        let mut door = lock(&self.children.door);
        if let Some(address) = *door {
            return Ok(address);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        self.accept(true, move || Stream::accept(&listener))?;
        *door = Some(address);
        Ok(address)
    }
}

impl Session {
    /// A process of the program waits: asks the client to attend to it.
    pub(super) fn introduce(&self, hello: &Hello, connection: Connection) {
        let address = match self.adapter.door() {
            Ok(address) => address,
            Err(error) => {
                connection.close();
                return self.tell(&format!("process {} is not debugged: {error}", hello.pid));
            }
        };
        let (client, started) = {
            let state = self.state();
            let client = serde_json::from_value(state.initialize.clone());
            (client.unwrap_or_default(), state.launch.clone())
        };
        lock(&self.adapter.children.waiting).push((hello.pid, connection));
        let host = if address.ip().is_unspecified() {
            "127.0.0.1".to_owned()
        } else {
            address.ip().to_string()
        };
        let configuration = configuration(&started, hello.pid, &host, address.port());
        match call(&client, configuration) {
            Call::Request(command, arguments) => {
                self.ask(command, &arguments, Asker::Child(hello.pid));
            }
            Call::Event(name, body) => self.event(name, body),
        }
    }

    /// The client does not attend to a child, which goes on without one.
    pub(super) fn is_left_alone(&self, pid: u32, answer: &Value) {
        if let Some(connection) = self.adapter.children.take(pid) {
            connection.close();
            let reason = answer["message"].as_str().unwrap_or("no reason was given");
            self.tell(&format!("process {pid} is not debugged: {reason}"));
        }
    }
}
