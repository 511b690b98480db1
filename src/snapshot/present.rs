//! Values as bounded text, without running code of the program.
//!
//! Numbers, strings and the builtin containers are written as `repr` writes them, cut short where
//! a limit is reached. An instance of a class of the program is written as its class and the
//! attributes that it holds itself; its `__repr__`, properties and iterators are not called
//! unless the capture asks for them. Containers are read through the interpreter's own structs,
//! so a subclass cannot take part.

use std::fmt::Write;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyByteArrayMethods, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet,
    PyInt, PyList, PyModule, PySet, PyString, PyTuple, PyType,
};

use super::redact::REDACTED;
use super::{Capture, slots};
use crate::condition;
use crate::ffi::attributes;
use crate::ffi::name::name;

/// Longer integers are told by their size: their digits take quadratic time.
const MOST_BITS: u64 = 2_000;
const CUT: &str = "...";

/// Writes values as long as there is room and time.
pub(super) struct Presenter<'a> {
    capture: &'a Capture,
    room: usize,
    until: Option<Instant>,
    /// Whether something was left out for lack of room or time.
    pub(super) cut: bool,
    /// What leaves the program and was raised in a `__repr__` of its own.
    pub(super) leaving: Option<PyErr>,
}

impl<'a> Presenter<'a> {
    pub(super) fn new(capture: &'a Capture, until: Option<Instant>) -> Self {
        Self {
            capture,
            room: capture.max_total_bytes,
            until,
            cut: false,
            leaving: None,
        }
    }

    /// Whether nothing more is to be written.
    pub(super) fn is_over(&mut self) -> bool {
        let is_late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.room == 0 || is_late || self.leaving.is_some() {
            self.cut = true;
        }
        self.cut
    }

    /// The value of a variable, or of an expression with that text.
    pub(super) fn named(&mut self, name: &str, value: &Bound<'_, PyAny>) -> String {
        if self.capture.redact.hides(name) {
            return REDACTED.to_owned();
        }
        let mut text = String::new();
        self.write(&mut text, value, self.capture.locals_depth);
        self.take(&mut text);
        text
    }

    /// Some text of the snapshot's own, such as an error.
    pub(super) fn plain(&mut self, mut text: String) -> String {
        truncate(&mut text, self.capture.max_string);
        self.take(&mut text);
        text
    }

    fn take(&mut self, text: &mut String) {
        if text.len() > self.room {
            truncate(text, self.room);
            self.cut = true;
        }
        self.room -= text.len().min(self.room);
    }

    fn write(&mut self, text: &mut String, value: &Bound<'_, PyAny>, depth: u32) {
        if text.len() >= self.room || self.is_over() {
            self.cut = true;
            text.push_str(CUT);
        } else if let Ok(string) = value.cast::<PyString>() {
            self.subclass(
                text,
                value,
                value.is_exact_instance_of::<PyString>(),
                |text, most| {
                    write_string(text, string, most);
                },
            );
        } else if value.is_instance_of::<PyBool>() || value.is_none() {
            push_repr(text, value);
        } else if value.is_instance_of::<PyInt>() {
            let exact = value.is_exact_instance_of::<PyInt>();
            self.subclass(text, value, exact, |text, _| write_int(text, value));
        } else if value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyComplex>() {
            let exact = value.is_exact_instance_of::<PyFloat>()
                || value.is_exact_instance_of::<PyComplex>();
            if exact {
                push_repr(text, value);
            } else {
                self.object(text, value, depth);
            }
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            self.subclass(
                text,
                value,
                value.is_exact_instance_of::<PyBytes>(),
                |text, most| {
                    write_bytes(text, bytes.as_bytes(), most);
                },
            );
        } else if value.is_instance_of::<PyByteArray>() {
            push_sized(text, value, "bytes");
        } else {
            self.write_compound(text, value, depth);
        }
    }

    fn write_compound(&mut self, text: &mut String, value: &Bound<'_, PyAny>, depth: u32) {
        let most = self.capture.max_items;
        if let Ok(dict) = value.cast::<PyDict>() {
            let exact = value.is_exact_instance_of::<PyDict>();
            let items: Vec<_> = dict.iter().take(most).collect();
            let total = dict.len();
            self.subclass_of(text, value, exact, |presenter, text| {
                presenter.mapping(text, &items, total, depth);
            });
        } else if let Ok(list) = value.cast::<PyList>() {
            let kept = (0..list.len().min(most)).filter_map(|at| list.get_item(at).ok());
            let items: Vec<_> = kept.collect();
            let exact = value.is_exact_instance_of::<PyList>();
            let total = list.len();
            self.subclass_of(text, value, exact, |presenter, text| {
                presenter.sequence(text, ("[", "]"), &items, total, depth);
            });
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            let kept = (0..tuple.len().min(most)).filter_map(|at| tuple.get_item(at).ok());
            let items: Vec<_> = kept.collect();
            let exact = value.is_exact_instance_of::<PyTuple>();
            let total = tuple.len();
            let close = if exact && total == 1 { ",)" } else { ")" };
            self.subclass_of(text, value, exact, |presenter, text| {
                presenter.sequence(text, ("(", close), &items, total, depth);
            });
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            let items: Vec<_> = set.iter().take(most).collect();
            let brackets = if items.is_empty() {
                ("set(", ")")
            } else {
                ("{", "}")
            };
            self.sequence(text, brackets, &items, set.len(), depth);
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            let items: Vec<_> = set.iter().take(most).collect();
            let brackets = if items.is_empty() {
                ("frozenset(", ")")
            } else {
                ("frozenset({", "})")
            };
            self.sequence(text, brackets, &items, set.len(), depth);
        } else {
            self.object(text, value, depth);
        }
    }

    /// A value whose class may be derived from a builtin one: its class in front, if so.
    fn subclass(
        &mut self,
        text: &mut String,
        value: &Bound<'_, PyAny>,
        exact: bool,
        write: impl FnOnce(&mut String, usize),
    ) {
        let most = self.capture.max_string;
        self.subclass_of(text, value, exact, |_, text| write(text, most));
    }

    fn subclass_of(
        &mut self,
        text: &mut String,
        value: &Bound<'_, PyAny>,
        exact: bool,
        write: impl FnOnce(&mut Self, &mut String),
    ) {
        if exact {
            return write(self, text);
        }
        text.push_str(&class_name(value));
        text.push('(');
        write(self, text);
        text.push(')');
    }

    fn sequence(
        &mut self,
        text: &mut String,
        (open, close): (&str, &str),
        items: &[Bound<'_, PyAny>],
        total: usize,
        depth: u32,
    ) {
        text.push_str(open);
        if depth == 0 && total > 0 {
            text.push_str(CUT);
        } else {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                self.item(text, item, depth - 1);
            }
            push_rest(text, items.len(), total);
        }
        text.push_str(close);
    }

    /// An item of a sequence; a pair whose first is a name that is redacted keeps its second.
    fn item(&mut self, text: &mut String, item: &Bound<'_, PyAny>, depth: u32) {
        if let Ok(pair) = item.cast_exact::<PyTuple>()
            && pair.len() == 2
            && let (Ok(key), Ok(_)) = (pair.get_item(0), pair.get_item(1))
            && self.hides(&key)
        {
            text.push('(');
            self.write(text, &key, depth);
            let _ = write!(text, ", {REDACTED})");
            return;
        }
        self.write(text, item, depth);
    }

    fn mapping(
        &mut self,
        text: &mut String,
        items: &[(Bound<'_, PyAny>, Bound<'_, PyAny>)],
        total: usize,
        depth: u32,
    ) {
        text.push('{');
        if depth == 0 && total > 0 {
            text.push_str(CUT);
        } else {
            for (at, (key, value)) in items.iter().enumerate() {
                if at > 0 {
                    text.push_str(", ");
                }
                self.write(text, key, depth - 1);
                text.push_str(": ");
                if self.hides(key) {
                    text.push_str(REDACTED);
                } else {
                    self.write(text, value, depth - 1);
                }
            }
            push_rest(text, items.len(), total);
        }
        text.push('}');
    }

    fn object(&mut self, text: &mut String, value: &Bound<'_, PyAny>, depth: u32) {
        if let Ok(class) = value.cast::<PyType>() {
            let _ = write!(text, "<class {}>", qualified(class));
            return;
        }
        if value.is_instance_of::<PyModule>() {
            text.push_str("<module>");
            return;
        }
        if self.capture.full_repr {
            return self.own_repr(text, value);
        }
        let name = class_name(value);
        let mut shown = if depth == 0 {
            Vec::new()
        } else {
            self.attributes(value)
        };
        if shown.is_empty() {
            let _ = write!(text, "<{name} object>");
            return;
        }
        let most = self.capture.max_items;
        let is_cut = shown.len() > most;
        shown.truncate(most);
        let _ = write!(text, "<{name}");
        for (key, attribute) in &shown {
            let _ = write!(text, " {key}=");
            if self.capture.redact.hides(key) {
                text.push_str(REDACTED);
            } else {
                self.write(text, attribute, depth - 1);
            }
        }
        if is_cut {
            let _ = write!(text, " {CUT}");
        }
        text.push('>');
    }

    /// What an object holds in slots and in its dictionary, at most one more than is shown.
    fn attributes<'py>(&self, value: &Bound<'py, PyAny>) -> Vec<(String, Bound<'py, PyAny>)> {
        let most = self.capture.max_items.saturating_add(1);
        // A class that is not what it seems has no slots that could be shown.
        let mut found = slots::own(value, most).unwrap_or_default();
        let dict = attributes::own(value);
        for (key, attribute) in dict.iter().flatten().take(most - found.len()) {
            if let Ok(key) = key.cast::<PyString>() {
                found.push((key.to_string_lossy().into_owned(), attribute));
            }
        }
        found
    }

    /// What the program's own `__repr__` says, evaluated as an expression is.
    fn own_repr(&mut self, text: &mut String, value: &Bound<'_, PyAny>) {
        let repr = || Ok(value.repr()?.to_string_lossy().into_owned());
        let mut shown = match condition::undisturbed(value.py(), repr) {
            Ok(Ok(shown)) => shown,
            Ok(Err(_)) => format!("<{} object: its __repr__ failed>", class_name(value)),
            Err(leaving) => {
                self.leaving = Some(leaving);
                return;
            }
        };
        truncate(&mut shown, self.capture.max_string);
        text.push_str(&shown);
    }

    fn hides(&self, key: &Bound<'_, PyAny>) -> bool {
        if let Ok(key) = key.cast::<PyString>() {
            self.capture.redact.hides(&key.to_string_lossy())
        } else if let Ok(key) = key.cast::<PyBytes>() {
            self.capture
                .redact
                .hides(&String::from_utf8_lossy(key.as_bytes()))
        } else {
            false
        }
    }
}

fn class_name(value: &Bound<'_, PyAny>) -> String {
    qualified(&value.get_type())
}

fn qualified(class: &Bound<'_, PyType>) -> String {
    class.qualname().map_or_else(
        |_| "?".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn push_repr(text: &mut String, value: &Bound<'_, PyAny>) {
    if let Ok(repr) = value.repr() {
        text.push_str(&repr.to_string_lossy());
    }
}

fn push_sized(text: &mut String, value: &Bound<'_, PyAny>, unit: &str) {
    let size = value
        .cast::<PyByteArray>()
        .map_or(0, PyByteArrayMethods::len);
    let _ = write!(text, "<{} of {size} {unit}>", class_name(value));
}

fn push_rest(text: &mut String, shown: usize, total: usize) {
    if shown < total {
        let _ = write!(text, ", {CUT} {} more", total - shown);
    }
}

fn write_int(text: &mut String, value: &Bound<'_, PyAny>) {
    let int = value.py().get_type::<PyInt>();
    let bits = int.call_method1(name!("bit_length"), (value,));
    let bits: u64 = bits.and_then(|bits| bits.extract()).unwrap_or(u64::MAX);
    if bits > MOST_BITS {
        let _ = write!(text, "<int of {bits} bits>");
    } else if let Ok(shown) = int.call_method1(name!("__repr__"), (value,)) {
        push_text(text, &shown);
    }
}

fn push_text(text: &mut String, shown: &Bound<'_, PyAny>) {
    if let Ok(shown) = shown.cast::<PyString>() {
        text.push_str(&shown.to_string_lossy());
    }
}

/// A string as `repr` writes it, without its end when it is long.
fn write_string(text: &mut String, string: &Bound<'_, PyString>, most: usize) {
    let whole = string.to_string_lossy();
    let kept: String = whole.chars().take(most).collect();
    let cut = kept.len() < whole.len();
    push_repr(text, PyString::new(string.py(), &kept).as_any());
    if cut {
        text.push_str(CUT);
    }
}

fn write_bytes(text: &mut String, bytes: &[u8], most: usize) {
    let kept = &bytes[..bytes.len().min(most)];
    let _ = write!(text, "b'{}'", kept.escape_ascii());
    if kept.len() < bytes.len() {
        text.push_str(CUT);
    }
}

/// Cuts text at a character, with a mark.
fn truncate(text: &mut String, most: usize) {
    if text.len() > most {
        let mut at = most;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push_str(CUT);
    }
}
