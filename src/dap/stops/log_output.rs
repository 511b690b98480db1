//! Messages of log breakpoints as `output` events of the client.
//!
//! Owns the way there while the client has log breakpoints: what got the messages before gets them
//! again afterwards. They are delivered from the writer's thread of `log`, in order; a program that
//! writes faster than its client reads waits, and so does its exit. Lines of one place that follow
//! each other are one event.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dap::session::Session;
use crate::dap::view::source_of;
use crate::log::{self, Former, Output};

/// An event holds no more text than this, but for a single longer message.
const LENGTH: usize = 16 << 10;

/// What got the messages before the client did.
static FORMER: Mutex<Option<Former>> = Mutex::new(None);

/// Delivers to the client of a session.
struct ClientOutput(Weak<Session>);

/// A line of JSON that `log` made.
#[derive(Deserialize)]
struct Line<'a> {
    event: &'a str,
    #[serde(borrow, default)]
    file: Cow<'a, str>,
    #[serde(default, rename = "line")]
    number: u32,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

impl Output for ClientOutput {
    fn deliver(&self, records: &[&str]) -> Result<(), String> {
        let gone = || "the client is gone".to_owned();
        let session = self.0.upgrade().ok_or_else(gone)?;
        if session.events("output", bodies(&session, records)) {
            Ok(())
        } else {
            Err(gone())
        }
    }

    fn is_inherited(&self) -> bool {
        false
    }

    fn is_waited_for(&self) -> bool {
        true
    }
}

fn bodies(session: &Session, records: &[&str]) -> Vec<Value> {
    let mut bodies = Vec::new();
    let mut text = String::new();
    let mut place: Option<(String, u32)> = None;
    let mut send = |text: &mut String, place: &Option<(String, u32)>| {
        if text.is_empty() {
            return;
        }
        let mut body = json!({"category": "console", "output": std::mem::take(text)});
        if let Some((file, line)) = place {
            body["source"] = source_of(session, file);
            body["line"] = session.client().line(*line).into();
        }
        bodies.push(body);
    };
    for record in records {
        let line = serde_json::from_str::<Line<'_>>(record).ok();
        let line = line.filter(|line| line.event == "log");
        let same = match (&line, &place) {
            (Some(line), Some((file, number))) => line.file == *file && line.number == *number,
            (None, None) => true,
            _ => false,
        };
        let message = line.as_ref().map_or(*record, |line| &line.message);
        if !same || text.len() + message.len() > LENGTH {
            send(&mut text, &place);
            place = line
                .as_ref()
                .map(|line| (line.file.clone().into_owned(), line.number));
        }
        text.push_str(message);
        text.push('\n');
    }
    send(&mut text, &place);
    bodies
}

/// Has messages go to the client if it wants any, and else to where they went before.
pub(super) fn follow(py: Python<'_>, session: &Arc<Session>, wanted: bool) {
    let lock = || FORMER.lock().unwrap_or_else(PoisonError::into_inner);
    let lent = lock().is_some();
    if wanted && !lent {
        let former = log::lend(py, Arc::new(ClientOutput(Arc::downgrade(session))));
        *lock() = Some(former);
    } else if !wanted {
        give_back(py);
    }
}

/// Has messages go where they went before there was a client.
pub(super) fn give_back(py: Python<'_>) {
    let former = FORMER.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(former) = former {
        log::give_back(py, former);
    }
}

/// Forgets what got the messages before: in a forked child, nobody does but standard error.
pub(super) fn forget() {
    let former = FORMER.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Its locks may be held by a thread that this process does not have.
    std::mem::forget(former);
}
