//! What a message of the client leads to.
//!
//! Runs in the thread that reads. A request is answered there, with the GIL where it needs one, or
//! handed to the stopped thread that it means, which answers it in its own context. Whatever goes
//! wrong with a request is the answer to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parked::{Cancelled, Go, ask};
use super::progress::request_of;
use super::protocol::{Answer, Message, Refusal, Request};
use super::scene::Scene;
use super::session::Session;
use super::{client, ending, start, stops, view, wire};
use crate::ffi::attach::try_attach;
use crate::hit;
use crate::pause;
use crate::step::Mode;

/// Where a request is answered, and by what.
#[derive(Clone, Copy)]
pub(super) enum Route {
    /// In the thread that reads, with the GIL.
    Attached(fn(Python<'_>, &Session, &Request) -> Answer),
    /// In the stopped thread that it means.
    InThread(fn(&mut Scene<'_>, &Request) -> Answer),
    /// In the thread that reads, without the GIL; it sends the answer itself.
    Reader(fn(&Arc<Session>, &Request)),
}

/// The requests that concern the session as a whole, and how threads go on.
fn route(command: &str) -> Option<Route> {
    Some(match command {
        "initialize" => Route::Reader(initialize),
        "launch" | "attach" => Route::Reader(start::begin),
        "configurationDone" => Route::Reader(configured),
        "disconnect" => Route::Reader(ending::disconnect),
        "terminate" => Route::Reader(ending::terminate),
        "cancel" => Route::Attached(cancel),
        "pause" => Route::Attached(pause_thread),
        "continue" => Route::Reader(|session, request| resume(session, request, Go::Continue)),
        "next" => Route::Reader(|session, request| step(session, request, Mode::Over)),
        "stepIn" => Route::Reader(|session, request| step(session, request, Mode::Into)),
        "stepOut" => Route::Reader(|session, request| step(session, request, Mode::Out)),
        _ => return None,
    })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Means {
    thread_id: Option<i64>,
    frame_id: Option<i64>,
    variables_reference: Option<i64>,
    single_thread: bool,
}

/// Does what a message says.
pub(super) fn message(session: &Arc<Session>, bytes: &[u8]) {
    wire::log("-->", bytes);
    match serde_json::from_slice(bytes) {
        Ok(Message::Request(request)) => {
            session.attend();
            let done = catch_unwind(AssertUnwindSafe(|| self::request(session, &request)));
            if done.is_err() {
                let refusal = Refusal::new("an error of dapper's own; the program goes on");
                session.respond(&request, Err(refusal));
            }
        }
        Ok(Message::Response {} | Message::Event {}) => {}
        Err(error) => {
            let body = json!({
                "category": "important",
                "output": format!("dapper: a message is passed over: {error}\n"),
            });
            session.event("output", body);
        }
    }
}

fn request(session: &Arc<Session>, request: &Request) {
    let command = request.command.as_str();
    let route = route(command)
        .or_else(|| stops::route(command))
        .or_else(|| view::route(command));
    match route {
        Some(Route::Reader(answer)) => answer(session, request),
        Some(Route::Attached(answer)) => attached(session, request, answer),
        Some(Route::InThread(answer)) => in_thread(session, request, answer),
        None => {
            let refusal = Refusal::new(format!("{command:?} is no request that dapper knows"));
            session.respond(request, Err(refusal));
        }
    }
}

fn attached(
    session: &Session,
    request: &Request,
    answer: fn(Python<'_>, &Session, &Request) -> Answer,
) {
    let answer = try_attach(|py| {
        let _quiet = hit::Quiet::enter();
        answer(py, session, request)
    });
    let gone = || Err(Refusal::new("the program is at its end"));
    session.respond(request, answer.unwrap_or_else(gone));
}

/// The thread that a request means.
fn meant(session: &Session, means: &Means) -> Option<u64> {
    let number = means.frame_id.or(means.variables_reference);
    match number {
        Some(number) => session.owner_of(number),
        None => match means.thread_id? {
            id if stops::tasks::is_task(id) => stops::tasks::thread_of(session, id),
            id => session.thread_of(id),
        },
    }
}

fn in_thread(
    session: &Arc<Session>,
    request: &Request,
    answer: fn(&mut Scene<'_>, &Request) -> Answer,
) {
    match request.arguments::<Means>() {
        Ok(means) => ask(session, meant(session, &means), request.clone(), answer),
        Err(refusal) => session.respond(request, Err(refusal)),
    }
}

fn initialize(session: &Arc<Session>, request: &Request) {
    let answer = request.arguments().map(|client| {
        *session.client() = client;
        capabilities()
    });
    session.respond(request, answer);
}

/// What dapper can do, as the answer to `initialize` says it.
pub(crate) fn capabilities() -> Value {
    let mut all = client::capabilities();
    for more in [stops::capabilities(), view::capabilities()] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn configured(session: &Arc<Session>, request: &Request) {
    session.respond(request, Ok(Value::Null));
    session.configure();
    stops::census::begin(session);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelArguments {
    request_id: Option<i64>,
    progress_id: Option<String>,
}

/// `cancel`, by the number of the request or of its progress: what has been answered already is no error.
fn cancel(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: CancelArguments = request.arguments()?;
    let progress = wanted.progress_id.as_deref();
    let Some(seq) = wanted.request_id.or_else(|| progress.and_then(request_of)) else {
        return Err(Refusal::new("cancel needs the number of a request"));
    };
    for ident in session.stopped() {
        let cancelled = session
            .parked(ident)
            .map(|thread| thread.cancel(py, ident, seq));
        match cancelled {
            Some(Cancelled::Pending(pending)) => {
                session.respond(&pending, Err(Refusal::new("cancelled")));
                break;
            }
            Some(Cancelled::Running) => break,
            Some(Cancelled::Unknown) | None => {}
        }
    }
    Ok(Value::Null)
}

fn pause_thread(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let means: Means = request.arguments()?;
    let ident = means.thread_id.and_then(|id| session.thread_of(id));
    let ident = ident.ok_or_else(|| Refusal::new("there is no such thread any more"))?;
    if session.parked(ident).is_none() {
        pause::one(py, ident).map_err(|error| view::failed(&error))?;
    }
    Ok(Value::Null)
}

fn step(session: &Arc<Session>, request: &Request, mode: Mode) {
    match stops::stride(request, mode) {
        Ok(stride) => resume(session, request, Go::Step(stride)),
        Err(refusal) => session.respond(request, Err(refusal)),
    }
}

/// Has a stopped thread go on, and the others with it unless it is to go alone.
fn resume(session: &Arc<Session>, request: &Request, go: Go) {
    let means: Means = match request.arguments() {
        Ok(means) => means,
        Err(refusal) => return session.respond(request, Err(refusal)),
    };
    if means.thread_id.is_some_and(stops::tasks::is_task) && go != Go::Continue {
        let refusal = Refusal::new("a task that waits cannot step: step in the thread of its loop");
        return session.respond(request, Err(refusal));
    }
    let ident = meant(session, &means);
    let Some(parked) = ident.and_then(|ident| session.parked(ident)) else {
        let refusal = Refusal::new("the thread is not stopped");
        return session.respond(request, Err(refusal));
    };
    let all = !means.single_thread && session.stops_all();
    let (asking, session) = (session, Arc::clone(session));
    let (asked, request) = (request, request.clone());
    let job = Box::new(move |scene: &mut Scene<'_>| {
        let body = match request.command.as_str() {
            "continue" => json!({"allThreadsContinued": all}),
            _ => Value::Null,
        };
        let py = scene.py();
        if all {
            pause::nobody();
            if let Err(error) = pause::refresh(py) {
                session.respond(&request, Err(view::failed(&error)));
                return None;
            }
        }
        let ident = scene.ident();
        py.detach(|| {
            session.respond(&request, Ok(body));
            if all {
                session.resume_others(ident);
            }
        });
        Some(go)
    });
    parked.answer(asking, asked, job);
}
