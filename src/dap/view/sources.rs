//! `source` and `loadedSources`: text that the client cannot read from a file.
//!
//! Owns the numbers by which a client knows such sources: they are the same as long as the session
//! lasts, and name a file as the code objects do. The text is what `linecache` knows (consoles,
//! doctests, generated code) or what an importer of the standard library reads (archives).

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failed;
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::session::{Session, lock};
use crate::ffi::name::name;
use crate::log::loaded_module;
use crate::registry;

/// Packages whose importers run no code of the program.
const IMPORTERS: [&str; 4] = [
    "zipimport",
    "importlib",
    "_frozen_importlib_external",
    "_frozen_importlib",
];

/// The sources that have a number.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    numbers: HashMap<String, i64>,
    /// The file and the module of each number, from 1.
    known: Vec<(String, Option<String>)>,
}

impl Sources {
    /// The number of a file of that module; the same every time.
    fn number(&mut self, file: &str, module: Option<String>) -> i64 {
        if let Some(number) = self.numbers.get(file) {
            return *number;
        }
        self.known.push((file.to_owned(), module));
        let number = i64::try_from(self.known.len()).unwrap_or(i64::MAX);
        self.numbers.insert(file.to_owned(), number);
        number
    }

    /// The file that a number means, as its code objects name it.
    pub(crate) fn file(&self, number: i64) -> Option<&(String, Option<String>)> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.known.get(index)
    }
}

/// The source of code that runs in the module with these names, as the client knows it.
pub(super) fn of_code(
    session: &Session,
    file: &str,
    globals: Option<&Bound<'_, PyAny>>,
    py: Python<'_>,
) -> Value {
    let mut source = super::source_of(session, file);
    let number = number_of(session, file).or_else(|| {
        let is_file = !registry::is_pseudo(file) && std::path::Path::new(file).is_file();
        if is_file || !has_text(py, file, globals) {
            return None;
        }
        let module = globals
            .and_then(|globals| globals.get_item("__name__").ok())
            .and_then(|name| name.extract().ok());
        Some(lock(&session.sources).number(file, module))
    });
    if let Some(number) = number {
        source["sourceReference"] = number.into();
        source["origin"] = "in memory".into();
    }
    source
}

/// The number of a source that the client was told of.
pub(super) fn number_of(session: &Session, file: &str) -> Option<i64> {
    lock(&session.sources).numbers.get(file).copied()
}

fn cached<'py>(py: Python<'py>, file: &str) -> Option<Bound<'py, PyAny>> {
    let cache = loaded_module(py, "linecache")?
        .getattr(name!("cache"))
        .ok()?;
    let entry = cache.cast::<PyDict>().ok()?.get_item(file).ok()??;
    // An entry that is to be loaded has one field.
    (entry.len().ok()? == 4).then_some(entry)
}

fn importer<'py>(globals: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let importer = globals.get_item("__loader__").ok()?;
    let class = match importer.cast::<pyo3::types::PyType>() {
        Ok(class) => class.clone(),
        Err(_) => importer.get_type(),
    };
    let module = class.module().ok()?.to_string();
    let package = module.split('.').next().unwrap_or_default();
    (IMPORTERS.contains(&package) && importer.hasattr(name!("get_source")).ok()?)
        .then_some(importer)
}

fn has_text(py: Python<'_>, file: &str, globals: Option<&Bound<'_, PyAny>>) -> bool {
    if cached(py, file).is_some() {
        return true;
    }
    !file.starts_with("<frozen ")
        && globals.is_some_and(|globals| imported(globals, file).is_some())
}

/// What the importer of a module says its source is.
fn imported(globals: &Bound<'_, PyAny>, file: &str) -> Option<String> {
    let own = globals.get_item("__file__").ok()?;
    if own.extract::<String>().ok()? != file {
        return None;
    }
    let name = globals.get_item("__name__").ok()?;
    let importer = importer(globals)?;
    let text = importer.call_method1(name!("get_source"), (name,)).ok()?;
    text.extract().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    source_reference: i64,
    source: Option<Asked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    source_reference: Option<i64>,
    path: Option<String>,
}

/// `source`
pub(super) fn source(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let asked = wanted.source.as_ref();
    let number = asked
        .and_then(|source| source.source_reference)
        .filter(|number| *number != 0)
        .unwrap_or(wanted.source_reference);
    if number == 0 {
        let path = asked.and_then(|source| source.path.as_deref());
        let path = path.ok_or_else(|| Refusal::new("the request names no source"))?;
        let path = session.settings().remote(path);
        let text = std::fs::read(&path)
            .map_err(|error| Refusal::new(format!("the source {path} cannot be read: {error}")))?;
        return Ok(answer(&String::from_utf8_lossy(&text)));
    }
    let known = lock(&session.sources).file(number).cloned();
    let (file, module) =
        known.ok_or_else(|| Refusal::new(format!("there is no source {number}")))?;
    let text = text_of(py, &file, module.as_deref()).map_err(|error| failed(&error))?;
    let text = text.ok_or_else(|| Refusal::new(format!("the source of {file} is gone")))?;
    Ok(answer(&text))
}

fn answer(text: &str) -> Value {
    json!({"content": text, "mimeType": "text/x-python"})
}

fn text_of(py: Python<'_>, file: &str, module: Option<&str>) -> PyResult<Option<String>> {
    if let Some(entry) = cached(py, file) {
        let lines = entry.get_item(2)?.cast_into::<PyList>()?;
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.cast::<PyString>()?.to_string_lossy());
        }
        return Ok(Some(text));
    }
    let module = module.and_then(|name| loaded_module(py, name));
    Ok(match module {
        Some(module) => imported(&module.getattr(name!("__dict__"))?, file),
        None => None,
    })
}

/// `loadedSources`: the files of the modules that there are, and what the client was told of.
pub(super) fn loaded_sources(py: Python<'_>, session: &Session, _request: &Request) -> Answer {
    let mut files: Vec<String> = super::modules::loaded(py)
        .map_err(|error| failed(&error))?
        .into_iter()
        .filter_map(|module| module.file)
        .collect();
    files.sort_unstable();
    files.dedup();
    let mut sources: Vec<Value> = files
        .iter()
        .map(|file| super::source_of(session, file))
        .collect();
    let generated: Vec<(String, i64)> = {
        let known = lock(&session.sources);
        let mut all: Vec<_> = known.numbers.clone().into_iter().collect();
        all.sort_by_key(|(_, number)| *number);
        all
    };
    for (file, number) in generated {
        let mut source = super::source_of(session, &file);
        source["sourceReference"] = number.into();
        sources.push(source);
    }
    Ok(json!({"sources": sources}))
}
