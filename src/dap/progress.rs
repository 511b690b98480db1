//! Progress of requests that a stopped thread takes long to answer.
//!
//! Owns which requests are under way, for a client that shows progress. The thread that reads looks
//! at them when they are a second old ([`PATIENCE`]), between two messages of the client; the answer,
//! whoever gives it, ends the progress. It is cancelled as the request is.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::protocol::Request;
use super::session::{Session, lock};

/// How long an answer may take before the client is told what goes on.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of what is evaluated is shown.
const MOST_SHOWN: usize = 60;

/// A request that has not been answered yet.
struct Pending {
    seq: i64,
    /// The thread that is to answer.
    ident: u64,
    title: &'static str,
    message: Option<String>,
    /// When the client is told.
    due: Instant,
    told: bool,
}

/// The requests under way whose progress may be shown.
#[derive(Default)]
pub(super) struct Progress(Mutex<Vec<Pending>>);

/// What is shown of a request, if its progress is shown at all.
fn title_of(command: &str) -> Option<&'static str> {
    Some(match command {
        "evaluate" => "Evaluating",
        "setVariable" | "setExpression" => "Assigning",
        "variables" => "Reading variables",
        _ => return None,
    })
}

/// The number by which the client knows the progress of a request.
fn id_of(seq: i64) -> String {
    format!("dapper-request-{seq}")
}

/// The request whose progress has that number.
pub(super) fn request_of(id: &str) -> Option<i64> {
    id.strip_prefix("dapper-request-")?.parse().ok()
}

fn end(pending: &Pending) -> Value {
    json!({"progressId": id_of(pending.seq)})
}

impl Progress {
    /// A thread is to answer a request; called in the thread that reads.
    pub(super) fn expect(&self, session: &Session, ident: u64, request: &Request) {
        if !session.client().supports_progress_reporting {
            return;
        }
        let Some(title) = title_of(&request.command) else {
            return;
        };
        let text = request.arguments.get("expression").and_then(Value::as_str);
        let message = text.map(|text| match text.char_indices().nth(MOST_SHOWN) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        });
        lock(&self.0).push(Pending {
            seq: request.seq,
            ident,
            title,
            message,
            due: Instant::now() + PATIENCE,
            told: false,
        });
    }

    /// How long nothing has to be told, if anything may have to be.
    pub(super) fn rest(&self) -> Option<Duration> {
        let pending = lock(&self.0);
        let due = pending.iter().filter(|pending| !pending.told);
        let due = due.map(|pending| pending.due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Tells the client of what takes long.
    pub(super) fn tell(&self, session: &Session) {
        let now = Instant::now();
        // Sent while this is locked: the end comes behind the beginning.
        let mut pending = lock(&self.0);
        pending.retain(|pending| pending.told || session.parked(pending.ident).is_some());
        let late = |pending: &&mut Pending| !pending.told && pending.due <= now;
        for pending in pending.iter_mut().filter(late) {
            pending.told = true;
            let mut body = json!({
                "progressId": id_of(pending.seq),
                "title": pending.title,
                "requestId": pending.seq,
                "cancellable": true,
            });
            if let Some(message) = &pending.message {
                body["message"] = message.as_str().into();
            }
            session.event("progressStart", body);
        }
    }

    /// A request has its answer.
    pub(super) fn finish(&self, session: &Session, seq: i64) {
        self.remove(session, |pending| pending.seq == seq);
    }

    /// A thread goes on: it answers no more.
    pub(super) fn forget(&self, session: &Session, ident: u64) {
        self.remove(session, |pending| pending.ident == ident);
    }

    fn remove(&self, session: &Session, is_over: impl Fn(&Pending) -> bool) {
        let mut all = lock(&self.0);
        let over = all.extract_if(.., |pending| is_over(pending));
        for pending in over.filter(|pending| pending.told) {
            session.event("progressEnd", end(&pending));
        }
    }
}
