//! What is in a value: its items, in pages, and its attributes.
//!
//! Builtin containers are read through the interpreter's own functions, so that a page of a long
//! one costs what the page costs. A sequence or a mapping of the program's is asked for its length
//! and for the items of the page, within a time limit. Attributes are those that the object holds
//! itself and those of its classes, read without calling what would compute them: a property is
//! there to be asked for.

use std::ops::Range;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyCFunction, PyComplex, PyDict, PyFloat, PyFrozenSet, PyFunction,
    PyInt, PyList, PyMappingProxy, PyModule, PyRange, PySet, PyString, PyTuple, PyType,
};

use super::guard::{Patience, last_line};
use super::names::entries;
use super::text::{Style, class_name, show};
use crate::ffi::attributes;
use crate::ffi::name::{Name, name};
use crate::log::loaded_module;
use crate::snapshot::slots;

/// Attributes of the interpreter's own that it warns about when they are read.
const WARNED_OF: [&str; 1] = ["co_lnotab"];

/// How the items of a value are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    /// It has none.
    None,
    /// By their number.
    Indexed(usize),
    /// One after the other.
    Iterated(usize),
    /// By their key.
    Keyed(usize),
    /// By their position, of a table or a series.
    Located(usize),
}

impl Items {
    /// How many there are.
    pub(super) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Indexed(len) | Self::Iterated(len) | Self::Keyed(len) | Self::Located(len) => len,
        }
    }
}

/// Something that is shown under a name.
pub(super) struct Entry<'py> {
    /// The name.
    pub(super) name: String,
    /// What is there.
    pub(super) content: Content<'py>,
    /// What makes an expression for it out of one for the value; none when nothing does.
    pub(super) suffix: Option<String>,
}

/// What is shown under a name.
pub(super) enum Content<'py> {
    /// A value.
    Value(Bound<'py, PyAny>),
    /// An attribute of an object that is computed when it is asked for.
    Lazy(Bound<'py, PyAny>),
    /// Words of ours.
    Note(String),
}

/// Whether nothing is in a value that would be looked at.
pub(super) fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyComplex>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is(value.py().Ellipsis())
        || value.is(value.py().NotImplemented())
}

/// How the items of a value are found, and how many there are.
pub(super) fn items(value: &Bound<'_, PyAny>, patience: &mut Patience) -> Items {
    if is_plain(value) || value.is_instance_of::<PyType>() || value.is_instance_of::<PyModule>() {
        Items::None
    } else if let Ok(list) = value.cast::<PyList>() {
        Items::Indexed(list.len())
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        Items::Indexed(tuple.len())
    } else if let Ok(dict) = value.cast::<PyDict>() {
        Items::Keyed(dict.len())
    } else if let Ok(set) = value.cast::<PySet>() {
        Items::Iterated(set.len())
    } else if let Ok(set) = value.cast::<PyFrozenSet>() {
        Items::Iterated(set.len())
    } else if value.is_exact_instance_of::<PyRange>()
        || value.is_exact_instance_of::<PyByteArray>()
        || is_of(value, "_collections", name!("deque"))
        || is_of(value, "array", name!("array"))
    {
        Items::Indexed(value.len().unwrap_or(0))
    } else if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        Items::None
    } else {
        foreign(value, patience)
    }
}

/// Whether a value is an instance of a class of a module, if that is loaded.
fn is_of(value: &Bound<'_, PyAny>, module: &str, class: &'static Name) -> bool {
    let class = loaded_module(value.py(), module).and_then(|module| module.getattr(class).ok());
    class.is_some_and(|class| {
        class
            .cast::<PyType>()
            .is_ok_and(|class| value.get_type().is_subclass(class).unwrap_or(false))
    })
}

/// The items of something that is no builtin container.
fn foreign(value: &Bound<'_, PyAny>, patience: &mut Patience) -> Items {
    let py = value.py();
    let kind: fn(usize) -> Items = if is_of(value, "numpy", name!("ndarray")) {
        Items::Indexed
    } else if is_of(value, "pandas", name!("DataFrame")) || is_of(value, "pandas", name!("Series"))
    {
        Items::Located
    } else if value.is_instance_of::<PyMappingProxy>() {
        Items::Keyed
    } else {
        let Some(abc) = loaded_module(py, "collections.abc") else {
            return Items::None;
        };
        let is = |name: &'static Name, patience: &mut Patience| {
            let asked = patience.run(py, || value.is_instance(&abc.getattr(name)?));
            asked.unwrap_or(false)
        };
        if is(name!("Sequence"), patience) {
            Items::Indexed
        } else if is(name!("Mapping"), patience) {
            Items::Keyed
        } else {
            return Items::None;
        }
    };
    match patience.run(py, || value.len()) {
        Ok(0) | Err(_) => Items::None,
        Ok(len) => kind(len),
    }
}

/// At most `count` items of a value from the one with the number `start`.
pub(super) fn page<'py>(
    value: &Bound<'py, PyAny>,
    items: Items,
    start: usize,
    count: usize,
    patience: &mut Patience,
) -> PyResult<Vec<Entry<'py>>> {
    let py = value.py();
    let end = start.saturating_add(count).min(items.len());
    let indexed = |index: usize, item: Bound<'py, PyAny>| Entry {
        name: index.to_string(),
        content: Content::Value(item),
        suffix: Some(format!("[{index}]")),
    };
    match items {
        Items::None => Ok(Vec::new()),
        Items::Indexed(_) => {
            if let Ok(list) = value.cast::<PyList>() {
                let found = (start..end).filter_map(|at| Some((at, list.get_item(at).ok()?)));
                return Ok(found.map(|(at, item)| indexed(at, item)).collect());
            }
            if let Ok(tuple) = value.cast::<PyTuple>() {
                let found = (start..end).filter_map(|at| Some((at, tuple.get_item(at).ok()?)));
                return Ok(found.map(|(at, item)| indexed(at, item)).collect());
            }
            let item = |at| Ok(indexed(at, value.get_item(at)?));
            Ok(one_by_one(py, start..end, patience, item))
        }
        Items::Located(_) => {
            let rows = patience.run(py, || value.getattr(name!("iloc")))?;
            let item = |at: usize| {
                Ok(Entry {
                    name: at.to_string(),
                    content: Content::Value(rows.get_item(at)?),
                    suffix: Some(format!(".iloc[{at}]")),
                })
            };
            Ok(one_by_one(py, start..end, patience, item))
        }
        Items::Iterated(_) => {
            let all: Vec<Bound<'py, PyAny>> = if let Ok(set) = value.cast::<PySet>() {
                set.iter().skip(start).take(end - start).collect()
            } else {
                let set = value.cast::<PyFrozenSet>()?;
                set.iter().skip(start).take(end - start).collect()
            };
            let named = all.into_iter().enumerate().map(|(at, item)| Entry {
                name: (start + at).to_string(),
                content: Content::Value(item),
                suffix: None,
            });
            Ok(named.collect())
        }
        Items::Keyed(_) => keyed(value, start, end, patience),
    }
}

/// The items of a page that the program gives; what it raises stands in the place of an item.
fn one_by_one<'py>(
    py: Python<'py>,
    page: Range<usize>,
    patience: &mut Patience,
    item: impl Fn(usize) -> PyResult<Entry<'py>>,
) -> Vec<Entry<'py>> {
    let mut found = Vec::new();
    let mut at = page.start;
    let all = patience.run(py, || {
        while at < page.end {
            found.push(item(at)?);
            at += 1;
        }
        Ok(())
    });
    if let Err(error) = all {
        found.push(Entry {
            name: at.to_string(),
            content: Content::Note(format!("<{}>", last_line(py, &error))),
            suffix: None,
        });
    }
    found
}

fn keyed<'py>(
    value: &Bound<'py, PyAny>,
    start: usize,
    end: usize,
    patience: &mut Patience,
) -> PyResult<Vec<Entry<'py>>> {
    let pairs = pairs(value, start, end, patience)?;
    let mut found: Vec<Entry<'py>> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let name = show(&key, Style::BRIEF, patience);
        let suffix = is_literal(&key).then(|| {
            let whole = key.repr().map(|repr| repr.to_string());
            format!("[{}]", whole.unwrap_or_else(|_| name.clone()))
        });
        found.push(Entry {
            name,
            content: Content::Value(value),
            suffix,
        });
    }
    // Names are what a client sets values by.
    let mut known = std::collections::HashMap::new();
    for entry in &mut found {
        let seen: &mut usize = known.entry(entry.name.clone()).or_default();
        *seen += 1;
        if *seen > 1 {
            entry.name = format!("{} ({seen})", entry.name);
        }
    }
    Ok(found)
}

/// The keys of a mapping with their values, in its order.
pub(super) fn pairs<'py>(
    value: &Bound<'py, PyAny>,
    start: usize,
    end: usize,
    patience: &mut Patience,
) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let count = end.saturating_sub(start);
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(dict.iter().skip(start).take(count).collect());
    }
    patience.run(value.py(), || {
        let mut found = Vec::new();
        for key in value.try_iter()?.skip(start).take(count) {
            let key = key?;
            let item = value.get_item(&key)?;
            found.push((key, item));
        }
        Ok(found)
    })
}

/// Whether the `repr` of a key is an expression for it.
fn is_literal(key: &Bound<'_, PyAny>) -> bool {
    if let Ok(tuple) = key.cast_exact::<PyTuple>() {
        return tuple.len() < 10 && tuple.iter().all(|item| is_literal(&item));
    }
    let is_short = key.len().map_or(true, |length| length < 1000);
    is_short
        && (key.is_none()
            || key.is_exact_instance_of::<PyString>()
            || key.is_exact_instance_of::<PyInt>()
            || key.is_exact_instance_of::<PyBool>()
            || key.is_exact_instance_of::<PyFloat>()
            || key.is_exact_instance_of::<PyBytes>())
}

/// The attributes of a value: its own, then those of its classes.
pub(super) fn attributes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Vec<Entry<'py>>> {
    if is_plain(value) {
        return Ok(Vec::new());
    }
    let mut found: Vec<Entry<'py>> = Vec::new();
    let mut known = std::collections::HashSet::new();
    let mut add = |name: String, content: Content<'py>| {
        if known.insert(name.clone()) {
            let suffix = Some(format!(".{name}"));
            found.push(Entry {
                name,
                content,
                suffix,
            });
        }
    };
    if value.is_instance_of::<PyModule>() {
        for (name, value) in entries(&value.getattr(name!("__dict__"))?)? {
            add(name, Content::Value(value));
        }
        return Ok(found);
    }
    if let Ok(class) = value.cast::<PyType>() {
        for (name, member) in members(class)? {
            add(name, Content::Value(member));
        }
        return Ok(found);
    }
    for (name, value) in slots::own(value, usize::MAX).unwrap_or_default() {
        add(name, Content::Value(value));
    }
    if let Some(dict) = attributes::own(value) {
        for (name, value) in entries(dict.as_any())? {
            add(name, Content::Value(value));
        }
    }
    for (name, member) in members(&value.get_type())? {
        if let Some(content) = of_class(value, &name, &member) {
            add(name, content);
        }
    }
    Ok(found)
}

/// What the classes of a class declare, the nearest first, without what every object has.
fn members<'py>(class: &Bound<'py, PyType>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let py = class.py();
    let mut found = Vec::new();
    for class in slots::classes(class)? {
        if class.is(py.get_type::<PyAny>()) {
            continue;
        }
        found.extend(entries(&slots::dictionary(&class)?)?);
    }
    Ok(found)
}

/// What an attribute of a class is in an instance; none when the class only declares it.
fn of_class<'py>(
    object: &Bound<'py, PyAny>,
    name: &str,
    member: &Bound<'py, PyAny>,
) -> Option<Content<'py>> {
    if WARNED_OF.contains(&name) {
        return Some(Content::Lazy(object.clone()));
    }
    let bound = || member.call_method1(name!("__get__"), (object, object.get_type()));
    if member.is_instance_of::<PyFunction>() || member.is_instance_of::<PyCFunction>() {
        return Some(Content::Value(bound().unwrap_or_else(|_| member.clone())));
    }
    match class_name(member).as_str() {
        // A slot that is empty has no value, nor has what the interpreter cannot compute.
        "method_descriptor"
        | "wrapper_descriptor"
        | "classmethod"
        | "staticmethod"
        | "classmethod_descriptor"
        | "_tuplegetter"
        | "member_descriptor"
        | "getset_descriptor" => bound().ok().map(Content::Value),
        "property" | "cached_property" | "DynamicClassAttribute" => {
            Some(Content::Lazy(object.clone()))
        }
        _ => {
            let declared = members(&member.get_type()).unwrap_or_default();
            Some(if declared.iter().any(|(name, _)| name == "__get__") {
                Content::Lazy(object.clone())
            } else {
                Content::Value(member.clone())
            })
        }
    }
}

/// The value of an attribute that is computed.
pub(super) fn compute<'py>(
    object: &Bound<'py, PyAny>,
    name: &str,
    patience: &mut Patience,
) -> PyResult<Bound<'py, PyAny>> {
    if name.is_empty() {
        return Err(PyRuntimeError::new_err("an attribute needs a name"));
    }
    patience.run(object.py(), || object.getattr(name))
}
