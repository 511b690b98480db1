//! `variables`: what is in a scope or in a value.
//!
//! Owns the groups in which attributes are shown, as the setting `variablePresentation` has them,
//! and which part of a long container is sent: what was asked for, and no more than a client can
//! show at once.

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyFunction, PyType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::contents::{self, Content, Entry, Items};
use super::guard::{Patience, last_line};
use super::row::{Whence, group, note, row, told};
use super::text::{Style, class_name};
use super::{failed, names};
use crate::dap::client::Placement;
use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::{Held, Part, Scene, Scope};

/// Longer mappings and sets are sent in pages, as sequences are.
const MOST_NAMED: usize = 100;
/// How many items are sent to a client that asks for no page.
const MOST_UNPAGED: usize = 1_000;

/// What the names of returned values begin with; no variable is called so.
pub(super) const RETURNED: &str = "(return) ";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    variables_reference: i64,
    filter: Option<String>,
    #[serde(default)]
    start: usize,
    #[serde(default)]
    count: usize,
    format: Option<Format>,
}

/// How values are to be written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Format {
    hex: bool,
}

impl Format {
    /// The style that this comes to.
    pub(super) fn style(self) -> Style {
        Style::ROW.with_hex(self.hex)
    }
}

/// `variables`
pub(super) fn variables(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let mut patience = Patience::default();
    let rows = rows(scene, &wanted, &mut patience)?;
    Ok(json!({"variables": rows}))
}

fn rows(
    scene: &mut Scene<'_>,
    wanted: &Arguments,
    patience: &mut Patience,
) -> Result<Vec<Value>, crate::dap::protocol::Refusal> {
    let style = wanted.format.unwrap_or_default().style();
    let (base, frame, entries) = match scene.held(wanted.variables_reference)? {
        Held::Scope(index, scope, part) => {
            let (index, scope, part) = (*index, *scope, *part);
            let entries = of_scope(scene, index, scope).map_err(|error| failed(&error))?;
            let mut shown = Vec::new();
            if scope == Scope::Locals && index == 0 && part == Part::Whole {
                shown.extend(returned(scene).into_iter().map(Shown::Entry));
            }
            shown.append(&mut grouped(scene, entries, part));
            let entries = paged(shown, wanted, false);
            let mut rows = Vec::new();
            for shown in entries {
                rows.push(match shown {
                    Shown::Group(part) => {
                        let reference = scene.hold(Held::Scope(index, scope, part));
                        group(part, reference)
                    }
                    Shown::Entry(entry) => row(scene, entry, None, index, style, patience),
                });
            }
            return Ok(rows);
        }
        Held::Lazy {
            object,
            name,
            evaluate_name,
            frame,
        } => {
            let value = contents::compute(object, name, patience);
            let whence = Whence {
                evaluate_name: evaluate_name.clone(),
                frame: *frame,
            };
            let name = name.clone();
            return Ok(vec![match value {
                Ok(value) => told(scene, &name, &value, whence, style, patience),
                Err(error) => note(&name, &last_line(scene.py(), &error)),
            }]);
        }
        Held::Value {
            value,
            evaluate_name,
            frame,
            part,
        } => {
            let (value, part, frame) = (value.clone(), *part, *frame);
            let base = evaluate_name.clone();
            let entries = of_value(scene, &value, part, wanted, patience);
            (
                base.map(|base| (base, value.clone())),
                frame,
                entries.map_err(|error| failed(&error))?,
            )
        }
    };
    let whole = match scene.held(wanted.variables_reference)? {
        Held::Value { value, .. } => value.clone(),
        _ => return Ok(Vec::new()),
    };
    let base = base.map(|(base, _)| base);
    let mut rows = Vec::new();
    for shown in entries {
        rows.push(match shown {
            Shown::Group(part) => {
                let held = Held::Value {
                    value: whole.clone(),
                    evaluate_name: base.clone(),
                    frame,
                    part,
                };
                group(part, scene.hold(held))
            }
            Shown::Entry(entry) => row(scene, entry, base.as_deref(), frame, style, patience),
        });
    }
    Ok(rows)
}

/// A row of the answer: a group, or something in the value itself.
pub(super) enum Shown<'py> {
    /// Those of a kind.
    Group(Part),
    /// One.
    Entry(Entry<'py>),
}

/// The variables of a scope.
pub(super) fn of_scope<'py>(
    scene: &Scene<'py>,
    index: usize,
    scope: Scope,
) -> PyResult<Vec<Entry<'py>>> {
    let frame = &scene.frame(index).frame;
    let named = match scope {
        Scope::Locals => {
            let mut found = names::locals_of(frame, false)?;
            if let Some(extras) = scene.extras(index) {
                found.extend(names::entries(extras.as_any())?);
            }
            found
        }
        Scope::Cells => names::locals_of(frame, true)?,
        Scope::Globals => names::entries(&names::globals(frame)?)?,
        Scope::Returned => return Ok(returned(scene)),
        Scope::Exception => {
            let exception = scene.why.exception.as_ref();
            let entry = exception.map(|(value, _)| Entry {
                name: class_name(value),
                content: Content::Value(value.clone()),
                suffix: Some("__exception__[1]".to_owned()),
            });
            return Ok(entry.into_iter().collect());
        }
    };
    let entry = |(name, value): names::Named<'py>| Entry {
        suffix: Some(name.clone()),
        name,
        content: Content::Value(value),
    };
    Ok(named.into_iter().map(entry).collect())
}

/// What calls have returned during the step that led here.
fn returned<'py>(scene: &Scene<'py>) -> Vec<Entry<'py>> {
    let returned = scene.why.returned.iter();
    let entry = |(function, value): &(String, Bound<'py, PyAny>)| Entry {
        name: format!("{RETURNED}{function}"),
        content: Content::Value(value.clone()),
        suffix: None,
    };
    returned.map(entry).collect()
}

/// Which group a name and its value belong to.
pub(super) fn part_of(entry: &Entry<'_>) -> Part {
    let name = entry.name.as_str();
    if name.starts_with("__") && name.ends_with("__") && name.len() > 4 {
        return Part::Special;
    }
    if let Content::Value(value) = &entry.content {
        if is_routine(value) {
            return Part::Functions;
        }
        if value.is_instance_of::<PyType>() {
            return Part::Class;
        }
    }
    if name.starts_with('_') {
        Part::Protected
    } else {
        Part::Whole
    }
}

/// Whether a value is a function or a method.
pub(super) fn is_routine(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyFunction>()
        || value.is_instance_of::<PyCFunction>()
        || matches!(
            class_name(value).as_str(),
            "method"
                | "method-wrapper"
                | "method_descriptor"
                | "wrapper_descriptor"
                | "classmethod"
                | "staticmethod"
                | "classmethod_descriptor"
        )
}

fn placement(scene: &Scene<'_>, part: Part) -> Placement {
    let presentation = scene.session().settings().variable_presentation;
    match part {
        Part::Whole => Placement::Inline,
        Part::Special => presentation.special(),
        Part::Functions => presentation.function(),
        Part::Class => presentation.class(),
        Part::Protected => presentation.protected(),
    }
}

/// The entries of a part: of the whole, with the groups in front.
pub(super) fn grouped<'py>(
    scene: &Scene<'py>,
    entries: Vec<Entry<'py>>,
    part: Part,
) -> Vec<Shown<'py>> {
    const ORDER: [Part; 4] = [Part::Special, Part::Functions, Part::Class, Part::Protected];
    let mut groups = Vec::new();
    let mut shown = Vec::new();
    for entry in entries {
        let of = part_of(&entry);
        if part != Part::Whole {
            if of == part {
                shown.push(Shown::Entry(entry));
            }
            continue;
        }
        match placement(scene, of) {
            Placement::Inline => shown.push(Shown::Entry(entry)),
            Placement::Group => groups.push(of),
            Placement::Hide => {}
        }
    }
    let there = ORDER.into_iter().filter(|part| groups.contains(part));
    let mut all: Vec<Shown<'py>> = there.map(Shown::Group).collect();
    all.append(&mut shown);
    all
}

/// The part of named variables that was asked for.
fn paged<'py>(
    mut shown: Vec<Shown<'py>>,
    wanted: &Arguments,
    has_indexed: bool,
) -> Vec<Shown<'py>> {
    if wanted.filter.as_deref() == Some("indexed") {
        return Vec::new();
    }
    // Where both kinds are asked for at once, a page is one of the indexed ones.
    if wanted.filter.is_some() || !has_indexed {
        shown.drain(..wanted.start.min(shown.len()));
        if wanted.count > 0 {
            shown.truncate(wanted.count);
        }
    }
    shown
}

/// Whether the items of a container are sent in pages.
pub(super) fn is_paged(items: Items) -> bool {
    match items {
        Items::None => false,
        Items::Indexed(_) | Items::Located(_) => true,
        Items::Keyed(len) | Items::Iterated(len) => len > MOST_NAMED,
    }
}

fn of_value<'py>(
    scene: &Scene<'py>,
    value: &Bound<'py, PyAny>,
    part: Part,
    wanted: &Arguments,
    patience: &mut Patience,
) -> PyResult<Vec<Shown<'py>>> {
    if part != Part::Whole {
        let entries = contents::attributes(value)?;
        return Ok(paged(grouped(scene, entries, part), wanted, false));
    }
    let items = contents::items(value, patience);
    let indexed = is_paged(items);
    let mut shown = Vec::new();
    if wanted.filter.as_deref() != Some("indexed") {
        let mut named = grouped(scene, contents::attributes(value)?, part);
        if items != Items::None && !indexed {
            let all = contents::page(value, items, 0, items.len(), patience)?;
            named.extend(all.into_iter().map(Shown::Entry));
        }
        if items != Items::None {
            named.push(Shown::Entry(Entry {
                name: "len()".to_owned(),
                content: Content::Value(items.len().into_pyobject(value.py())?.into_any()),
                suffix: None,
            }));
        }
        shown = paged(named, wanted, indexed);
    }
    if indexed && wanted.filter.as_deref() != Some("named") {
        let count = match wanted.count {
            0 => MOST_UNPAGED,
            count => count,
        };
        let page = contents::page(value, items, wanted.start, count, patience)?;
        let end = wanted.start.saturating_add(page.len());
        shown.extend(page.into_iter().map(Shown::Entry));
        if wanted.count == 0 && end < items.len() {
            shown.push(Shown::Entry(Entry {
                name: "...".to_owned(),
                content: Content::Note(format!(
                    "{} more; ask for them by `start` and `count`, or evaluate a part",
                    items.len() - end
                )),
                suffix: None,
            }));
        }
    }
    Ok(shown)
}
