//! `restartFrame`: a function begins once more, in the frame that it has.
//!
//! It is a goto to the first line of the body, by way of the line of the `def`, where no loop and no
//! `with` is under way: what the frame had begun is given up on the way, as by any goto. Arguments
//! and variables keep their present values, and the user is told so. Only the innermost frame can be
//! sent anywhere, and a generator or coroutine cannot begin twice.

use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;

use super::jumps::{Way, send};
use super::step_targets::instructions;
use crate::dap::protocol::{Refusal, Request};
use crate::dap::scene::Scene;
use crate::dap::session::Session;
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::ffi::tracing;

/// `CO_OPTIMIZED`: a function, and not a module or a class body.
const OPTIMIZED: u32 = 0x1;
/// `CO_GENERATOR`, `CO_COROUTINE`, `CO_ITERABLE_COROUTINE` and `CO_ASYNC_GENERATOR`.
const SUSPENDABLE: u32 = 0x20 | 0x80 | 0x100 | 0x200;
/// What the user reads at the stop.
const KEPT: &str = "Restarted: arguments and variables keep their present values";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    frame_id: i64,
}

/// `restartFrame`
pub(in crate::dap) fn restart(session: &Arc<Session>, request: &Request) {
    let refuse = |refusal| session.respond(request, Err(refusal));
    let wanted: Arguments = match request.arguments() {
        Ok(wanted) => wanted,
        Err(refusal) => return refuse(refusal),
    };
    let thread = session.owner_of(wanted.frame_id);
    let Some(parked) = thread.and_then(|ident| session.parked(ident)) else {
        return refuse(Refusal::new("the thread is not stopped"));
    };
    let (asked, request) = (request, request.clone());
    let job = Box::new(move |scene: &mut Scene<'_>| {
        let way = scene
            .frame_of(wanted.frame_id)
            .and_then(|index| way(scene, index));
        send(scene, &request, way)
    });
    parked.answer(session, asked, job);
}

/// How the frame of that number gets to its beginning.
fn way(scene: &Scene<'_>, index: usize) -> Result<Way, Refusal> {
    if index != 0 {
        return Err(Refusal::new(
            "only the innermost frame can be restarted: step out to it first",
        ));
    }
    let code = tracing::code_of(&scene.frame(0).frame);
    if !can_restart(&code).map_err(|error| failed(&error))? {
        return Err(Refusal::new(
            "only a function can be restarted, and no generator or coroutine",
        ));
    }
    let all = instructions(&code).map_err(|error| failed(&error))?;
    let mut from = all.iter().skip_while(|one| one.name != "RESUME");
    let above = from.next().and_then(|resume| resume.positions.0);
    let first = from.find_map(|one| one.positions.0);
    match (above, first) {
        (Some(above), Some(line)) if above != line => Ok(Way {
            via: Some(above),
            line,
            reason: "restart",
            description: Some(KEPT),
        }),
        _ => Err(Refusal::new(
            "its body is on the line of its def, where the interpreter tells of no beginning",
        )),
    }
}

/// Whether a frame of this code can be restarted while it is the innermost.
pub(in crate::dap) fn can_restart(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
    Ok(flags & OPTIMIZED != 0 && flags & SUSPENDABLE == 0)
}
