//! `gotoTargets` and `goto`: a frame goes on at another line.
//!
//! It is the interpreter that says whether it may: `frame.f_lineno` is assigned where it tells of a
//! line, and its refusal is the answer. A thread that stands in a probe is first sent back to where
//! the line of the probe begins; while it does that it is not stopped.

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::places::Source;
use super::step_targets::instructions;
use crate::dap::parked::{Go, Why, park, without_nulls};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::Scene;
use crate::dap::session::{Session, lock};
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::ffi::rewind::{self, Jumps};
use crate::ffi::{prove, tracing};
use crate::scoped::tool;
use crate::step::{self, Mode, Wish};
use crate::{loaded, registry};

/// A goto that is under way in this thread.
struct Jump {
    session: Arc<Session>,
    request: Request,
    way: Way,
}

/// Where a frame is sent, and how the client is told that it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// A line that it is sent to first.
    pub(super) via: Option<u32>,
    /// The line.
    pub(super) line: u32,
    /// Why it stops there.
    pub(super) reason: &'static str,
    /// What the user reads there.
    pub(super) description: Option<&'static str>,
}

impl Way {
    /// Sends a frame whose line is told of.
    fn take(self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(via) = self.via {
            step::jump(frame, via)?;
        }
        step::jump(frame, self.line)
    }
}

thread_local! {
    static JUMP: RefCell<Option<Jump>> = const { RefCell::new(None) };
}

#[derive(Deserialize)]
struct TargetsArguments {
    source: Source,
    line: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    thread_id: i64,
    target_id: usize,
}

/// `gotoTargets`
pub(in crate::dap) fn targets(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: TargetsArguments = request.arguments()?;
    let file = registry::file_name(&wanted.source.path(session)?);
    let line = session.client().line_from(wanted.line);
    let map = loaded::line_map(py, &file).map_err(|error| failed(&error))?;
    let line = map
        .map_err(Refusal::new)?
        .snap(line)
        .map_err(|reason| Refusal::new(reason.to_string()))?;
    let id = {
        let mut points = lock(&session.points);
        let mut known = points.goto_targets.iter();
        let known = known.position(|(other, at)| *other == file && *at == line);
        known.unwrap_or_else(|| {
            points.goto_targets.push((Arc::clone(&file), line));
            points.goto_targets.len() - 1
        })
    };
    let name = file.rsplit('/').next().unwrap_or(&file);
    let shown = session.client().line(line);
    Ok(json!({"targets": [{"id": id, "label": format!("{name}:{shown}"), "line": shown}]}))
}

/// `goto`
pub(in crate::dap) fn goto(session: &Arc<Session>, request: &Request) {
    let refuse = |refusal| session.respond(request, Err(refusal));
    let wanted: Arguments = match request.arguments() {
        Ok(wanted) => wanted,
        Err(refusal) => return refuse(refusal),
    };
    let thread = session.thread_of(wanted.thread_id);
    let Some(parked) = thread.and_then(|ident| session.parked(ident)) else {
        return refuse(Refusal::new("the thread is not stopped"));
    };
    let target = lock(&session.points)
        .goto_targets
        .get(wanted.target_id)
        .cloned();
    let Some((file, line)) = target else {
        return refuse(Refusal::new("there is no such target"));
    };
    let (asked, request) = (request, request.clone());
    let job = Box::new(move |scene: &mut Scene<'_>| {
        let way = own_line(scene, &file, line);
        send(scene, &request, way)
    });
    parked.answer(session, asked, job);
}

/// The way to a line of the innermost frame's file.
fn own_line(scene: &Scene<'_>, file: &str, line: u32) -> Result<Way, Refusal> {
    let code = tracing::code_of(&scene.frame(0).frame);
    let own: String = code
        .getattr(name!("co_filename"))
        .and_then(|own| own.extract())
        .map_err(|error| failed(&error))?;
    if *registry::file_name(&own) != *file {
        return Err(Refusal::new(
            "a frame goes on in its own function only, which is in another file",
        ));
    }
    Ok(Way {
        via: None,
        line,
        reason: "goto",
        description: None,
    })
}

/// Sends the innermost frame somewhere, and answers the request, at once or where it has landed.
pub(super) fn send(
    scene: &mut Scene<'_>,
    request: &Request,
    way: Result<Way, Refusal>,
) -> Option<Go> {
    let py = scene.py();
    let session = Arc::clone(scene.session());
    match way.and_then(|way| go(scene, request, way).map(|runs| (way, runs))) {
        Ok((_, true)) => return Some(Go::Jump),
        Ok((way, false)) => {
            let stopped = without_nulls(json!({
                "reason": way.reason,
                "description": way.description,
                "threadId": session.thread_id(scene.ident()),
                "allThreadsStopped": session.stops_all(),
            }));
            py.detach(|| {
                session.respond(request, Ok(Value::Null));
                session.event("stopped", stopped);
            });
        }
        Err(refusal) => py.detach(|| session.respond(request, Err(refusal))),
    }
    None
}

/// Sends the innermost frame somewhere; true where the thread has to run for it.
fn go(scene: &mut Scene<'_>, request: &Request, way: Way) -> Result<bool, Refusal> {
    let frame = scene.frame(0).frame.clone();
    let code = tracing::code_of(&frame);
    match way.take(&frame) {
        Ok(()) => Ok(false),
        Err(error) => match rewind_to_line(&frame, &code) {
            Ok(true) => {
                JUMP.set(Some(Jump {
                    session: Arc::clone(scene.session()),
                    request: request.clone(),
                    way,
                }));
                Ok(true)
            }
            Ok(false) => Err(failed(&error)),
            Err(other) => Err(failed(&other)),
        },
    }
}

/// Has a frame that stands in a probe go back to the beginning of its line when it goes on, where
/// that can be.
fn rewind_to_line(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = frame.py();
    let (Some(layout), None) = (prove::proved(), loaded::eval_frame_refusal(py)) else {
        return Ok(false);
    };
    let at: usize = frame.getattr(name!("f_lasti"))?.extract()?;
    let all = instructions(code)?;
    let Some(test) = all.iter().position(|instruction| instruction.offset == at) else {
        return Ok(false);
    };
    let (Some(load), Some(pop), Some(next)) = (
        test.checked_sub(1).map(|load| &all[load]),
        all.get(test + 1),
        all.get(test + 2),
    ) else {
        return Ok(false);
    };
    if !load.is_probe || pop.name != "POP_TOP" {
        return Ok(false);
    }
    // What was compiled in for the probe has its place in the source, and comes right before it.
    let mut start = load.offset;
    for instruction in all[..test - 1].iter().rev() {
        if instruction.positions != load.positions {
            break;
        }
        start = instruction.offset;
    }
    let line = load.positions.0;
    let reaches = |from: usize, to: usize| from.abs_diff(to) < 500;
    let between = all.iter().find(|instruction| {
        let other = instruction.positions.0;
        other.is_some()
            && other != line
            && reaches(instruction.offset, start)
            && reaches(instruction.offset, next.offset)
    });
    let mut way = vec![next.offset, start];
    if tool::is_available(py) {
        let Some(between) = between else {
            return Ok(false);
        };
        way.insert(1, between.offset);
    }
    let numbers = py.import("opcode")?.getattr(name!("opmap"))?;
    let number = |name: &str| numbers.get_item(name)?.extract();
    let jumps = Jumps {
        forward: number("JUMP_FORWARD")?,
        backward: number("JUMP_BACKWARD_NO_INTERRUPT")?,
    };
    begin(frame)?;
    let Some(rewound) = rewind::replace(code, layout, jumps, &way) else {
        step::cancel(py)?;
        return Ok(false);
    };
    step::keep(rewound);
    Ok(true)
}

/// Has the next line of `frame` land the jump.
fn begin(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    let wish = Wish {
        mode: Mode::Over,
        on_stop: Py::new(frame.py(), Landing)?.into_any(),
        skip: None,
        returns: false,
        exceptions: false,
        instructions: false,
        call: None,
        values: false,
    };
    step::run_on(frame, wish)
}

/// Called where the line of a probe begins once more.
#[pyclass(frozen, module = "dapper._engine")]
pub(super) struct Landing;

#[pymethods]
impl Landing {
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __call__(
        &self,
        frame: &Bound<'_, PyAny>,
        _event: &str,
        _argument: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = frame.py();
        let Some(jump) = JUMP.take() else {
            return Ok(());
        };
        let Jump {
            session,
            request,
            way,
        } = jump;
        let moved = way.take(frame);
        let text = moved
            .as_ref()
            .err()
            .map(|error| error.value(py).to_string());
        let answer = moved.map(|()| Value::Null).map_err(|error| failed(&error));
        py.detach(|| session.respond(&request, answer));
        let why = Why {
            reason: way.reason,
            description: way.description.map(str::to_owned),
            text,
            ..Why::default()
        };
        park(frame, why)
    }
}

/// A thread has reached a probe: a goto that should have landed by now is refused.
pub(super) fn refuse_missed(py: Python<'_>) -> PyResult<()> {
    if let Some(jump) = JUMP.take() {
        step::cancel(py)?;
        let refusal =
            PyValueError::new_err("the interpreter tells of no line here: step once first");
        py.detach(|| jump.session.respond(&jump.request, Err(failed(&refusal))));
    }
    Ok(())
}
