//! `threads`, `stackTrace` and `scopes`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::{Held, Scene, Scope};
use crate::dap::session::Session;
use crate::dap::stops;
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
    start_frame: usize,
    #[serde(default)]
    levels: usize,
}

/// `threads`: those that run Python code, with the names that they have now.
pub(in crate::dap) fn threads(py: Python<'_>, session: &Session, _request: &Request) -> Answer {
    let list = || -> PyResult<Vec<Value>> {
        let running = py.import("sys")?.call_method0("_current_frames")?;
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
        Ok(threads)
    };
    let threads = list().map_err(|error| failed(&error))?;
    Ok(json!({"threads": threads}))
}

fn main_thread(py: Python<'_>) -> Option<u64> {
    let threading = loaded_module(py, "threading")?;
    let main = threading.getattr("_main_thread").ok()?;
    main.getattr("_ident").ok()?.extract().ok()
}

/// What `threading` calls a thread.
fn name_of(py: Python<'_>, ident: u64) -> PyResult<Option<String>> {
    let Some(threading) = loaded_module(py, "threading") else {
        return Ok(None);
    };
    let active = threading.getattr("_active")?.cast_into::<PyDict>()?;
    let Some(thread) = active.get_item(ident)? else {
        return Ok(None);
    };
    thread.getattr("_name")?.extract()
}

/// `stackTrace`
pub(in crate::dap) fn stack_trace(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: StackTraceArguments = request.arguments()?;
    let levels = if wanted.levels == 0 {
        usize::MAX
    } else {
        wanted.levels
    };
    let end = wanted.start_frame.saturating_add(levels);
    // One more says whether there are more.
    let there = scene
        .frames(end.saturating_add(1))
        .map_err(|error| failed(&error))?
        .len();
    let mut frames = Vec::new();
    for index in wanted.start_frame..end.min(there) {
        frames.push(frame(scene, index).map_err(|error| failed(&error))?);
    }
    Ok(json!({"stackFrames": frames, "totalFrames": there}))
}

fn frame(scene: &mut Scene<'_>, index: usize) -> PyResult<Value> {
    let id = scene.frame_id(index);
    let session = scene.session();
    let shown = scene.frame(index);
    let code = tracing::code_of(&shown.frame);
    let py = code.py();
    let file: String = code.getattr(pyo3::intern!(py, "co_filename"))?.extract()?;
    let name: String = code.getattr(pyo3::intern!(py, "co_qualname"))?.extract()?;
    let line = session.client().line(shown.line());
    let column = u32::from(session.client().columns_start_at_1);
    let mut source = source_of(session, &file);
    let mut frame = json!({"id": id, "name": name, "line": line, "column": column});
    if !stops::verdict(session, &code)?.mine {
        frame["presentationHint"] = "subtle".into();
        source["presentationHint"] = "deemphasize".into();
    }
    frame["source"] = source;
    Ok(frame)
}

/// A file of the program's as the client knows it.
pub(in crate::dap) fn source_of(session: &Session, file: &str) -> Value {
    if registry::is_pseudo(file) {
        return json!({"name": file});
    }
    let known = registry::file_name(file);
    let path = session.settings().local(&known);
    let name = path.rsplit(['/', '\\']).next().unwrap_or(&path);
    json!({"name": name, "path": path})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopesArguments {
    frame_id: i64,
}

/// `scopes`
pub(in crate::dap) fn scopes(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: ScopesArguments = request.arguments()?;
    let index = scene.frame_of(wanted.frame_id)?;
    let locals = scene.hold(Held::Scope(index, Scope::Locals));
    let globals = scene.hold(Held::Scope(index, Scope::Globals));
    Ok(json!({"scopes": [
        {
            "name": "Locals",
            "presentationHint": "locals",
            "variablesReference": locals,
            "expensive": false,
        },
        {
            "name": "Globals",
            "variablesReference": globals,
            "expensive": false,
        },
    ]}))
}
