//! Which code is the user's in this session, and why: `justMyCode`, `rules`, `dapper/explainFrame`.
//!
//! The first rule that fits decides; without one it is code outside of every library, where
//! `justMyCode` is on, and else all. Verdicts are kept by file for the session. Frames of the import
//! machinery and of dapper itself are nobody's, and are not shown.

use std::path::Path;
use std::sync::OnceLock;

use globset::GlobBuilder;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use serde::Deserialize;
use serde_json::json;

use crate::dap::parked::without_nulls;
use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::Scene;
use crate::dap::session::{self, Session, lock};
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::{registry, user_code};

/// Whether code is the user's, and why.
#[derive(Clone, Debug)]
pub(in crate::dap) struct Verdict {
    /// Whether it is.
    pub(in crate::dap) mine: bool,
    reason: String,
    /// The number of the rule that decided.
    rule: Option<usize>,
}

/// The folder of dapper's own Python code.
static OWN_FOLDER: OnceLock<String> = OnceLock::new();

/// Notes where dapper's own Python code is: where this function of its is.
pub(in crate::dap) fn note_own(function: &Bound<'_, PyAny>) {
    let file = function
        .getattr(name!("__code__"))
        .and_then(|code| code.getattr(name!("co_filename"))?.extract::<String>());
    if let Ok(file) = file
        && let Some(folder) = Path::new(&file).parent()
    {
        let folder = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
        let _ = OWN_FOLDER.set(folder);
    }
}

/// Whether frames of this file are not shown.
pub(in crate::dap) fn is_hidden(file: &str) -> bool {
    file.starts_with("<frozen importlib")
        || file.starts_with("<frozen runpy")
        || OWN_FOLDER
            .get()
            .is_some_and(|folder| file.starts_with(folder))
}

/// Whether frames of this code are not shown.
pub(in crate::dap) fn hides(code: &Bound<'_, PyAny>) -> bool {
    let file = code.getattr(name!("co_filename"));
    file.is_ok_and(|file| file.extract::<&str>().is_ok_and(is_hidden))
}

/// Whether code is the user's, and why.
pub(in crate::dap) fn verdict(session: &Session, code: &Bound<'_, PyAny>) -> PyResult<Verdict> {
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    if let Some(known) = lock(&session.points).verdicts.get(&file) {
        return Ok(known.clone());
    }
    let verdict = judge(session, code, &file)?;
    let mut points = lock(&session.points);
    points.verdicts.insert(file, verdict.clone());
    Ok(verdict)
}

fn judge(session: &Session, code: &Bound<'_, PyAny>, file: &str) -> PyResult<Verdict> {
    let py = code.py();
    let settings = session.settings();
    let verdict = |mine, reason: String, rule| Verdict { mine, reason, rule };
    if is_hidden(file) {
        let reason = "the import machinery and dapper itself are never shown";
        return Ok(verdict(false, reason.to_owned(), None));
    }
    for (number, rule) in settings.rules.iter().enumerate() {
        let fits = match (&rule.path, &rule.module) {
            (Some(pattern), _) => fits_path(pattern, file),
            (None, Some(module)) => fits_module(py, module, file)?,
            (None, None) => false,
        };
        if fits {
            let what = rule.path.as_ref().or(rule.module.as_ref());
            let reason = format!(
                "rule {} ({}) {} it",
                number + 1,
                what.map_or("", String::as_str),
                if rule.include { "includes" } else { "excludes" }
            );
            return Ok(verdict(rule.include, reason, Some(number + 1)));
        }
    }
    if !settings.just_my_code {
        return Ok(verdict(true, "justMyCode is off".to_owned(), None));
    }
    let mine = user_code::is_user(code)?;
    let reason = if mine {
        "its file is in no library folder"
    } else if file.starts_with('<') {
        "it is part of the interpreter (justMyCode)"
    } else {
        "its file is in a library folder (justMyCode)"
    };
    Ok(verdict(mine, reason.to_owned(), None))
}

fn fits_path(pattern: &str, file: &str) -> bool {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let Ok(glob) = glob else {
        return pattern == file;
    };
    let glob = glob.compile_matcher();
    glob.is_match(file)
        || (!registry::is_pseudo(file) && glob.is_match(&*registry::file_name(file)))
}

/// Whether the module of a file is that module, or one of that package.
fn fits_module(py: Python<'_>, module: &str, file: &str) -> PyResult<bool> {
    let package = format!("{module}.");
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    for (name, loaded) in modules.cast_into::<PyDict>()? {
        let Ok(name) = name.extract::<&str>() else {
            continue;
        };
        if name != module && !name.starts_with(&package) {
            continue;
        }
        let Ok(loaded) = loaded.cast_into::<PyModule>() else {
            continue;
        };
        let other = loaded.dict().get_item("__file__")?;
        if other.is_some_and(|other| other.extract::<&str>().is_ok_and(|other| other == file)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether code is the user's in the session that there is.
pub(super) fn is_mine(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    match session::current() {
        Some(session) => Ok(verdict(&session, code)?.mine),
        None => user_code::is_user(code),
    }
}

/// Says of a code object whether it is the user's.
#[pyclass(frozen, module = "dapper._engine")]
pub(super) struct Mine;

#[pymethods]
impl Mine {
    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    fn __call__(&self, code: &Bound<'_, PyAny>) -> PyResult<bool> {
        is_mine(code)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    frame_id: i64,
}

/// `dapper/explainFrame`
pub(in crate::dap) fn explain(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let index = scene.frame_of(wanted.frame_id)?;
    let code = tracing::code_of(&scene.frame(index).frame);
    let said = verdict(scene.session(), &code).map_err(|error| failed(&error))?;
    let file = code
        .getattr(name!("co_filename"))
        .and_then(|file| file.extract());
    let file: String = file.map_err(|error| failed(&error))?;
    Ok(without_nulls(json!({
        "frameId": wanted.frame_id,
        "path": scene.session().settings().local(&file),
        "isMine": said.mine,
        "isSteppedInto": said.mine,
        "reason": said.reason,
        "rule": said.rule,
    })))
}
