//! `setVariable` and `setExpression`.
//!
//! A variable is set where it was shown: in its slot or cell, in the namespace, at its index or key,
//! as an attribute. The new value is what the text evaluates to in the frame.

use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PyMappingProxy, PyModule, PySet, PyTuple};
use serde::Deserialize;

use super::contents::{self, Items};
use super::evaluate::{frame_of, limit, told};
use super::guard::{Patience, guarded, refused};
use super::names;
use super::program::Mode;
use super::row::Whence;
use super::run::run;
use super::text::{Style, show};
use super::variables::{Format, RETURNED};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::scene::{Held, Part, Scene, Scope};
use crate::ffi::name::name;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetVariable {
    variables_reference: i64,
    name: String,
    value: String,
    format: Option<Format>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetExpression {
    expression: String,
    value: String,
    frame_id: Option<i64>,
    format: Option<Format>,
}

/// Where a value is to go.
enum Target<'py> {
    Scope(usize, Scope),
    Value(Bound<'py, PyAny>, Part),
}

/// `setVariable`
pub(super) fn set_variable(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: SetVariable = request.arguments()?;
    let (target, frame, base) = match scene.held(wanted.variables_reference)? {
        Held::Scope(index, scope, _) => (Target::Scope(*index, *scope), *index, None),
        Held::Value {
            value,
            evaluate_name,
            frame,
            part,
        } => (
            Target::Value(value.clone(), *part),
            *frame,
            evaluate_name.clone(),
        ),
        Held::Lazy {
            object,
            frame,
            evaluate_name,
            ..
        } => (
            Target::Value(object.clone(), Part::Special),
            *frame,
            evaluate_name.clone(),
        ),
    };
    let py = scene.py();
    let failed = |error: PyErr| refused(py, &error);
    let value = new_value(scene, Some(frame), &wanted.value).map_err(failed)?;
    let now = match target {
        Target::Scope(index, scope) => {
            set_in_scope(scene, index, scope, &wanted.name, value.clone()).map(|()| value)
        }
        Target::Value(object, part) => {
            let limit = Some(limit(scene));
            set_in_value(&object, part, &wanted.name, &value, limit)
        }
    };
    let now = now.map_err(failed)?;
    let evaluate_name = match base {
        None => Some(wanted.name),
        Some(_) => None,
    };
    let whence = Whence {
        evaluate_name,
        frame,
    };
    Ok(told(scene, &now, whence, wanted.format))
}

fn new_value<'py>(
    scene: &mut Scene<'py>,
    frame: Option<usize>,
    text: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let limit = limit(scene);
    let value = run(scene, frame, text, Mode::Expression, Some(limit))?;
    value.ok_or_else(|| PyValueError::new_err("the text has no value"))
}

fn set_in_scope<'py>(
    scene: &mut Scene<'py>,
    index: usize,
    scope: Scope,
    name: &str,
    value: Bound<'py, PyAny>,
) -> PyResult<()> {
    let frame = scene.frame(index).frame.clone();
    let scope = if name.starts_with(RETURNED) {
        Scope::Returned
    } else {
        scope
    };
    match scope {
        Scope::Locals | Scope::Cells => {
            if let Some(extras) = scene.extras(index)
                && extras.contains(name)?
            {
                return extras.set_item(name, value);
            }
            names::store(&frame, name, Some(value))
        }
        Scope::Globals => names::globals(&frame)?.set_item(name, value),
        Scope::Returned | Scope::Exception => {
            let said = format!("{name:?} is told only: it is no variable of the program");
            Err(PyTypeError::new_err(said))
        }
    }
}

/// Sets an item or an attribute; the value that is there then.
fn set_in_value<'py>(
    object: &Bound<'py, PyAny>,
    part: Part,
    name: &str,
    value: &Bound<'py, PyAny>,
    limit: Option<std::time::Duration>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let mut patience = Patience::default();
    let items = if part == Part::Whole {
        contents::items(object, &mut patience)
    } else {
        Items::None
    };
    let is_sealed = object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
        || object.is_instance_of::<PyFrozenSet>()
        || object.is_instance_of::<PyMappingProxy>();
    let index = name.parse::<usize>().ok();
    match items {
        Items::Indexed(_) | Items::Iterated(_) | Items::Located(_) if index.is_some() => {
            if is_sealed {
                let said = format!(
                    "the items of a {} cannot be set",
                    super::text::class_name(object)
                );
                return Err(PyTypeError::new_err(said));
            }
            guarded(py, limit, || {
                let place = match items {
                    Items::Located(_) => object.getattr(name!("iloc"))?,
                    _ => object.clone(),
                };
                place.set_item(index, value)?;
                place.get_item(index)
            })
        }
        Items::Keyed(len) if !is_attribute(object, name) => {
            let key = key_named(object, name, len, &mut patience)?;
            guarded(py, limit, || {
                object.set_item(&key, value)?;
                object.get_item(&key)
            })
        }
        _ if name == "len()" => Err(PyTypeError::new_err("a length cannot be set")),
        _ => guarded(py, limit, || {
            object.setattr(name, value)?;
            object.getattr(name)
        }),
    }
}

/// Whether a name is that of an attribute, which no key of a mapping is shown like.
fn is_attribute(object: &Bound<'_, PyAny>, name: &str) -> bool {
    let is_name = name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(|one| one.is_alphanumeric() || one == '_');
    is_name
        && !object.is_instance_of::<PyModule>()
        && contents::attributes(object)
            .is_ok_and(|attributes| attributes.iter().any(|entry| entry.name == name))
}

/// The key of a mapping that is shown under a name.
fn key_named<'py>(
    mapping: &Bound<'py, PyAny>,
    name: &str,
    len: usize,
    patience: &mut Patience,
) -> PyResult<Bound<'py, PyAny>> {
    const STEP: usize = 1_000;
    let mut seen = 0;
    let (plain, wanted) = match name.rsplit_once(" (") {
        Some((plain, number)) => match number.trim_end_matches(')').parse::<usize>() {
            Ok(number) => (plain, number),
            Err(_) => (name, 1),
        },
        None => (name, 1),
    };
    for start in (0..len).step_by(STEP) {
        for (key, _) in contents::pairs(mapping, start, start + STEP, patience)? {
            let shown = show(&key, Style::BRIEF, patience);
            if shown == name {
                return Ok(key);
            }
            if shown == plain {
                seen += 1;
                if seen == wanted {
                    return Ok(key);
                }
            }
        }
    }
    Err(PyKeyError::new_err(format!("there is no key {name}")))
}

/// `setExpression`
pub(super) fn set_expression(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: SetExpression = request.arguments()?;
    let py = scene.py();
    let failed = |error: PyErr| refused(py, &error);
    let Some(index) = frame_of(scene, wanted.frame_id)? else {
        return Err(Refusal::new(
            "setExpression needs a frame: the request names none",
        ));
    };
    let target = wanted.expression.trim();
    let limit = limit(scene);
    let statement = format!("{target} = (\n{}\n)", wanted.value);
    run(scene, Some(index), &statement, Mode::Console, Some(limit)).map_err(failed)?;
    let now = run(scene, Some(index), target, Mode::Expression, Some(limit));
    let now = now.map_err(failed)?;
    let now = now.unwrap_or_else(|| py.None().into_bound(py));
    let whence = Whence {
        evaluate_name: Some(target.to_owned()),
        frame: index,
    };
    Ok(told(scene, &now, whence, wanted.format))
}
