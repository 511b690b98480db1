//! Those who have connected, until it is known who they are.
//!
//! A connection is nothing before it has said the first message of the protocol: a browser, a
//! scanner of ports or a client that says nothing takes no place. Owns what is answered until it is
//! known which process a client means: this one, or a child.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::children::Hello;
use super::client::Client;
use super::dispatch;
use super::framing::{Decoder, encode};
use super::protocol::{Message, Refusal, Request, response};
use super::session::Greeted;
use super::wire::Stream;

/// How long a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(super) struct Guest {
    pub(super) stream: Stream,
    decoder: Decoder,
    since: Instant,
    sent: i64,
    /// `initialize`, and what it says, once it was answered.
    greeted: Option<(Vec<u8>, Client)>,
}

/// What has become of a guest.
pub(super) enum Turn {
    /// More has to arrive.
    Stay,
    /// Nothing: it is refused, gone, or speaks no protocol of ours.
    Gone,
    /// It wants this process, or the child of that number; the message that says so.
    Client(Option<u32>, Vec<u8>),
    /// It is a process of the program.
    Child(Hello),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meant {
    sub_process_id: Option<u32>,
}

impl Guest {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            since: Instant::now(),
            sent: 0,
            greeted: None,
        }
    }

    /// How long it may still say nothing.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.since.elapsed())
    }

    /// Takes what it sends; false when it is gone.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read(bytes) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.decoder.push(&bytes[..read]);
                true
            }
        }
    }

    /// The first word of a child.
    pub(super) fn turn_of_child(&mut self, token: &str) -> Turn {
        match self.decoder.next_message() {
            Ok(None) => Turn::Stay,
            Ok(Some(message)) => match Hello::read(&message) {
                Some(hello) if hello.knows(token) => Turn::Child(hello),
                _ => Turn::Gone,
            },
            Err(_) => Turn::Gone,
        }
    }

    /// What a client says; `occupied` when it may not mean this process, and then whether a child
    /// waits that it may mean.
    pub(super) fn turn_of_client(&mut self, occupied: bool, children: &[u32]) -> Turn {
        loop {
            let message = match self.decoder.next_message() {
                Ok(None) => return Turn::Stay,
                Ok(Some(message)) => message,
                Err(_) => return Turn::Gone,
            };
            let request = match serde_json::from_slice(&message) {
                Ok(Message::Request(request)) => request,
                Ok(_) => continue,
                Err(_) => return Turn::Gone,
            };
            if occupied && children.is_empty() {
                self.answer(&request, Err(occupied_by_another()));
                return Turn::Gone;
            }
            match request.command.as_str() {
                "initialize" if self.greeted.is_none() => self.greet(&request, message),
                "attach" | "launch" if self.greeted.is_some() => {
                    let meant: Meant = request.arguments().unwrap_or_default();
                    let child = meant.sub_process_id.filter(|pid| children.contains(pid));
                    if child.is_none() && occupied {
                        self.answer(&request, Err(occupied_by_another()));
                        return Turn::Gone;
                    }
                    return Turn::Client(child, message);
                }
                "disconnect" => {
                    self.answer(&request, Ok(Value::Null));
                    return Turn::Gone;
                }
                command => {
                    let first = if self.greeted.is_none() {
                        "initialize"
                    } else {
                        "attach or launch"
                    };
                    let refusal = format!("{command} comes too early: {first} comes first");
                    self.answer(&request, Err(Refusal::new(refusal)));
                }
            }
        }
    }

    fn greet(&mut self, request: &Request, message: Vec<u8>) {
        match request.arguments() {
            Ok(client) => {
                self.answer(request, Ok(dispatch::capabilities()));
                self.greeted = Some((message, client));
            }
            Err(refusal) => self.answer(request, Err(refusal)),
        }
    }

    fn answer(&mut self, request: &Request, answer: super::protocol::Answer) {
        self.sent += 1;
        let mut answer = response(request, answer);
        answer["seq"] = self.sent.into();
        // One that is gone is noticed when it is read.
        let _ = self
            .stream
            .write_all(&encode(answer.to_string().as_bytes()));
    }

    /// Its connection, how many messages it was sent, and what it has said up to `first`.
    pub(super) fn into_session(self, first: Vec<u8>) -> (Stream, i64, Greeted) {
        let client = self.greeted.map(|(_, client)| client);
        let greeted = Greeted {
            client: client.unwrap_or_default(),
            first,
            decoder: self.decoder,
        };
        (self.stream, self.sent, greeted)
    }

    /// Its connection, its `initialize`, and what has arrived behind what was taken.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>, Decoder) {
        let initialize = self.greeted.map(|(message, _)| message);
        (self.stream, initialize.unwrap_or_default(), self.decoder)
    }
}

fn occupied_by_another() -> Refusal {
    Refusal::shown(format!(
        "process {} is debugged by another client already: disconnect that one first",
        std::process::id()
    ))
}
