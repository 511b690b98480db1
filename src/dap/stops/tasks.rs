//! Tasks of `asyncio` as threads of their own, with the chain of what they await.
//!
//! A task that waits has no thread: its frames are those of its coroutine and of what that awaits,
//! and below them those of the tasks that wait for it. The client knows it by a number as long as
//! it lives; what it asks of one is answered by the thread of its event loop, while that is
//! stopped. The task that runs is its thread.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};

use crate::dap::protocol::Refusal;
use crate::dap::scene::Scene;
use crate::dap::session::{Session, lock};
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::log::loaded_module;
use crate::step::awaiters;

/// Numbers from here on are those of tasks.
const FIRST: i64 = 1 << 40;

/// A task that the client was told of.
pub(super) struct KnownTask {
    id: i64,
    /// A weak reference to it.
    task: Py<PyAny>,
    /// The thread of its event loop.
    ident: u64,
}

/// A frame of a task's stack, or the word that comes between two stacks.
pub(in crate::dap) enum Link<'py> {
    Frame(Bound<'py, PyAny>),
    Label(String),
}

/// The tasks that wait, as threads; nothing where the program does not use `asyncio`.
pub(in crate::dap) fn list(py: Python<'_>, session: &Session) -> PyResult<Vec<Value>> {
    let Some(asyncio) = loaded_module(py, "asyncio") else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (ident, event_loop) in loops(py)? {
        let current = asyncio.call_method1(name!("current_task"), (&event_loop,))?;
        for task in asyncio
            .call_method1(name!("all_tasks"), (&event_loop,))?
            .try_iter()?
        {
            let task = task?;
            if !task.is(&current) {
                found.push((ident, task));
            }
        }
    }
    let mut threads: Vec<(i64, String)> = Vec::new();
    for (ident, task) in found {
        let id = number(py, session, ident, &task)?;
        threads.push((id, name(&task)?));
    }
    threads.sort_unstable();
    Ok(threads
        .into_iter()
        .map(|(id, name)| json!({"id": id, "name": name}))
        .collect())
}

/// The event loops that run, with their threads: the loop is what `run_forever` was called on.
fn loops(py: Python<'_>) -> PyResult<Vec<(u64, Bound<'_, PyAny>)>> {
    let threads = py.import("sys")?.call_method0(name!("_current_frames"))?;
    let mut found = Vec::new();
    for (ident, top) in threads.cast_into::<PyDict>()? {
        let mut frame = top;
        while !frame.is_none() {
            let code = tracing::code_of(&frame);
            if code.getattr(name!("co_name"))?.eq("run_forever")?
                && let Ok(event_loop) = frame.getattr(name!("f_locals"))?.get_item("self")
                && event_loop.hasattr(name!("call_soon"))?
            {
                found.push((ident.extract()?, event_loop));
                break;
            }
            frame = frame.getattr(name!("f_back"))?;
        }
    }
    Ok(found)
}

fn name(task: &Bound<'_, PyAny>) -> PyResult<String> {
    let name: String = task.call_method0(name!("get_name"))?.extract()?;
    let coroutine = task.call_method0(name!("get_coro"))?;
    let function = coroutine.getattr(name!("__qualname__"));
    Ok(
        match function.and_then(|function| function.extract::<String>()) {
            Ok(function) => format!("{name} ({function})"),
            Err(_) => name,
        },
    )
}

fn number(py: Python<'_>, session: &Session, ident: u64, task: &Bound<'_, PyAny>) -> PyResult<i64> {
    let weak = py
        .import("weakref")?
        .call_method1(name!("ref"), (task,))?
        .unbind();
    let known: Vec<(i64, Py<PyAny>)> = {
        let points = lock(&session.points);
        let known = points.tasks.iter();
        known.map(|one| (one.id, one.task.clone_ref(py))).collect()
    };
    let mut gone = Vec::new();
    for (id, other) in known {
        let other = other.bind(py).call0()?;
        if other.is(task) {
            return Ok(id);
        }
        if other.is_none() {
            gone.push(id);
        }
    }
    let mut points = lock(&session.points);
    points.tasks.retain(|one| !gone.contains(&one.id));
    points.last_task += 1;
    let id = FIRST + points.last_task;
    points.tasks.push(KnownTask {
        id,
        task: weak,
        ident,
    });
    Ok(id)
}

/// Whether a number is that of a task.
pub(in crate::dap) fn is_task(id: i64) -> bool {
    id > FIRST
}

/// The thread that runs the event loop of a task.
pub(in crate::dap) fn thread_of(session: &Session, id: i64) -> Option<u64> {
    let points = lock(&session.points);
    let found = points.tasks.iter().find(|one| one.id == id);
    found.map(|one| one.ident)
}

/// The stack of a task, the innermost frame first.
pub(in crate::dap) fn stack<'py>(scene: &Scene<'py>, id: i64) -> Result<Vec<Link<'py>>, Refusal> {
    let py = scene.py();
    let task = {
        let points = lock(&scene.session().points);
        let found = points.tasks.iter().find(|one| one.id == id);
        found.map(|one| one.task.clone_ref(py))
    };
    let gone = || Refusal::new("there is no such task any more");
    let task = task.ok_or_else(gone)?;
    let task = task.bind(py).call0().map_err(|error| failed(&error))?;
    if task.is_none() {
        return Err(gone());
    }
    chain(&task).map_err(|error| failed(&error))
}

fn chain<'py>(task: &Bound<'py, PyAny>) -> PyResult<Vec<Link<'py>>> {
    let mut links = Vec::new();
    let mut seen: Vec<Bound<'py, PyAny>> = Vec::new();
    let mut next = Some(task.clone());
    while let Some(task) = next {
        let mut frames = awaiters::frames(&task.call_method0(name!("get_coro"))?)?;
        frames.reverse();
        links.extend(frames.into_iter().map(Link::Frame));
        seen.push(task.clone());
        next = None;
        for waiting in waiting(&task)? {
            if !seen.iter().any(|one| one.is(&waiting)) {
                links.push(Link::Label(format!("awaited by {}", name(&waiting)?)));
                next = Some(waiting);
                break;
            }
        }
    }
    Ok(links)
}

/// The tasks that wait for a task: what the interpreter says (3.14), or what they wait for.
fn waiting<'py>(task: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut found = Vec::new();
    if let Ok(known) = task.getattr(name!("_asyncio_awaited_by")) {
        if !known.is_none() {
            for waiting in known.try_iter()? {
                let waiting = waiting?;
                if waiting.hasattr(name!("get_coro"))? {
                    found.push(waiting);
                }
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let event_loop = task.call_method0(name!("get_loop"))?;
    let asyncio = task.py().import("asyncio")?;
    for other in asyncio
        .call_method1(name!("all_tasks"), (event_loop,))?
        .try_iter()?
    {
        let other = other?;
        let Ok(awaited) = other.getattr(name!("_fut_waiter")) else {
            continue;
        };
        if awaiters::is_awaited(&awaited, task) {
            found.push(other);
        }
    }
    Ok(found)
}
