//! Where breakpoints can be, and why one is nowhere yet.
//!
//! Owns `breakpointLocations`, and the words that tell the user of a pending breakpoint what is
//! missing and what to do. What can be known of a file before it is loaded is read off its source.

use std::path::Path;
use std::sync::Arc;

use instrument::LineMap;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::breakpoint::Breakpoint;
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::session::{Session, lock};
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::{loaded, registry};

/// Where the client says that something is.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    path: Option<String>,
    name: Option<String>,
    #[serde(rename = "sourceReference")]
    reference: Option<i64>,
}

impl Source {
    /// The path by which the program knows the file.
    pub(super) fn path(&self, session: &Session) -> Result<String, Refusal> {
        let numbered = self.reference.filter(|number| *number > 0);
        if let Some(number) = numbered
            && let Some((file, _)) = lock(&session.sources).file(number)
        {
            return Ok(file.clone());
        }
        if let Some(path) = &self.path {
            return Ok(session.settings().remote(path));
        }
        let pseudo = self.name.as_ref().filter(|name| registry::is_pseudo(name));
        pseudo.cloned().ok_or_else(|| {
            Refusal::new("a breakpoint needs the path of its file, and the source names none")
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    source: Source,
    line: u32,
    end_line: Option<u32>,
}

/// `breakpointLocations`
pub(in crate::dap) fn locations(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let file = registry::file_name(&wanted.source.path(session)?);
    let map = loaded::line_map(py, &file).map_err(|error| failed(&error))?;
    let map = map.map_err(Refusal::new)?;
    let client = session.client().clone();
    let first = client.line_from(wanted.line);
    let last = wanted
        .end_line
        .map_or(first, |line| client.line_from(line).max(first));
    let text = std::fs::read_to_string(&*file).unwrap_or_default();
    let mut locations = Vec::new();
    for line in map.breakable() {
        if !(first..=last).contains(&line) {
            continue;
        }
        locations.push(json!({"line": client.line(line)}));
        for span in map.spans(line) {
            let column = characters(&text, line, span.start) + 1;
            locations.push(json!({"line": client.line(line), "column": client.column(column)}));
        }
    }
    Ok(json!({"breakpoints": locations}))
}

/// How many characters of a line lie in front of a column of UTF-8 bytes.
fn characters(text: &str, line: u32, column: u32) -> u32 {
    let line = text.lines().nth(line.saturating_sub(1) as usize);
    let before = line.and_then(|line| line.get(..column as usize));
    before.map_or(column, |before| {
        u32::try_from(before.chars().count()).unwrap_or(column)
    })
}

/// `module:qualname` of a function as users name it: a name alone is one of the main script.
pub(super) fn named_function(py: Python<'_>, name: &str) -> String {
    if name.is_empty() || name.contains(':') {
        return name.to_owned();
    }
    let is_loaded = |module: &str| {
        let modules = py
            .import("sys")
            .and_then(|sys| sys.getattr(name!("modules")));
        modules.is_ok_and(|modules| modules.contains(module).unwrap_or(false))
    };
    let dots = name.rmatch_indices('.').map(|(at, _)| at);
    for at in dots {
        if is_loaded(&name[..at]) {
            return format!("{}:{}", &name[..at], &name[at + 1..]);
        }
    }
    format!("__main__:{name}")
}

/// What can be said of a file whose breakpoints are nowhere yet.
pub(super) struct FileFacts {
    /// Why no breakpoint of it will ever be reached, and what to do.
    problem: Option<String>,
    /// A file of the same name that the program has loaded.
    namesake: Option<String>,
    map: Option<Arc<LineMap>>,
}

impl FileFacts {
    pub(super) fn of(py: Python<'_>, file: &Arc<str>) -> Self {
        let problem = problem(file);
        let map = match &problem {
            None => loaded::line_map(py, file).ok().and_then(Result::ok),
            Some(_) => None,
        };
        Self {
            problem,
            namesake: namesake(py, file).unwrap_or_default(),
            map,
        }
    }

    /// Adds to what is told of a breakpoint that is nowhere.
    pub(super) fn complete(&self, session: &Session, breakpoint: &Breakpoint, told: &mut Value) {
        let reason = breakpoint.whereabouts().reason;
        if let Some(problem) = &self.problem {
            told["reason"] = "failed".into();
            told["message"] = self.with_namesake(problem).into();
        } else if reason.as_deref() == Some(registry::NOT_LOADED) {
            let text = format!(
                "{}: it is verified when one is",
                reason.as_deref().unwrap_or_default()
            );
            told["message"] = self.with_namesake(&text).into();
            match self
                .map
                .as_ref()
                .map(|map| map.snap(breakpoint.request.line))
            {
                Some(Ok(line)) => told["line"] = session.client().line(line).into(),
                Some(Err(reason)) => {
                    told["reason"] = "failed".into();
                    told["message"] = reason.to_string().into();
                }
                None => {}
            }
        }
    }

    fn with_namesake(&self, text: &str) -> String {
        match &self.namesake {
            Some(other) => format!(
                "{text}; the program has loaded {other}: if that is the one, map its folder by \
                 pathMappings"
            ),
            None => text.to_owned(),
        }
    }
}

/// What keeps code of a file from being debugged, whatever the program loads.
fn problem(file: &str) -> Option<String> {
    if registry::is_pseudo(file) {
        return None;
    }
    let path = Path::new(file);
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "pyx" | "pxd" | "pxi" => {
            return Some(
                "Cython code is compiled to machine code, which has no lines to stop at: build \
                 it as plain Python (cython's pure mode), or use cygdb"
                    .to_owned(),
            );
        }
        "so" | "pyd" | "dylib" | "c" | "cpp" | "rs" => {
            return Some("this is no Python code: use a debugger for native code".to_owned());
        }
        _ => {}
    }
    let archive = path.ancestors().skip(1).find(|folder| folder.is_file());
    if let Some(archive) = archive {
        return Some(format!(
            "{} is an archive, and code in it cannot be changed: unpack it, and put the folder \
             in its place on sys.path",
            archive.display()
        ));
    }
    if !path.exists() {
        return Some(format!(
            "{file} does not exist where the program runs: check the path, or map the folder \
             by pathMappings"
        ));
    }
    None
}

/// A loaded file of the same name in another folder.
fn namesake(py: Python<'_>, file: &str) -> PyResult<Option<String>> {
    let name = Path::new(file).file_name();
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    for module in modules.cast_into::<PyDict>()?.values() {
        let Ok(module) = module.cast_into::<PyModule>() else {
            continue;
        };
        let Some(other) = module.dict().get_item("__file__")? else {
            continue;
        };
        let Ok(other) = other.extract::<String>() else {
            continue;
        };
        if Path::new(&other).file_name() == name && *registry::file_name(&other) != *file {
            return Ok(Some(other));
        }
    }
    Ok(None)
}
