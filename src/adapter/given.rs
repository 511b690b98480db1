//! The arguments of `launch` as the client gave them: what is of the wrong kind is named.
//!
//! Owns the list of the keys that there are. Everything is optional here; what has to be there
//! and what fits together is the business of `launch`.

use serde_json::{Map, Value};

use crate::dap::protocol::Refusal;

/// The keys of `launch` and `attach` that mean something to dapper.
const KNOWN: [&str; 55] = [
    "args",
    "autoReload",
    "breakOnSystemExit",
    "breakOnSystemExitZero",
    "code",
    "connect",
    "console",
    "consoleTitle",
    "cwd",
    "debugOptions",
    "django",
    "env",
    "envFile",
    "evaluationTimeout",
    "flask",
    "frameEval",
    "frameEvalConfig",
    "gevent",
    "guiEventLoop",
    "host",
    "inProcess",
    "jinja",
    "justMyCode",
    "listen",
    "logToFile",
    "module",
    "noDebug",
    "onTerminate",
    "pathMappings",
    "port",
    "processId",
    "processName",
    "program",
    "purpose",
    "pyramid",
    "python",
    "pythonArgs",
    "pythonPath",
    "qt",
    "redirectOutput",
    "remoteRoot",
    "localRoot",
    "restart",
    "rules",
    "showReturnValue",
    "stopAllThreads",
    "stopOnEntry",
    "subProcess",
    "subProcessId",
    "sudo",
    "terminalQuoteCharacter",
    "timeout",
    "useFrameEval",
    "useIpc",
    "variablePresentation",
];

/// Keys that belong to the client; no word is lost about them.
const CLIENTS: [&str; 22] = [
    "clientOS",
    "command",
    "cwdRelative",
    "debugAdapterHost",
    "debugAdapterPath",
    "debugAdapterPython",
    "debugLauncherPath",
    "debugLauncherPython",
    "debugServer",
    "internalConsoleOptions",
    "name",
    "postDebugTask",
    "preLaunchTask",
    "presentation",
    "request",
    "serverReadyAction",
    "stopAtEntry",
    "suppressMultipleSessionWarning",
    "type",
    "workspaceFolder",
    "linux",
    "osx",
];

/// What was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Map<String, Value>);

impl Given {
    /// The arguments of a request.
    pub(super) fn of(arguments: &Value) -> Result<Self, Refusal> {
        match arguments {
            Value::Object(fields) => Ok(Self(fields.clone())),
            Value::Null => Ok(Self::default()),
            _ => Err(Refusal::shown("the arguments have to be an object")),
        }
    }

    /// One value; null is as good as none.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong(key, "a string", other)),
        }
    }

    /// A string, or a list of them.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
            _ => self.list(key, "a string or a list of strings"),
        }
    }

    /// A list of strings.
    pub(super) fn list(&self, key: &str, what: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let items = value.as_array().map(|items| {
            let text = |item: &Value| item.as_str().map(str::to_owned);
            items.iter().map(text).collect::<Option<Vec<_>>>()
        });
        match items.flatten() {
            Some(items) => Ok(Some(items)),
            None => Err(wrong(key, what, value)),
        }
    }

    /// True or false.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Refusal> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(key, "true or false", other)),
        }
    }

    /// An object.
    pub(super) fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields)),
            Some(other) => Err(wrong(key, "an object", other)),
        }
    }

    /// Whether a flag of the older form is there: `"debugOptions": ["RedirectOutput"]`.
    pub(super) fn option(&self, name: &str) -> bool {
        let options = self.get("debugOptions").and_then(Value::as_array);
        options.is_some_and(|options| options.iter().any(|option| option == name))
    }

    /// The keys that nobody knows, each with the one that may have been meant.
    fn unknown(&self) -> Vec<String> {
        let is_known =
            |key: &str| KNOWN.contains(&key) || CLIENTS.contains(&key) || key.starts_with("__");
        self.0
            .keys()
            .filter(|key| !is_known(key))
            .map(|key| named(key, &KNOWN))
            .collect()
    }

    /// What the user is told about keys that nobody knows.
    pub(super) fn remark(&self) -> Option<String> {
        let unknown = self.unknown();
        (!unknown.is_empty()).then(|| {
            let keys = unknown.join(", ");
            format!("the configuration has unknown keys, which are passed over: {keys}")
        })
    }

    /// The arguments with some of them replaced.
    pub(super) fn with(&self, changes: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let mut fields = self.0.clone();
        fields.extend(
            changes
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value)),
        );
        Value::Object(fields)
    }
}

/// A name that is not known, with the one that may have been meant.
pub(super) fn named(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("{name:?} (did you mean {near:?}?)"),
        None => format!("{name:?}"),
    }
}

/// A refusal of a value of the wrong kind.
pub(super) fn wrong(key: &str, what: &str, value: &Value) -> Refusal {
    Refusal::shown(format!("{key:?} has to be {what}, and is {value}"))
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let distance = |other: &&str| strsim::osa_distance(&name, &other.to_ascii_lowercase());
    let nearest = known.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= 1 + name.len() / 5).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_keys_are_named_with_the_near_miss() {
        let given = Given::of(&json!({
            "justmycode": true, "progam": "x", "name": "n", "__id": 1, "zzz": 2, "args": [],
        }));
        assert_eq!(
            given.unwrap().unknown(),
            [
                "\"justmycode\" (did you mean \"justMyCode\"?)",
                "\"progam\" (did you mean \"program\"?)",
                "\"zzz\"",
            ]
        );
    }

    #[test]
    fn wrong_kinds_name_the_key() {
        let given = Given::of(&json!({"args": [1], "cwd": 3})).unwrap();
        let message = given.text("cwd").unwrap_err().message;
        assert_eq!(message, "\"cwd\" has to be a string, and is 3");
        assert!(given.texts("args").is_err());
        assert_eq!(given.texts("python"), Ok(None));
    }
}
