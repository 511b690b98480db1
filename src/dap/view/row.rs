//! How a value is told in every answer that has one.
//!
//! Owns a row of `variables`: the text of the value, its type, what is in it and by which
//! expression it is found. What has parts gets a number that is good until the thread goes on.

use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::{Value, json};

use super::contents::{self, Content, Entry};
use super::guard::Patience;
use super::text::{Style, class_name, show};
use super::variables::{RETURNED, grouped, is_paged, part_of};
use crate::dap::parked::without_nulls;
use crate::dap::scene::{Held, Part, Scene};

/// Where a value is: by which expression, in which frame.
#[derive(Clone, Debug)]
pub(super) struct Whence {
    /// An expression that gives it.
    pub(super) evaluate_name: Option<String>,
    /// The frame in which the expression means it.
    pub(super) frame: usize,
}

/// A row for a group of variables.
pub(super) fn group(part: Part, reference: i64) -> Value {
    let name = match part {
        Part::Special => "special variables",
        Part::Functions => "function variables",
        Part::Class => "class variables",
        Part::Protected => "protected variables",
        Part::Whole => "variables",
    };
    json!({
        "name": name,
        "value": "",
        "type": "",
        "variablesReference": reference,
        "presentationHint": {"kind": "virtual", "attributes": ["readOnly"]},
    })
}

/// A row that says something of its own.
pub(super) fn note(name: &str, text: &str) -> Value {
    json!({
        "name": name,
        "value": text,
        "variablesReference": 0,
        "presentationHint": {"attributes": ["readOnly"]},
    })
}

/// The row of an entry; `base` is an expression for what it is in.
pub(super) fn row<'py>(
    scene: &mut Scene<'py>,
    entry: Entry<'py>,
    base: Option<&str>,
    frame: usize,
    style: Style,
    patience: &mut Patience,
) -> Value {
    let part = part_of(&entry);
    let evaluate_name = entry.suffix.and_then(|suffix| match base {
        Some(base) => Some(format!("{base}{suffix}")),
        // Of a scope: the name is the expression.
        None => (!suffix.starts_with(['.', '['])).then_some(suffix),
    });
    let whence = Whence {
        evaluate_name,
        frame,
    };
    match entry.content {
        Content::Value(value) => {
            let mut row = told(scene, &entry.name, &value, whence, style, patience);
            let name = entry.name.as_str();
            let fixed = name == "len()" || name.starts_with(RETURNED);
            hint(&mut row, &value, part, fixed);
            row
        }
        Content::Lazy(object) => {
            let held = Held::Lazy {
                object,
                name: entry.name.clone(),
                evaluate_name: whence.evaluate_name.clone(),
                frame,
            };
            let reference = scene.hold(held);
            let row = json!({
                "name": entry.name,
                "value": "",
                "variablesReference": reference,
                "evaluateName": whence.evaluate_name,
                "presentationHint": {"kind": "property", "lazy": true},
            });
            without_nulls(row)
        }
        Content::Note(text) => note(&entry.name, &text),
    }
}

fn hint(row: &mut Value, value: &Bound<'_, PyAny>, part: Part, fixed: bool) {
    let mut hint = serde_json::Map::new();
    let kind = match part {
        Part::Class => Some("class"),
        Part::Functions => Some("method"),
        _ => None,
    };
    if let Some(kind) = kind {
        hint.insert("kind".to_owned(), kind.into());
    }
    if part == Part::Protected {
        hint.insert("visibility".to_owned(), "protected".into());
    }
    let mut attributes = Vec::new();
    if value.is_instance_of::<PyString>() {
        attributes.push("rawString");
    }
    if fixed {
        attributes.push("readOnly");
    }
    if !attributes.is_empty() {
        hint.insert("attributes".to_owned(), attributes.into());
    }
    if !hint.is_empty() {
        row["presentationHint"] = hint.into();
    }
}

/// A value under a name.
pub(super) fn told<'py>(
    scene: &mut Scene<'py>,
    name: &str,
    value: &Bound<'py, PyAny>,
    whence: Whence,
    style: Style,
    patience: &mut Patience,
) -> Value {
    let evaluate_name = whence.evaluate_name.clone();
    let text = show(value, style, patience);
    let mut row = shape(scene, value, whence, patience);
    row["name"] = name.into();
    row["value"] = text.into();
    row["evaluateName"] = evaluate_name.into();
    without_nulls(row)
}

/// What is told of a value beside its text: its type, and what is in it.
pub(super) fn shape<'py>(
    scene: &mut Scene<'py>,
    value: &Bound<'py, PyAny>,
    whence: Whence,
    patience: &mut Patience,
) -> Value {
    let (typed, pages) = {
        let client = scene.session().client();
        (
            client.supports_variable_type,
            client.supports_variable_paging,
        )
    };
    let mut row = json!({"variablesReference": 0});
    if typed {
        row["type"] = class_name(value).into();
    }
    if contents::is_plain(value) {
        return row;
    }
    let items = contents::items(value, patience);
    let held = Held::Value {
        value: value.clone(),
        evaluate_name: whence.evaluate_name.map(|name| parenthesised(&name)),
        frame: whence.frame,
        part: Part::Whole,
    };
    row["variablesReference"] = scene.hold(held).into();
    if pages && is_paged(items) {
        let entries = contents::attributes(value).unwrap_or_default();
        let named = grouped(scene, entries, Part::Whole).len() + 1;
        row["indexedVariables"] = items.len().into();
        row["namedVariables"] = named.into();
    }
    row
}

/// An expression to which `.name` or `[key]` can be added.
fn parenthesised(expression: &str) -> String {
    let mut depth = 0_usize;
    let mut quoted = None;
    let simple = expression.chars().all(|character| {
        match (quoted, character) {
            (Some(quote), _) => {
                if character == quote {
                    quoted = None;
                }
                return character != '\\';
            }
            (None, '\'' | '"') => {
                quoted = Some(character);
                return depth > 0;
            }
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || character.is_alphanumeric() || "._[]()".contains(character)
    });
    let number = expression.starts_with(|first: char| first.is_ascii_digit());
    if simple && !number {
        expression.to_owned()
    } else {
        format!("({expression})")
    }
}
