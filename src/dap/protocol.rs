//! Requests, responses and events as JSON.
//!
//! Owns the envelope of the Debug Adapter Protocol; what a request carries and what an answer says
//! is the matter of the request's own file.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What arrives.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Message {
    /// The client asks for something.
    Request(Request),
    /// The client answers what it was asked; nothing that is asked needs the answer.
    Response {},
    /// Clients send none; what one says is passed over.
    Event {},
}

/// What a client asks for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Request {
    /// The number that the answer refers to.
    pub(crate) seq: i64,
    /// What is asked for.
    pub(crate) command: String,
    /// With what; null when nothing was given.
    #[serde(default)]
    pub(crate) arguments: Value,
}

impl Request {
    /// The arguments as the type that the request has, or what is wrong with them.
    pub(crate) fn arguments<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let arguments = match &self.arguments {
            Value::Null => json!({}),
            arguments => arguments.clone(),
        };
        serde_json::from_value(arguments).map_err(|error| {
            Refusal::new(format!(
                "the arguments of {} are wrong: {error}",
                self.command
            ))
        })
    }
}

/// Why a request cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In words for the user.
    pub(crate) message: String,
    /// Whether a client has to show it beyond the place where the answer is expected.
    pub(crate) show: bool,
}

impl Refusal {
    /// One that is told where the answer is expected.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            show: false,
        }
    }

    /// One that is shown to the user.
    pub(crate) fn shown(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            show: true,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What comes of a request: the body of its answer.
pub(crate) type Answer = Result<Value, Refusal>;

/// The answer to a request, without its number.
pub(crate) fn response(request: &Request, answer: Answer) -> Value {
    let mut response = json!({
        "type": "response",
        "request_seq": request.seq,
        "command": request.command,
    });
    match answer {
        Ok(body) => {
            response["success"] = true.into();
            if !body.is_null() {
                response["body"] = body;
            }
        }
        Err(refusal) => {
            // What is in braces would be a variable.
            let format = refusal.message.replace('{', "{{").replace('}', "}}");
            response["success"] = false.into();
            response["message"] = refusal.message.into();
            response["body"] = json!({
                "error": {"id": 1, "format": format, "showUser": refusal.show},
            });
        }
    }
    response
}

/// A request to the client, without its number.
pub(crate) fn request(command: &str, arguments: &Value) -> Value {
    json!({"type": "request", "command": command, "arguments": arguments})
}

/// An event, without its number.
pub(crate) fn event(name: &str, body: Value) -> Value {
    let mut event = json!({"type": "event", "event": name});
    if !body.is_null() {
        event["body"] = body;
    }
    event
}
