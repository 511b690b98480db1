//! `completions`: what can stand where the cursor is in the console.
//!
//! Owns how the text before the cursor is read: a path of names and attributes is followed without
//! calling anything, so that looking for a name does not run the program.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFunction, PyModule, PyString, PyType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::contents::{self, Content};
use super::evaluate::{frame_of, thread_for};
use super::guard::refused;
use super::names;
use super::run::visible;
use crate::dap::parked::ask;
use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::Scene;
use crate::dap::session::Session;
use crate::ffi::name::name;

/// How many names are offered.
const MOST: usize = 1_000;

/// The keywords with which an expression or a statement may begin or go on.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    text: String,
    column: u32,
    line: Option<u32>,
    frame_id: Option<i64>,
}

/// A name that is offered, and what it is.
struct Offer {
    label: String,
    kind: &'static str,
}

/// `completions`: of a frame, or else of the main module.
pub(super) fn completions(session: &Arc<Session>, request: &Request) {
    let wanted: Arguments = match request.arguments() {
        Ok(wanted) => wanted,
        Err(refusal) => return session.respond(request, Err(refusal)),
    };
    let thread = thread_for(session, wanted.frame_id);
    ask(session, thread, request.clone(), in_thread);
}

fn in_thread(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let index = frame_of(scene, wanted.frame_id)?;
    let (line, column) = {
        let client = scene.session().client();
        (
            wanted.line.map_or(0, |line| client.line_from(line) - 1),
            client.column_from(wanted.column).saturating_sub(1),
        )
    };
    let text = wanted.text.lines().nth(line as usize).unwrap_or("");
    let before = before(text, column as usize);
    let asked = Asked::read(&before);
    let py = scene.py();
    let offers = offers(scene, index, &asked).map_err(|error| refused(py, &error))?;
    // Columns of clients count UTF-16 code units.
    let length = asked.prefix.encode_utf16().count();
    let start = before.encode_utf16().count() - length;
    let one = usize::from(scene.session().client().columns_start_at_1);
    let targets: Vec<Value> = offers
        .into_iter()
        .filter(|offer| offer.label.starts_with(&asked.prefix))
        .take(MOST)
        .map(|offer| {
            json!({
                "label": offer.label,
                "type": offer.kind,
                "start": start + one,
                "length": length,
            })
        })
        .collect();
    Ok(json!({"targets": targets}))
}

/// The text of a line before a column, which counts UTF-16 code units.
fn before(line: &str, column: usize) -> String {
    let mut units = 0;
    line.chars()
        .take_while(|character| {
            units += character.len_utf16();
            units <= column
        })
        .collect()
}

/// What the text before the cursor asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The path whose attributes or keys are asked for; none for names.
    path: Option<Vec<Step>>,
    /// What is there of the name or key.
    prefix: String,
    /// Whether a key is asked for.
    is_key: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(String),
}

impl Asked {
    fn read(before: &str) -> Self {
        let is_name = |one: char| one.is_alphanumeric() || one == '_';
        let rest = before.trim_end_matches(is_name);
        let prefix = before[rest.len()..].to_owned();
        if let Some(path) = rest.strip_suffix('.') {
            return Self {
                path: Some(steps(path)),
                prefix,
                is_key: false,
            };
        }
        // A key: what follows the last bracket that is open.
        if let Some(at) = open_bracket(before)
            && at > 0
        {
            let inside = &before[at + 1..];
            let quoted = inside.starts_with(['"', '\'']);
            let path = steps(&before[..at]);
            if (quoted || inside.is_empty()) && !path.is_empty() {
                return Self {
                    path: Some(path),
                    prefix: inside.to_owned(),
                    is_key: true,
                };
            }
        }
        Self {
            path: None,
            prefix,
            is_key: false,
        }
    }
}

/// Where the last bracket stands that is not closed, unless something follows it but a string.
fn open_bracket(text: &str) -> Option<usize> {
    let at = text.rfind('[')?;
    let inside = &text[at + 1..];
    let Some(quote) = inside.chars().next() else {
        return Some(at);
    };
    let is_open = "'\"".contains(quote) && inside.matches(quote).count() == 1;
    is_open.then_some(at)
}

/// The path at the end of a text: names, attributes and literal keys; empty when it is none.
fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let is_name = |one: char| one.is_alphanumeric() || one == '_';
        if let Some(inner) = rest.strip_suffix(']') {
            let Some(at) = inner.rfind('[') else {
                return Vec::new();
            };
            steps.push(Step::Index(inner[at + 1..].to_owned()));
            rest = &inner[..at];
            continue;
        }
        let before = rest.trim_end_matches(is_name);
        let name = &rest[before.len()..];
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Vec::new();
        }
        steps.push(Step::Name(name.to_owned()));
        match before.strip_suffix('.') {
            Some(more) => rest = more,
            None => break,
        }
    }
    steps.reverse();
    steps
}

fn offers(scene: &Scene<'_>, index: Option<usize>, asked: &Asked) -> PyResult<Vec<Offer>> {
    let mut offers = Vec::new();
    match &asked.path {
        None => {
            if let Some(index) = index {
                for (label, value) in visible(scene, index)? {
                    offers.push(Offer {
                        label,
                        kind: kind_of(&value, "variable"),
                    });
                }
                let frame = &scene.frame(index).frame;
                for namespace in [names::globals(frame)?, frame.getattr(name!("f_builtins"))?] {
                    for (label, value) in names::entries(&namespace)? {
                        offers.push(Offer {
                            label,
                            kind: kind_of(&value, "variable"),
                        });
                    }
                }
            }
            let keywords = KEYWORDS.iter().map(|keyword| Offer {
                label: (*keyword).to_owned(),
                kind: "keyword",
            });
            offers.extend(keywords);
        }
        Some(path) => {
            let Some(value) = followed(scene, index, path)? else {
                return Ok(offers);
            };
            if asked.is_key {
                offers.extend(keys(&value, &asked.prefix));
            } else {
                for entry in contents::attributes(&value)? {
                    let kind = match &entry.content {
                        Content::Value(value) => kind_of(value, "field"),
                        _ => "property",
                    };
                    offers.push(Offer {
                        label: entry.name,
                        kind,
                    });
                }
            }
        }
    }
    let mut known = std::collections::HashSet::new();
    offers.retain(|offer| !offer.label.starts_with('.') && known.insert(offer.label.clone()));
    if !asked.prefix.starts_with('_') {
        offers.sort_by_key(|offer| offer.label.starts_with('_'));
    }
    Ok(offers)
}

/// The value at the end of a path, as far as nothing has to be called for it.
fn followed<'py>(
    scene: &Scene<'py>,
    index: Option<usize>,
    path: &[Step],
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (Some(index), Some(Step::Name(first))) = (index, path.first()) else {
        return Ok(None);
    };
    let mut value = names::look_up(scene, index, first)?;
    for step in &path[1..] {
        let Some(here) = value else { return Ok(None) };
        value = match step {
            Step::Name(name) => contents::attributes(&here)?
                .into_iter()
                .find(|entry| entry.name == *name)
                .and_then(|entry| match entry.content {
                    Content::Value(value) => Some(value),
                    _ => None,
                }),
            Step::Index(text) => item(&here, text),
        };
    }
    Ok(value)
}

/// An item of a builtin container.
fn item<'py>(container: &Bound<'py, PyAny>, text: &str) -> Option<Bound<'py, PyAny>> {
    if let Ok(dict) = container.cast::<PyDict>() {
        return dict
            .iter()
            .find(|(key, _)| written(key).is_some_and(|key| key == text))
            .map(|(_, value)| value);
    }
    let at: usize = text.trim().parse().ok()?;
    if let Ok(list) = container.cast::<pyo3::types::PyList>() {
        return list.get_item(at).ok();
    }
    container
        .cast::<pyo3::types::PyTuple>()
        .ok()?
        .get_item(at)
        .ok()
}

/// A key as the user may write it, with the quotes of `repr`.
fn written(key: &Bound<'_, PyAny>) -> Option<String> {
    let simple = key.is_exact_instance_of::<PyString>()
        || key.is_exact_instance_of::<pyo3::types::PyInt>()
        || key.is_exact_instance_of::<pyo3::types::PyBytes>();
    simple.then(|| key.repr().ok().map(|text| text.to_string()))?
}

fn keys(container: &Bound<'_, PyAny>, prefix: &str) -> Vec<Offer> {
    let Ok(dict) = container.cast::<PyDict>() else {
        return Vec::new();
    };
    let double = prefix.starts_with('"');
    let labels = dict.iter().filter_map(|(key, _)| {
        let label = written(&key)?;
        // With the quote that the user has begun with.
        Some(
            if double && label.starts_with('\'') && !label.contains('"') {
                format!("\"{}\"", &label[1..label.len() - 1])
            } else {
                label
            },
        )
    });
    let offer = |label| Offer {
        label,
        kind: "value",
    };
    labels.take(MOST).map(offer).collect()
}

fn kind_of(value: &Bound<'_, PyAny>, otherwise: &'static str) -> &'static str {
    if value.is_instance_of::<PyModule>() {
        "module"
    } else if value.is_instance_of::<PyType>() {
        "class"
    } else if value.is_instance_of::<PyFunction>() || super::variables::is_routine(value) {
        "function"
    } else {
        otherwise
    }
}
