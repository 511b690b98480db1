//! `launch` and `attach` in the process of the program.
//!
//! Owns what has to happen before the client configures: its settings are taken, and this process
//! begins to be one that is debugged.

use std::sync::Arc;

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Settings;
use super::frame_eval;
use super::listener;
use super::protocol::{Refusal, Request};
use super::redirect;
use super::session::{Session, lock};
use crate::ffi::attach::try_attach;
use crate::hit;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meant {
    sub_process_id: Option<u32>,
}

/// From here on the client may configure.
pub(super) fn begin(session: &Arc<Session>, request: &Request) {
    match settings(session, request) {
        Ok(settings) => {
            let arguments = match &request.arguments {
                Value::Null => json!({}),
                arguments => arguments.clone(),
            };
            let begun = try_attach(|py| frame_eval::begin(py, session, &arguments));
            if let Some(Err(refusal)) = begun {
                return session.respond(request, Err(refusal));
            }
            let redirects = settings.redirect_output;
            session.set_settings(settings);
            *lock(&session.started) = arguments;
            if let Some(Err(error)) = try_attach(|py| take_hold(py, session, redirects)) {
                hit::tell(&format!("the session lacks something: {error}"));
            }
            session.respond(request, Ok(Value::Null));
            session.event("initialized", Value::Null);
            listener::wake();
        }
        Err(refusal) => session.respond(request, Err(refusal)),
    }
}

fn settings(session: &Session, request: &Request) -> Result<Settings, Refusal> {
    if session.has_started() {
        return Err(Refusal::new(format!(
            "{} was asked for already in this session",
            request.command
        )));
    }
    let meant: Meant = request.arguments()?;
    if let Some(pid) = meant.sub_process_id
        && pid != std::process::id()
    {
        return Err(Refusal::shown(format!(
            "process {pid} is not waiting for a debugger: it has ended, or it is debugged already"
        )));
    }
    let mut settings: Settings = request.arguments()?;
    settings.resolve();
    Ok(settings)
}

/// What is in the program while there is a client, and goes with it.
fn take_hold(py: Python<'_>, session: &Session, redirects: bool) -> PyResult<()> {
    let _quiet = hit::Quiet::enter();
    session.follow(py)?;
    if redirects {
        redirect::begin(py)?;
    }
    Ok(())
}
