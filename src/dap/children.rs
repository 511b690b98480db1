//! Processes of the program that wait for a client of their own.
//!
//! Owns what such a process says of itself, and how the client of the parent is asked to attend to
//! it: by `startDebugging` where it can do that, and by the event that clients of Python's
//! debuggers know otherwise.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;

/// What belongs to the parent alone, or says how it was reached.
const OWN: &[&str] = &[
    "program",
    "module",
    "code",
    "args",
    "python",
    "pythonPath",
    "pythonArgs",
    "cwd",
    "env",
    "envFile",
    "console",
    "consoleTitle",
    "internalConsoleOptions",
    "listen",
    "processId",
    "preLaunchTask",
    "postDebugTask",
    "stopOnEntry",
    "restart",
    "__restart",
    "noDebug",
    "inProcess",
    "useIpc",
    "sudo",
    "purpose",
];

/// The first word of a process that is debugged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Hello {
    /// What it was told to be known by.
    pub(crate) token: Option<String>,
    /// Its number.
    pub(crate) pid: u32,
    /// That of its parent.
    pub(crate) parent_pid: u32,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    body: Value,
}

impl Hello {
    /// What a first message says, if it is one.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let event: Event = serde_json::from_slice(message).ok()?;
        if event.event != "dapper/hello" {
            return None;
        }
        serde_json::from_value(event.body).ok()
    }

    /// Whether it knows the token.
    pub(crate) fn knows(&self, token: &str) -> bool {
        let given = self.token.as_deref().unwrap_or_default().as_bytes();
        let differs = |(a, b): (&u8, &u8)| a ^ b;
        given.len() == token.len()
            && given
                .iter()
                .zip(token.as_bytes())
                .map(differs)
                .fold(0, |all, one| all | one)
                == 0
    }
}

/// How a client attaches to a child: the arguments of its parent's session, and where.
pub(crate) fn configuration(started: &Value, pid: u32, host: &str, port: u16) -> Value {
    let mut all = started.as_object().cloned().unwrap_or_default();
    for key in OWN {
        all.remove(*key);
    }
    let named = |all: &serde_json::Map<String, Value>, key: &str| {
        all.get(key).and_then(Value::as_str).map(str::to_owned)
    };
    let kind = named(&all, "type").unwrap_or_else(|| "python".to_owned());
    // A client that came through a tunnel knows its way better.
    let known = all
        .get("connect")
        .filter(|known| known["port"].is_u64())
        .cloned();
    let connect = known.unwrap_or_else(|| json!({"host": host, "port": port}));
    all.insert("name".into(), format!("Subprocess {pid}").into());
    all.insert("type".into(), kind.into());
    all.insert("request".into(), "attach".into());
    all.insert("connect".into(), connect);
    all.insert("subProcessId".into(), pid.into());
    Value::Object(all)
}

/// How the client is asked to attend to a child: a request or an event, its name and what it says.
pub(crate) enum Call {
    /// A request to the client.
    Request(&'static str, Value),
    /// An event.
    Event(&'static str, Value),
}

/// The call for a child.
pub(crate) fn call(client: &Client, configuration: Value) -> Call {
    if client.supports_start_debugging_request {
        let arguments = json!({"request": "attach", "configuration": configuration});
        Call::Request("startDebugging", arguments)
    } else {
        Call::Event("debugpyAttach", configuration)
    }
}
