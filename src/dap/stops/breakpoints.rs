//! Breakpoints as the client sets them: all of a file at once.
//!
//! Owns which breakpoints are the client's. One that is asked for again as it was stays as it is,
//! hits included. What a breakpoint says of itself (verified, its line, why not) is what the engine
//! knows, and when that changes later the client is told; `places` adds what the file says.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::data::{self, DataPoints};
use super::disassembly::{self, Codes};
use super::jumps;
use super::log_output;
use super::mine::Verdict;
use super::places::{FileFacts, Source, named_function};
use super::tasks::KnownTask;
use crate::breakpoint::{Breakpoint, Kind};
use crate::dap::frame_eval;
use crate::dap::parked::{Why, park, without_nulls};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::session::{Session, lock};
use crate::dap::view::{failed, source_of};
use crate::hit::Hit;
use crate::request::{Place, Purity, Request as Wish, Terms};
use crate::{callback, condition, loaded, modules, registry, session};

thread_local! {
    /// Whether this thread sets breakpoints, and tells what becomes of them in its answer.
    static ANSWERS: Cell<bool> = const { Cell::new(false) };
}

/// The breakpoints of the client.
#[derive(Default)]
pub(crate) struct Points {
    /// By the file that the client named, and what it asked for there.
    by_file: HashMap<Arc<str>, Vec<Point>>,
    functions: Vec<Point>,
    /// Which code is the user's, by file.
    pub(in crate::dap) verdicts: HashMap<String, Verdict>,
    /// Tasks that the client was told of.
    pub(super) tasks: Vec<KnownTask>,
    pub(super) last_task: i64,
    /// Lines that frames may be sent to, by the number that the client has of them.
    pub(super) goto_targets: Vec<(Arc<str>, u32)>,
    /// Variables and attributes that may be looked at.
    pub(super) data: DataPoints,
    /// Code whose instructions have addresses.
    pub(super) codes: Codes,
}

impl Points {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Breakpoint>> {
        let points = self.by_file.values().flatten().chain(&self.functions);
        points.map(|point| &point.breakpoint)
    }
}

struct Point {
    asked: Asked,
    breakpoint: Arc<Breakpoint>,
}

/// One breakpoint of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, rename_all = "camelCase")]
struct Asked {
    line: u32,
    column: Option<u32>,
    name: Option<String>,
    condition: Option<String>,
    hit_condition: Option<String>,
    log_message: Option<String>,
}

#[derive(Deserialize)]
struct SetArguments {
    source: Source,
    #[serde(default)]
    breakpoints: Vec<Asked>,
}

#[derive(Deserialize)]
struct SetFunctionArguments {
    breakpoints: Vec<Asked>,
}

/// Called at a hit.
#[pyclass(frozen, module = "dapper._engine")]
struct Stopper {
    reason: &'static str,
}

#[pymethods]
impl Stopper {
    fn __call__(&self, hit: &Bound<'_, Hit>) -> PyResult<()> {
        let py = hit.py();
        let hit = hit.get();
        jumps::refuse_missed(py)?;
        let failed = hit
            .error(py)
            .map(|error| format!("its condition failed: {error}"));
        park(
            hit.frame(py),
            Why {
                reason: self.reason,
                hit: vec![hit.id()],
                text: failed.clone(),
                description: failed.map(|_| "Paused on breakpoint".to_owned()),
                ..Why::default()
            },
        )
    }
}

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(in crate::dap) fn prepare(py: Python<'_>) {
    py.get_type::<Stopper>();
}

fn blank(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).cloned()
}

impl Asked {
    /// A breakpoint that is armed with its file's others, or what is wrong with it.
    fn register(&self, py: Python<'_>, place: &Place) -> Result<Arc<Breakpoint>, Refusal> {
        let log_message = blank(self.log_message.as_ref());
        let kind = if log_message.is_some() {
            Kind::Log
        } else {
            Kind::Stop
        };
        let counts = frame_eval::evaluates_conditions();
        let given = |text: &Option<String>| blank(text.as_ref()).filter(|_| counts);
        let terms = Terms {
            condition: given(&self.condition),
            hit_condition: given(&self.hit_condition),
            log_message,
            ..Terms::default()
        };
        let place = registry::known_place(place);
        let wish = Wish::on_terms(&place, kind, &terms, Purity::Allow).map_err(Refusal::new)?;
        condition::check(py, &wish).map_err(|error| Refusal::new(error.value(py).to_string()))?;
        if wish.evaluates() {
            loaded::eval_frame_refusal(py);
        }
        let reason = if wish.function.is_some() {
            "function breakpoint"
        } else {
            "breakpoint"
        };
        let breakpoint = session::register(py, &place, wish);
        if kind == Kind::Stop {
            let stopper = Py::new(py, Stopper { reason }).map_err(|error| failed(&error))?;
            callback::set_callback(breakpoint.id, stopper.into_any());
        }
        Ok(breakpoint)
    }
}

fn remove(point: &Point) {
    callback::forget_callback(point.breakpoint.id);
    registry::remove(point.breakpoint.id);
}

/// Puts those of `asked` in that are not among `before`, and takes the others out.
fn exchange(
    py: Python<'_>,
    mut before: Vec<Point>,
    asked: Vec<Asked>,
    place: impl Fn(&Asked) -> Place,
) -> (Vec<Point>, Vec<Result<Arc<Breakpoint>, Refusal>>) {
    let mut kept = Vec::new();
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    for one in asked {
        let known = before.iter().position(|point| point.asked == one);
        wanted.push((known.map(|at| before.swap_remove(at)), one));
    }
    before.iter().for_each(remove);
    for (known, one) in wanted {
        let breakpoint = match known {
            Some(point) => Ok(point.breakpoint),
            None => one.register(py, &place(&one)),
        };
        if let Ok(breakpoint) = &breakpoint {
            kept.push(Point {
                asked: one,
                breakpoint: Arc::clone(breakpoint),
            });
        }
        results.push(breakpoint);
    }
    (kept, results)
}

/// Has what becomes of breakpoints meanwhile told in the answer alone.
fn answering<T>(set: impl FnOnce() -> T) -> T {
    ANSWERS.set(true);
    let result = set();
    ANSWERS.set(false);
    result
}

/// Has messages go to the client while it has breakpoints that log.
fn follow_messages(py: Python<'_>, session: &Session) {
    let logs = lock(&session.points)
        .all()
        .any(|breakpoint| breakpoint.request.kind == Kind::Log);
    if let Some(session) = crate::dap::session::current() {
        log_output::follow(py, &session, logs);
    }
}

/// `setBreakpoints`
pub(in crate::dap) fn set(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    answering(|| set_in_file(py, session, request))
}

fn set_in_file(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: SetArguments = request.arguments()?;
    let path = wanted.source.path(session)?;
    let file = registry::file_name(&path);
    let mut asked = wanted.breakpoints;
    for one in &mut asked {
        let client = session.client();
        one.line = client.line_from(one.line);
        one.column = one.column.map(|column| client.column_from(column));
    }
    let before = lock(&session.points)
        .by_file
        .remove(&file)
        .unwrap_or_default();
    let ids = |points: &[Point]| points.iter().map(|point| point.breakpoint.id).collect();
    let ids_before: Vec<u64> = ids(&before);
    let place = |one: &Asked| Place::Line {
        file: path.clone(),
        line: one.line,
        column: one.column,
    };
    let (kept, results) = exchange(py, before, asked.clone(), place);
    let changed = ids_before != ids(&kept);
    if !kept.is_empty() {
        lock(&session.points)
            .by_file
            .insert(Arc::clone(&file), kept);
    }
    if changed {
        session.follow(py).map_err(|error| failed(&error))?;
        loaded::bind(py, &HashSet::from([Arc::clone(&file)])).map_err(|error| failed(&error))?;
        follow_messages(py, session);
    }
    let mut facts = None;
    let mut told_all: Vec<Value> = Vec::new();
    for (result, one) in results.iter().zip(&asked) {
        told_all.push(match result {
            Ok(breakpoint) => {
                let mut told = told(session, breakpoint);
                if breakpoint.whereabouts().tier.is_none() {
                    let facts = facts.get_or_insert_with(|| FileFacts::of(py, &file));
                    facts.complete(session, breakpoint, &mut told);
                } else if let Some(column) = one.column
                    && breakpoint.whereabouts().line() == Some(one.line)
                {
                    told["column"] = session.client().column(column).into();
                }
                told
            }
            Err(refusal) => {
                let mut told = refused(refusal);
                told["line"] = session.client().line(one.line).into();
                told
            }
        });
    }
    Ok(json!({"breakpoints": told_all}))
}

fn refused(refusal: &Refusal) -> Value {
    json!({"verified": false, "message": refusal.message, "reason": "failed"})
}

/// `setFunctionBreakpoints`
pub(in crate::dap) fn set_functions(
    py: Python<'_>,
    session: &Session,
    request: &Request,
) -> Answer {
    answering(|| set_on_functions(py, session, request))
}

fn set_on_functions(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: SetFunctionArguments = request.arguments()?;
    let before = std::mem::take(&mut lock(&session.points).functions);
    let mut concerned: HashSet<Arc<str>> = before
        .iter()
        .flat_map(|point| point.breakpoint.files())
        .collect();
    let place =
        |one: &Asked| Place::Function(named_function(py, one.name.as_deref().unwrap_or_default()));
    let (kept, results) = exchange(py, before, wanted.breakpoints, place);
    for point in &kept {
        let met = modules::meet_loaded(py, &point.breakpoint).map_err(|error| failed(&error))?;
        concerned.extend(met);
    }
    lock(&session.points).functions = kept;
    session.follow(py).map_err(|error| failed(&error))?;
    loaded::bind(py, &concerned).map_err(|error| failed(&error))?;
    let told: Vec<Value> = results
        .iter()
        .map(|result| match result {
            Ok(breakpoint) => told(session, breakpoint),
            Err(refusal) => refused(refusal),
        })
        .collect();
    Ok(json!({"breakpoints": told}))
}

/// A breakpoint as the client is told of it.
fn told(session: &Session, breakpoint: &Breakpoint) -> Value {
    let whereabouts = breakpoint.whereabouts();
    let verified = whereabouts.tier.is_some() && breakpoint.is_armed();
    let line = whereabouts.line().or_else(|| {
        let line = breakpoint.request.line;
        (line > 0).then_some(line)
    });
    let file = breakpoint.file();
    let source = (!file.is_empty()).then(|| source_of(session, &file));
    let message = match (whereabouts.tier, whereabouts.reason) {
        _ if !breakpoint.is_armed() => breakpoint.exhausted().map(str::to_owned),
        (Some(tier), Some(reason)) => Some(format!("{} ({reason})", tier.as_str())),
        (Some(_), None) => None,
        (None, reason) => reason,
    };
    let reason = match whereabouts.tier {
        _ if verified => None,
        Some(_) => Some("failed"),
        None => Some("pending"),
    };
    without_nulls(json!({
        "id": breakpoint.id,
        "verified": verified,
        "line": line.map(|line| session.client().line(line)),
        "source": source,
        "message": message,
        "reason": reason,
    }))
}

/// Tells the client what has become of one of its breakpoints.
pub(in crate::dap) fn changed(breakpoint: &Breakpoint) {
    if ANSWERS.get() {
        return;
    }
    let Some(session) = crate::dap::session::current() else {
        return;
    };
    let known = {
        let points = lock(&session.points);
        let mut all = points.all();
        all.any(|known| known.id == breakpoint.id)
    };
    if known {
        let told = told(&session, breakpoint);
        session.event(
            "breakpoint",
            json!({"reason": "changed", "breakpoint": told}),
        );
    }
}

impl Session {
    /// Takes out every breakpoint of the client.
    pub(in crate::dap) fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let points = std::mem::take(&mut *lock(&self.points));
        let mut files = HashSet::new();
        for point in points.by_file.values().flatten().chain(&points.functions) {
            files.extend(point.breakpoint.files());
            remove(point);
        }
        loaded::bind(py, &files)?;
        log_output::give_back(py);
        data::clear(py)?;
        disassembly::clear(py)?;
        super::exceptions::clear(py)
    }
}
