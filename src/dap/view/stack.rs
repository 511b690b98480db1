//! `threads` and `stackTrace`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;
use serde_json::{Value, json};

use super::frame_name::{self, FrameFormat};
use super::guard::Patience;

use super::{names, sources};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::Scene;
use crate::dap::session::Session;
use crate::dap::stops::{self, tasks::Link};
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::log::loaded_module;
use crate::registry;

/// What Python raised while something was looked at.
pub(in crate::dap) fn failed(error: &PyErr) -> Refusal {
    Refusal::new(error.to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StackTraceArguments {
    #[serde(default)]
    thread_id: i64,
    #[serde(default)]
    start_frame: usize,
    #[serde(default)]
    levels: usize,
    format: Option<FrameFormat>,
}

/// `threads`: those that run Python code, with the names that they have now.
pub(super) fn threads(py: Python<'_>, session: &Session, _request: &Request) -> Answer {
    let list = || -> PyResult<Vec<Value>> {
        let running = py.import("sys")?.call_method0(name!("_current_frames"))?;
        let mut idents: Vec<u64> = Vec::new();
        for ident in running.cast::<PyDict>()?.keys() {
            idents.push(ident.extract()?);
        }
        // The main thread is the oldest, and the client's first.
        idents.reverse();
        let main = main_thread(py);
        idents.sort_by_key(|ident| Some(*ident) != main);
        let mut threads = Vec::new();
        for ident in idents {
            let id = session.thread_id(ident);
            let name = name_of(py, ident)?.unwrap_or_else(|| {
                if Some(ident) == main {
                    "MainThread".to_owned()
                } else {
                    format!("Thread {id}")
                }
            });
            threads.push(json!({"id": id, "name": name}));
        }
        threads.extend(stops::tasks::list(py, session)?);
        Ok(threads)
    };
    let threads = list().map_err(|error| failed(&error))?;
    Ok(json!({"threads": threads}))
}

fn main_thread(py: Python<'_>) -> Option<u64> {
    let threading = loaded_module(py, "threading")?;
    let main = threading.getattr(name!("_main_thread")).ok()?;
    main.getattr(name!("_ident")).ok()?.extract().ok()
}

/// What `threading` calls a thread.
fn name_of(py: Python<'_>, ident: u64) -> PyResult<Option<String>> {
    let Some(threading) = loaded_module(py, "threading") else {
        return Ok(None);
    };
    let active = threading.getattr(name!("_active"))?.cast_into::<PyDict>()?;
    let Some(thread) = active.get_item(ident)? else {
        return Ok(None);
    };
    thread.getattr(name!("_name"))?.extract()
}

/// `stackTrace`
pub(super) fn stack_trace(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: StackTraceArguments = request.arguments()?;
    let levels = if wanted.levels == 0 {
        usize::MAX
    } else {
        wanted.levels
    };
    let end = wanted.start_frame.saturating_add(levels);
    if stops::tasks::is_task(wanted.thread_id) {
        return task_stack(scene, &wanted, end);
    }
    // One more says whether there are more.
    let there = scene
        .frames(end.saturating_add(1))
        .map_err(|error| failed(&error))?
        .len();
    let mut frames = Vec::new();
    let format = wanted.format.unwrap_or_default();
    let mut patience = Patience::default();
    for index in wanted.start_frame..end.min(there) {
        let told = frame(scene, index, format, &mut patience);
        frames.push(told.map_err(|error| failed(&error))?);
    }
    Ok(json!({"stackFrames": frames, "totalFrames": there}))
}

/// The stack of a task that waits, and of those that wait for it.
fn task_stack(scene: &mut Scene<'_>, wanted: &StackTraceArguments, end: usize) -> Answer {
    let links = stops::tasks::stack(scene, wanted.thread_id)?;
    let there = links.len();
    let mut frames = Vec::new();
    let format = wanted.format.unwrap_or_default();
    let mut patience = Patience::default();
    for link in links.into_iter().take(end).skip(wanted.start_frame) {
        frames.push(match link {
            Link::Frame(awaiting) => {
                let index = scene.put_aside(awaiting);
                frame(scene, index, format, &mut patience).map_err(|error| failed(&error))?
            }
            Link::Label(text) => json!({
                "id": scene.idle_id(),
                "name": text,
                "line": 0,
                "column": 0,
                "presentationHint": "label",
            }),
        });
    }
    Ok(json!({"stackFrames": frames, "totalFrames": there}))
}

fn frame(
    scene: &mut Scene<'_>,
    index: usize,
    format: FrameFormat,
    patience: &mut Patience,
) -> PyResult<Value> {
    let id = scene.frame_id(index);
    let session = scene.session();
    let shown = scene.frame(index);
    let code = tracing::code_of(&shown.frame);
    let py = code.py();
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    let line = session.client().line(shown.line());
    let name = frame_name::of_frame(&shown.frame, line, format, patience)?;
    let column = u32::from(session.client().columns_start_at_1);
    let globals = names::globals(&shown.frame).ok();
    let mut source = sources::of_code(session, &file, globals.as_ref(), py);
    let mut frame = json!({"id": id, "name": name, "line": line, "column": column});
    if !stops::verdict(session, &code)?.mine {
        frame["presentationHint"] = "subtle".into();
        source["presentationHint"] = "deemphasize".into();
    }
    frame["source"] = source;
    frame["canRestart"] =
        (index == 0 && scene.why.exception.is_none() && stops::can_restart(&code)?).into();
    frame["instructionPointerReference"] = stops::pointer(session, &shown.frame, &code)?.into();
    Ok(frame)
}

/// A file of the program's as the client knows it.
pub(in crate::dap) fn source_of(session: &Session, file: &str) -> Value {
    if registry::is_pseudo(file) {
        return match sources::number_of(session, file) {
            Some(number) => json!({"name": file, "sourceReference": number}),
            None => json!({"name": file}),
        };
    }
    let known = registry::file_name(file);
    let path = session.settings().local(&known);
    let name = path.rsplit(['/', '\\']).next().unwrap_or(&path);
    json!({"name": name, "path": path})
}
