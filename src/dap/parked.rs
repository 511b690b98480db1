//! A thread of the program that has stopped.
//!
//! Owns what such a thread does until it goes on: it tells the client, waits without the GIL, and
//! does in its own context what the client asks of it, one thing after the other. All that a stop
//! shows lives on the stack of its thread, so nothing of it is kept when the thread goes on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use serde_json::json;

use super::protocol::{Refusal, Request};
use super::scene::Scene;
use super::session::{self, Session};
use super::{frame_eval, stops, stuck, view};
use crate::ffi::attach::try_attach;
use crate::ffi::name::name;
use crate::ffi::{threads, tracing};
use crate::hit;
use crate::pause;
use crate::step::Mode;

/// How a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    /// Until something stops it.
    Continue,
    /// Until the end of a step.
    Step(Stride),
    /// To another line, by what was prepared in the thread.
    Jump,
}

/// A step, as the client asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stride {
    /// How far it goes.
    pub(crate) mode: Mode,
    /// The number of the frame that it begins in, the innermost being 0.
    pub(crate) depth: usize,
    /// Whether an instruction is a step, and not a line.
    pub(crate) instructions: bool,
    /// The byte offset of the only call that is stepped into.
    pub(crate) call: Option<usize>,
}

impl Stride {
    /// Line by line, from the innermost frame.
    pub(crate) fn lines(mode: Mode) -> Self {
        Self {
            mode,
            depth: 0,
            instructions: false,
            call: None,
        }
    }
}

/// Something to do in a stopped thread; the result says how it goes on, if it does.
pub(crate) type Job = Box<dyn FnOnce(&mut Scene<'_>) -> Option<Go> + Send>;

/// A stopped thread, as the thread of the protocol sees it.
#[derive(Default)]
pub(crate) struct Parked {
    jobs: Mutex<Jobs>,
    ready: Condvar,
    running: Mutex<Running>,
}

/// What a stopped thread is to do.
#[derive(Default)]
struct Jobs {
    /// Each with the request that it answers by that.
    waiting: VecDeque<(Option<Request>, Job)>,
    /// The thread goes on and does nothing more.
    over: bool,
}

/// The request that a stopped thread is answering.
#[derive(Default)]
struct Running {
    seq: Option<i64>,
    cancelled: bool,
}

/// What became of a request that was to be cancelled.
pub(super) enum Cancelled {
    /// It had not begun, and is answered by whoever asked.
    Pending(Request),
    /// It answers for itself.
    Running,
    /// It is not there.
    Unknown,
}

impl Parked {
    /// Has the thread do something, unless it goes on already.
    pub(crate) fn give(&self, job: Job) {
        self.give_for(None, job);
    }

    /// Has the thread answer a request, or refuses it where the thread goes on already.
    pub(super) fn answer(&self, session: &Session, request: &Request, job: Job) {
        if !self.give_for(Some(request.clone()), job) {
            session.respond(request, Err(gone()));
        }
    }

    /// False when the thread goes on already.
    fn give_for(&self, request: Option<Request>, job: Job) -> bool {
        let mut jobs = self.jobs();
        if !jobs.over {
            jobs.waiting.push_back((request, job));
            self.ready.notify_one();
        }
        !jobs.over
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread take nothing more; the requests that came too late.
    fn close(&self) -> Vec<Request> {
        let mut jobs = self.jobs();
        jobs.over = true;
        let late = std::mem::take(&mut jobs.waiting);
        late.into_iter()
            .filter_map(|(request, _)| request)
            .collect()
    }

    /// Gives up a request of that number; the thread's own number is `ident`.
    pub(super) fn cancel(&self, py: Python<'_>, ident: u64, seq: i64) -> Cancelled {
        let mut jobs = self.jobs();
        let meant = |request: &Option<Request>| {
            let request = request.as_ref();
            request.is_some_and(|request| request.seq == seq)
        };
        let waiting = &mut jobs.waiting;
        let pending = waiting.iter().position(|(request, _)| meant(request));
        let pending = pending.and_then(|at| waiting.remove(at));
        drop(jobs);
        if let Some((Some(request), _)) = pending {
            return Cancelled::Pending(request);
        }
        let mut running = self.running();
        if running.seq != Some(seq) {
            return Cancelled::Unknown;
        }
        running.cancelled = true;
        // What evaluates is not over as long as this is locked and the GIL is held.
        view::interrupt(py, ident);
        Cancelled::Running
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, seq: i64) {
        self.running().seq = Some(seq);
    }

    /// Whether the request was cancelled that has come to its end.
    fn finish(&self) -> bool {
        std::mem::take(&mut *self.running()).cancelled
    }

    fn take(&self) -> Job {
        let mut jobs = self.jobs();
        loop {
            if let Some((_, job)) = jobs.waiting.pop_front() {
                return job;
            }
            jobs = self
                .ready
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Why a thread stops, in the words of the protocol.
#[derive(Debug, Default)]
pub(crate) struct Why<'py> {
    /// `step`, `breakpoint`, `exception`, `pause`, `entry`, `goto`, `function breakpoint`, ...
    pub(crate) reason: &'static str,
    /// What the user reads.
    pub(crate) description: Option<String>,
    /// More about it.
    pub(crate) text: Option<String>,
    /// The breakpoints that were hit.
    pub(crate) hit: Vec<u64>,
    /// The exception, and how it is seen.
    pub(crate) exception: Option<(Bound<'py, PyAny>, &'static str)>,
    /// What calls have returned during the step that ends: the names of the functions, and the
    /// values.
    pub(crate) returned: Vec<(String, Bound<'py, PyAny>)>,
    /// Whether the client is not told: it has been told of the thread that stopped this one.
    pub(crate) silent: bool,
    /// Whether this thread was to stop wherever it is, and goes on where nobody wants that now.
    pub(crate) is_pause: bool,
}

thread_local! {
    /// Whether this thread passes through everything that would stop it.
    static SPARED: Cell<bool> = const { Cell::new(false) };
}

/// Says whether this thread stops at all.
pub(super) fn set_debugged(debugged: bool) {
    SPARED.set(!debugged);
}

/// Stops this thread at `frame` until the client has it go on.
///
/// Without a client it goes on at once.
pub(crate) fn park<'py>(frame: &Bound<'py, PyAny>, why: Why<'py>) -> PyResult<()> {
    let Some(session) = session::current().filter(|_| !SPARED.get()) else {
        return Ok(());
    };
    let py = frame.py();
    if holds_the_import_lock(frame) {
        return Ok(());
    }
    let ident = threads::number();
    let parked = Arc::new(Parked::default());
    let silent = why.silent;
    let is_pause = why.is_pause;
    let told = json!({
        "reason": why.reason,
        "description": why.description,
        "text": why.text,
        "hitBreakpointIds": why.hit,
        "threadId": session.thread_id(ident),
        "allThreadsStopped": session.stops_all(),
        "preserveFocusHint": false,
    });
    let go = {
        let mut scene = Scene::new(&session, frame, ident, why);
        if !session.enter(ident, &parked, || !is_pause || pause::is_still_asked()) {
            return Ok(());
        }
        if !silent {
            if session.stops_all() {
                pause::all_but(py, ident)?;
            }
            py.detach(|| {
                frame_eval::check_overhead(&session);
                session.event("stopped", without_nulls(told));
            });
        }
        let go = wait(&session, &mut scene, &parked);
        let late = parked.close();
        session.leave(ident);
        if !late.is_empty() {
            let refuse = |request| session.respond(request, Err(gone()));
            py.detach(|| late.iter().for_each(refuse));
        }
        go
    };
    match go {
        Go::Continue | Go::Jump => Ok(()),
        Go::Step(stride) => stops::begin(&session, frame, stride),
    }
}

/// What a request gets that means a stop which is over.
fn gone() -> Refusal {
    Refusal::new("the thread is running: what belongs to a stop is gone")
}

/// Whether a frame is the import system's own: a thread that stopped there would keep all others,
/// and the one that reads, from importing anything.
fn holds_the_import_lock(frame: &Bound<'_, PyAny>) -> bool {
    let code = tracing::code_of(frame);
    let file = code.getattr(name!("co_filename"));
    file.and_then(|file| file.eq("<frozen importlib._bootstrap>"))
        .unwrap_or(false)
}

fn wait(session: &Arc<Session>, scene: &mut Scene<'_>, parked: &Parked) -> Go {
    let py = scene.py();
    loop {
        if session.is_over() {
            return Go::Continue;
        }
        let job = py.detach(|| parked.take());
        // What is wrong with one request is no reason to lose the session.
        let done = catch_unwind(AssertUnwindSafe(|| job(scene)));
        if let Ok(Some(go)) = done {
            return go;
        }
    }
}

/// A body without the fields that have nothing to say.
pub(crate) fn without_nulls(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && *value != json!([]));
    }
    body
}

/// Shows the stack of a thread that is in native code: it runs nothing until the others go on.
fn visit(
    session: &Arc<Session>,
    ident: u64,
    request: &Request,
    answer: impl FnOnce(&mut Scene<'_>, &Request) -> super::protocol::Answer,
) -> super::protocol::Answer {
    let visited = try_attach(|py| {
        let _quiet = hit::Quiet::enter();
        let frames = py.import("sys")?.call_method0(name!("_current_frames"))?;
        let frame = frames.get_item(ident)?;
        let mut scene = Scene::new(session, &frame, ident, Why::default());
        Ok(answer(&mut scene, request))
    });
    let gone = |error: PyErr| Err(Refusal::new(format!("the thread has no stack: {error}")));
    let ended = || Err(Refusal::new("the program is at its end"));
    visited.map_or_else(ended, |answer| answer.unwrap_or_else(gone))
}

/// Has the stopped thread that a request means answer it.
pub(crate) fn ask(
    session: &Arc<Session>,
    ident: Option<u64>,
    request: Request,
    answer: impl FnOnce(&mut Scene<'_>, &Request) -> super::protocol::Answer + Send + 'static,
) {
    let parked = ident.and_then(|ident| session.await_parked(ident));
    let Some(parked) = parked else {
        if let Some(ident) = ident
            && request.command == "stackTrace"
        {
            return session.respond(&request, visit(session, ident, &request, answer));
        }
        return session.respond(&request, Err(gone()));
    };
    if let Some(refusal) = ident.and_then(stuck::refusal) {
        return session.respond(&request, Err(refusal));
    }
    if let Some(ident) = ident {
        session.progress.expect(session, ident, &request);
    }
    let (asking, session) = (session, Arc::clone(session));
    let (thread, asked) = (Arc::clone(&parked), request.clone());
    let job: Job = Box::new(move |scene| {
        thread.begin(request.seq);
        stuck::begin(&session, scene.ident(), &request);
        let asked = AssertUnwindSafe(|| answer(scene, &request));
        let answer = catch_unwind(asked);
        let py = scene.py();
        let answer = if thread.finish() {
            Err(Refusal::new("cancelled"))
        } else {
            answer.unwrap_or_else(|_| {
                Err(Refusal::new(
                    "an error of dapper's own; the program goes on",
                ))
            })
        };
        if stuck::finish(scene.ident()) {
            py.detach(|| session.respond(&request, answer));
        }
        None
    });
    if !parked.give_for(Some(asked.clone()), job) {
        if let Some(ident) = ident {
            asking.progress.forget(asking, ident);
        }
        asking.respond(&asked, Err(gone()));
    }
}
