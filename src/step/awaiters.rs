//! Who goes on when a coroutine is done that an event loop runs.
//!
//! A coroutine that another one awaits is called by it, and its frame says so. That of a task is
//! called by the event loop; the one who goes on is the coroutine that waits for the task, which
//! the tasks of `asyncio` know, or else the code that runs the loop.

use pyo3::prelude::*;

use super::{skips, walk};
use crate::ffi::name::{Name, name};
use crate::ffi::tracing;

/// The packages of event loops, and of what they run coroutines with.
const EVENT_LOOPS: [&str; 5] = ["asyncio", "selectors", "trio", "outcome", "curio"];

/// Whether a frame belongs to an event loop.
pub(super) fn is_event_loop(frame: &Bound<'_, PyAny>) -> bool {
    let name = frame
        .getattr(name!("f_globals"))
        .and_then(|globals| globals.get_item(name!("__name__")))
        .and_then(|name| name.extract::<String>());
    name.is_ok_and(|name| {
        let package = name.split('.').next().unwrap_or_default();
        EVENT_LOOPS.contains(&package)
    })
}

fn is_passed(frame: &Bound<'_, PyAny>) -> bool {
    is_event_loop(frame) || skips(&tracing::code_of(frame))
}

/// The frames that may go on when `frame`, called by the event loop from `caller`, has left.
pub(super) fn of<'py>(
    frame: &Bound<'py, PyAny>,
    caller: &Bound<'py, PyAny>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut frames = Vec::new();
    // A task that cannot be asked (another event loop's) leaves the code that runs the loop.
    if let Ok(waiting) = waiting(frame) {
        frames.extend(waiting);
    }
    let mut below = Some(caller.clone());
    while let Some(at) = below {
        if !is_passed(&at) {
            frames.push(at);
            break;
        }
        below = walk::back(&at)?;
    }
    Ok(frames)
}

/// The innermost frames of the tasks that wait for the running one.
fn waiting<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let asyncio = frame.py().import("asyncio")?;
    let task = asyncio.call_method0(name!("current_task"))?;
    let mut frames = Vec::new();
    if task.is_none() {
        return Ok(frames);
    }
    for other in asyncio.call_method0(name!("all_tasks"))?.try_iter()? {
        let other = other?;
        let awaited = other.getattr(name!("_fut_waiter"))?;
        if is_awaited(&awaited, &task) {
            frames.extend(innermost(&other.call_method0(name!("get_coro"))?)?);
        }
    }
    Ok(frames)
}

/// The innermost frame of a suspended coroutine that is not passed through.
fn innermost<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let frames = frames(coroutine)?;
    Ok(frames.into_iter().rev().find(|frame| !is_passed(frame)))
}

/// Whether what a task waits for is `task`, or what `gather` returned for it and others.
pub(crate) fn is_awaited(awaited: &Bound<'_, PyAny>, task: &Bound<'_, PyAny>) -> bool {
    awaited.is(task)
        || awaited
            .getattr(name!("_children"))
            .and_then(|children| children.contains(task))
            .unwrap_or(false)
}

/// The frames of a coroutine that waits, the outermost first.
pub(crate) fn frames<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    static KINDS: [(Name, Name); 3] = [
        (Name::new("cr_frame"), Name::new("cr_await")),
        (Name::new("ag_frame"), Name::new("ag_await")),
        (Name::new("gi_frame"), Name::new("gi_yieldfrom")),
    ];
    let mut frames = Vec::new();
    let mut at = coroutine.clone();
    'deeper: loop {
        for (frame, awaited) in &KINDS {
            let Ok(frame) = at.getattr(frame) else {
                continue;
            };
            if frame.is_none() {
                break 'deeper;
            }
            frames.push(frame);
            at = at.getattr(awaited)?;
            continue 'deeper;
        }
        break;
    }
    Ok(frames)
}
