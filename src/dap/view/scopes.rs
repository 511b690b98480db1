//! `scopes`: the groups of variables that a frame has.

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failed;
use super::names;
use super::stack::source_of;
use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::{Held, Part, Scene, Scope};
use crate::ffi::name::name;
use crate::ffi::tracing;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    frame_id: i64,
}

/// `scopes`
pub(super) fn scopes(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let index = scene.frame_of(wanted.frame_id)?;
    let found = of_frame(scene, index).map_err(|error| failed(&error))?;
    Ok(json!({"scopes": found}))
}

fn of_frame(scene: &mut Scene<'_>, index: usize) -> PyResult<Vec<Value>> {
    let frame = scene.frame(index).frame.clone();
    let code = tracing::code_of(&frame);
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    let first: u32 = code.getattr(name!("co_firstlineno"))?.extract()?;
    let mut found = vec![("Locals", Some("locals"), Scope::Locals)];
    if !names::locals_of(&frame, true)?.is_empty() {
        found.push(("Closure", None, Scope::Cells));
    }
    if index == 0 && !scene.why.returned.is_empty() {
        found.push(("Return values", Some("returnValue"), Scope::Returned));
    }
    if index == 0 && scene.why.exception.is_some() {
        found.push(("Exception", None, Scope::Exception));
    }
    found.push(("Globals", Some("globals"), Scope::Globals));
    let told = found.into_iter().map(|(name, hint, scope)| {
        let reference = scene.hold(Held::Scope(index, scope, Part::Whole));
        let mut told = json!({
            "name": name,
            "variablesReference": reference,
            "expensive": false,
        });
        if let Some(hint) = hint {
            told["presentationHint"] = hint.into();
        }
        if scope == Scope::Locals {
            let session = scene.session();
            told["source"] = source_of(session, &file);
            told["line"] = session.client().line(first).into();
        }
        told
    });
    Ok(told.collect())
}
