//! `evaluate`, in all of its contexts.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::guard::{Patience, guarded, refused};
use super::program::{Mode, program};
use super::row::{Whence, shape};
use super::run::run;
use super::text::{Style, show, up_to};
use super::variables::Format;
use crate::dap::parked::ask;
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::Scene;
use crate::dap::session::Session;

/// How long an expression may take that is evaluated unasked, such as that of a watch.
const PATIENCE: f64 = 5.0;
/// How many characters go to the clipboard.
const MOST_COPIED: usize = 1 << 26;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    expression: String,
    frame_id: Option<i64>,
    context: Option<String>,
    format: Option<Format>,
}

/// `evaluate`: in the thread of the frame, or in any that has stopped.
pub(super) fn evaluate(session: &Arc<Session>, request: &Request) {
    let wanted: Arguments = match request.arguments() {
        Ok(wanted) => wanted,
        Err(refusal) => return session.respond(request, Err(refusal)),
    };
    let thread = thread_for(session, wanted.frame_id);
    if thread.is_none() && wanted.frame_id.is_none() {
        let refusal = Refusal::new("the program is running: stop it to evaluate something");
        return session.respond(request, Err(refusal));
    }
    ask(session, thread, request.clone(), in_thread);
}

/// The thread of a frame; without one the stopped thread that the client has known longest.
pub(super) fn thread_for(session: &Session, frame: Option<i64>) -> Option<u64> {
    if let Some(frame) = frame {
        return session.owner_of(frame);
    }
    let stopped = session.stopped().into_iter();
    stopped.min_by_key(|ident| session.thread_id(*ident))
}

/// How long what the client shows unasked may take.
pub(super) fn limit(scene: &Scene<'_>) -> Duration {
    let seconds = scene.session().settings().evaluation_timeout;
    let seconds = seconds.filter(|seconds| *seconds > 0.0).unwrap_or(PATIENCE);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The frame that a request names, if it names one.
pub(super) fn frame_of(scene: &Scene<'_>, id: Option<i64>) -> Result<Option<usize>, Refusal> {
    id.map(|id| scene.frame_of(id)).transpose()
}

fn in_thread(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let index = frame_of(scene, wanted.frame_id)?;
    let py = scene.py();
    let context = wanted.context.as_deref().unwrap_or("repl");
    let text = wanted.expression.as_str();
    if text.trim().is_empty() {
        return Ok(json!({"result": "", "variablesReference": 0}));
    }
    let (mode, limit) = match context {
        "repl" => (Mode::Console, None),
        _ => (Mode::Expression, Some(limit(scene))),
    };
    let value = run(scene, index, text, mode, limit).map_err(|error| refused(py, &error))?;
    let Some(value) = value else {
        return Ok(json!({"result": "", "variablesReference": 0}));
    };
    let style = wanted.format.unwrap_or_default().style();
    let mut patience = Patience::default();
    let result = match context {
        "clipboard" => copied(&value, style),
        _ => show(&value, style, &mut patience),
    };
    let again = program(scene, index, text, mode).map_err(|error| refused(py, &error))?;
    let whence = Whence {
        evaluate_name: again.is_expression.then(|| text.trim().to_owned()),
        frame: index.unwrap_or(0),
    };
    let mut body = shape(scene, &value, whence, &mut patience);
    body["result"] = result.into();
    if value.is_instance_of::<PyString>() {
        body["presentationHint"] = json!({"attributes": ["rawString"]});
    }
    Ok(body)
}

/// The whole text of a value, as long as a clipboard takes it.
fn copied(value: &Bound<'_, PyAny>, style: Style) -> String {
    let py = value.py();
    let whole = || {
        let text = value.repr()?;
        let part = text.get_item(up_to(py, MOST_COPIED)?)?;
        Ok(part.cast::<PyString>()?.to_string_lossy().into_owned())
    };
    let limit = Duration::try_from_secs_f64(PATIENCE).ok();
    guarded(py, limit, whole).unwrap_or_else(|_| show(value, style, &mut Patience::default()))
}

/// The answer that tells a value after it was set.
pub(super) fn told<'py>(
    scene: &mut Scene<'py>,
    value: &Bound<'py, PyAny>,
    whence: Whence,
    format: Option<Format>,
) -> Value {
    let mut patience = Patience::default();
    let style = format.unwrap_or_default().style();
    let text = show(value, style, &mut patience);
    let mut body = shape(scene, value, whence, &mut patience);
    body["value"] = text.into();
    body
}
