//! Values as text: bounded, and without waiting for code of the program.
//!
//! Builtin values and containers are written as `repr` writes them, cut short where a limit is
//! reached. A class with a `__repr__` of its own is asked, within a time limit; what that raises,
//! or that it did not end, is the text then. A subclass without one is written as what it is
//! derived from, so that a long list is cut short whatever its class is called.

use std::fmt::Write;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyFunction, PyInt, PyList, PyRange,
    PySet, PySlice, PyString, PyTuple, PyType,
};

use super::guard::{Patience, last_line};
use crate::ffi::attributes::repr_slot;
use crate::ffi::name::{Name, name};
use crate::log::loaded_module;

/// The interpreter writes no longer integers in decimal digits.
const MOST_BITS: u64 = 14_000;
const CUT: &str = "...";
/// How deep containers are looked into.
const DEEPEST: usize = 5;

/// How values are to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Integers in hexadecimal digits.
    pub(super) hex: bool,
    /// How many characters of a string or of what a `__repr__` says.
    pub(super) string: usize,
    /// The same inside of containers.
    pub(super) inner_string: usize,
    /// How many items of a container.
    pub(super) items: usize,
    /// The same inside of containers.
    pub(super) inner_items: usize,
    /// How many bytes in all, more or less.
    pub(super) room: usize,
}

impl Style {
    /// For a row of a list.
    pub(super) const ROW: Self = Self {
        hex: false,
        string: 1 << 16,
        inner_string: 256,
        items: 100,
        inner_items: 20,
        room: 1 << 16,
    };

    /// For what is shown beside other things.
    pub(super) const BRIEF: Self = Self {
        hex: false,
        string: 120,
        inner_string: 40,
        items: 10,
        inner_items: 4,
        room: 1 << 9,
    };

    /// The same with hexadecimal integers, or not.
    pub(super) fn with_hex(self, hex: bool) -> Self {
        Self { hex, ..self }
    }
}

/// The text of a value.
pub(super) fn show(value: &Bound<'_, PyAny>, style: Style, patience: &mut Patience) -> String {
    let mut writer = Writer {
        text: String::new(),
        style,
        around: Vec::new(),
        patience,
    };
    writer.write(value);
    writer.text
}

struct Writer<'a> {
    text: String,
    style: Style,
    /// The containers that are being written, by address.
    around: Vec<usize>,
    patience: &'a mut Patience,
}

/// The functions by which builtin classes make their `repr`.
struct Slots {
    object: usize,
    class: usize,
    int: usize,
    boolean: usize,
    float: usize,
    string: usize,
    bytes: usize,
    list: usize,
    tuple: usize,
    dict: usize,
    set: usize,
    frozen_set: usize,
    range: usize,
    byte_array: usize,
    function: usize,
}

fn slots(py: Python<'_>) -> &'static Slots {
    static SLOTS: PyOnceLock<Slots> = PyOnceLock::new();
    SLOTS.get_or_init(py, || Slots {
        object: repr_slot(&py.get_type::<PyAny>()),
        class: repr_slot(&py.get_type::<PyType>()),
        int: repr_slot(&py.get_type::<PyInt>()),
        boolean: repr_slot(&py.get_type::<PyBool>()),
        float: repr_slot(&py.get_type::<PyFloat>()),
        string: repr_slot(&py.get_type::<PyString>()),
        bytes: repr_slot(&py.get_type::<PyBytes>()),
        list: repr_slot(&py.get_type::<PyList>()),
        tuple: repr_slot(&py.get_type::<PyTuple>()),
        dict: repr_slot(&py.get_type::<PyDict>()),
        set: repr_slot(&py.get_type::<PySet>()),
        frozen_set: repr_slot(&py.get_type::<PyFrozenSet>()),
        range: repr_slot(&py.get_type::<PyRange>()),
        byte_array: repr_slot(&py.get_type::<PyByteArray>()),
        function: repr_slot(&py.get_type::<PyFunction>()),
    })
}

impl Writer<'_> {
    fn is_full(&self) -> bool {
        self.text.len() >= self.style.room
    }

    fn most_string(&self) -> usize {
        if self.around.is_empty() {
            self.style.string
        } else {
            self.style.inner_string
        }
    }

    fn most_items(&self) -> usize {
        if self.around.len() <= 1 {
            self.style.items
        } else {
            self.style.inner_items
        }
    }

    fn write(&mut self, value: &Bound<'_, PyAny>) {
        if self.is_full() {
            self.text.push_str(CUT);
            return;
        }
        let slots = slots(value.py());
        let slot = repr_slot(&value.get_type());
        if slot == slots.string {
            self.string(value);
        } else if slot == slots.int {
            self.int(value);
        } else if slot == slots.boolean || slot == slots.float || value.is_none() {
            self.plain(value);
        } else if slot == slots.bytes || slot == slots.byte_array {
            self.bytes(value);
        } else if slot == slots.list
            || slot == slots.tuple
            || slot == slots.dict
            || slot == slots.set
            || slot == slots.frozen_set
        {
            self.container(value);
        } else if slot == slots.object
            || slot == slots.class
            || slot == slots.range
            || slot == slots.function
        {
            self.plain(value);
        } else if self.method(value).is_none() && self.special(value, slot).is_none() {
            self.own(value);
        }
    }

    /// A method, without the text of the object that it is bound to.
    fn method(&mut self, value: &Bound<'_, PyAny>) -> Option<()> {
        if class_name(value) != "method" {
            return None;
        }
        let function = value.getattr(name!("__func__")).ok()?;
        let function = function.cast_into::<PyFunction>().ok()?;
        let name: String = function
            .getattr(name!("__qualname__"))
            .ok()?
            .extract()
            .ok()?;
        let object = value.getattr(name!("__self__")).ok()?;
        let _ = write!(
            self.text,
            "<bound method {name} of <{} object at {:#x}>>",
            class_name(&object),
            object.as_ptr() as usize,
        );
        Some(())
    }

    /// Containers of the standard library that write as many items as there are.
    fn special(&mut self, value: &Bound<'_, PyAny>, slot: usize) -> Option<()> {
        let py = value.py();
        let collections = loaded_module(py, "_collections")?;
        let is = |name: &'static Name| {
            let class = collections.getattr(name).ok()?.cast_into::<PyType>().ok()?;
            (repr_slot(&class) == slot).then_some(())
        };
        if is(name!("deque")).is_some() {
            self.enclosed(value, |writer| {
                writer.text.push_str("deque([");
                let length = value.len().unwrap_or(0);
                let kept = length.min(writer.most_items());
                let items = (0..kept).filter_map(|at| value.get_item(at).ok());
                writer.sequence(&items.collect::<Vec<_>>(), length);
                writer.text.push(']');
                if let Ok(most) = value.getattr(name!("maxlen"))
                    && !most.is_none()
                {
                    let _ = write!(writer.text, ", maxlen={most}");
                }
                writer.text.push(')');
            });
            return Some(());
        }
        let dict = value.cast::<PyDict>().ok()?;
        let factory = is(name!("defaultdict"))
            .and_then(|()| collections.getattr(name!("defaultdict")).ok())
            .and_then(|class| class.getattr(name!("default_factory")).ok())
            .and_then(|member| member.call_method1(name!("__get__"), (value,)).ok());
        if factory.is_none() {
            is(name!("OrderedDict"))?;
        }
        let name = value.get_type().name().ok()?.to_string();
        self.enclosed(value, |writer| {
            let _ = write!(writer.text, "{name}(");
            if let Some(factory) = factory {
                writer.write(&factory);
                writer.text.push_str(", ");
            }
            writer.mapping(dict);
            writer.text.push(')');
        });
        Some(())
    }

    /// A value whose class has a `__repr__` of its own.
    fn own(&mut self, value: &Bound<'_, PyAny>) {
        let py = value.py();
        let most = self.most_string();
        let repr = || {
            let text = value.repr()?;
            let length = text.len()?;
            let kept = text.get_item(up_to(py, most)?)?;
            let mut kept = kept.cast::<PyString>()?.to_string_lossy().into_owned();
            if length > most {
                kept.push_str(CUT);
            }
            Ok(kept)
        };
        match self.patience.run(py, repr) {
            Ok(text) => self.text.push_str(&text),
            Err(error) => {
                let said = last_line(py, &error);
                let _ = write!(
                    self.text,
                    "<{} object at {:#x}; its repr: {said}>",
                    class_name(value),
                    value.as_ptr() as usize,
                );
            }
        }
    }

    fn plain(&mut self, value: &Bound<'_, PyAny>) {
        match value.repr() {
            Ok(repr) => self.text.push_str(&repr.to_string_lossy()),
            Err(_) => self.own(value),
        }
    }

    fn string(&mut self, value: &Bound<'_, PyAny>) {
        let Ok(string) = value.cast::<PyString>() else {
            return self.own(value);
        };
        // A part of an instance of a subclass is a plain string.
        let Ok((text, cut)) = start(string.as_any(), self.most_string()) else {
            return self.own(value);
        };
        self.plain(&text);
        if cut {
            self.text.push_str(CUT);
        }
    }

    fn bytes(&mut self, value: &Bound<'_, PyAny>) {
        let Ok((text, cut)) = start(value, self.most_string()) else {
            return self.own(value);
        };
        self.plain(&text);
        if cut {
            self.text.push_str(CUT);
        }
    }

    fn int(&mut self, value: &Bound<'_, PyAny>) {
        let int = value.py().get_type::<PyInt>();
        let bits = int.call_method1(name!("bit_length"), (value,));
        let bits: u64 = bits.and_then(|bits| bits.extract()).unwrap_or(u64::MAX);
        let most = self.most_string();
        let written = if self.style.hex || bits > MOST_BITS {
            int.call_method1(name!("__format__"), (value, "#x"))
        } else {
            int.call_method1(name!("__repr__"), (value,))
        };
        match written {
            Ok(digits) => {
                let digits = digits.to_string();
                self.text.push_str(&digits[..digits.len().min(most)]);
                if digits.len() > most {
                    self.text.push_str(CUT);
                }
            }
            Err(_) => self.own(value),
        }
    }

    fn enclosed(&mut self, value: &Bound<'_, PyAny>, write: impl FnOnce(&mut Self)) {
        let address = value.as_ptr() as usize;
        if self.around.contains(&address) || self.around.len() >= DEEPEST {
            self.text.push_str(if value.is_instance_of::<PyDict>() {
                "{...}"
            } else if value.is_instance_of::<PyTuple>() {
                "(...)"
            } else {
                "[...]"
            });
            return;
        }
        self.around.push(address);
        write(self);
        self.around.pop();
    }

    fn container(&mut self, value: &Bound<'_, PyAny>) {
        self.enclosed(value, |writer| {
            let most = writer.most_items();
            if let Ok(list) = value.cast::<PyList>() {
                let kept = (0..list.len().min(most)).filter_map(|at| list.get_item(at).ok());
                let items: Vec<_> = kept.collect();
                writer.brackets("[", &items, list.len(), "]");
            } else if let Ok(tuple) = value.cast::<PyTuple>() {
                let kept = (0..tuple.len().min(most)).filter_map(|at| tuple.get_item(at).ok());
                let items: Vec<_> = kept.collect();
                let close = if tuple.len() == 1 { ",)" } else { ")" };
                writer.brackets("(", &items, tuple.len(), close);
            } else if let Ok(dict) = value.cast::<PyDict>() {
                writer.mapping(dict);
            } else if let Ok(set) = value.cast::<PySet>() {
                let items: Vec<_> = set.iter().take(most).collect();
                if items.is_empty() {
                    let _ = write!(writer.text, "{}()", class_name(value));
                } else if value.is_exact_instance_of::<PySet>() {
                    writer.brackets("{", &items, set.len(), "}");
                } else {
                    let open = format!("{}({{", class_name(value));
                    writer.brackets(&open, &items, set.len(), "})");
                }
            } else if let Ok(set) = value.cast::<PyFrozenSet>() {
                let items: Vec<_> = set.iter().take(most).collect();
                let name = class_name(value);
                if items.is_empty() {
                    let _ = write!(writer.text, "{name}()");
                } else {
                    writer.brackets(&format!("{name}({{"), &items, set.len(), "})");
                }
            } else {
                writer.own(value);
            }
        });
    }

    fn brackets(&mut self, open: &str, items: &[Bound<'_, PyAny>], total: usize, close: &str) {
        self.text.push_str(open);
        self.sequence(items, total);
        self.text.push_str(close);
    }

    fn sequence(&mut self, items: &[Bound<'_, PyAny>], total: usize) {
        let mut written = 0;
        for item in items {
            if self.is_full() {
                break;
            }
            if written > 0 {
                self.text.push_str(", ");
            }
            self.write(item);
            written += 1;
        }
        self.rest(written, total);
    }

    fn mapping(&mut self, dict: &Bound<'_, PyDict>) {
        let items: Vec<_> = dict.iter().take(self.most_items()).collect();
        self.text.push('{');
        let mut written = 0;
        for (key, value) in &items {
            if self.is_full() {
                break;
            }
            if written > 0 {
                self.text.push_str(", ");
            }
            self.write(key);
            self.text.push_str(": ");
            self.write(value);
            written += 1;
        }
        self.rest(written, dict.len());
        self.text.push('}');
    }

    fn rest(&mut self, written: usize, total: usize) {
        if written < total {
            self.text.push_str(if written > 0 { ", ..." } else { CUT });
        }
    }
}

/// The beginning of a string or of bytes as the builtin type that they are, and whether there is
/// more.
fn start<'py>(value: &Bound<'py, PyAny>, most: usize) -> PyResult<(Bound<'py, PyAny>, bool)> {
    let py = value.py();
    let class = if value.is_instance_of::<PyString>() {
        py.get_type::<PyString>()
    } else if value.is_instance_of::<PyBytes>() {
        py.get_type::<PyBytes>()
    } else {
        py.get_type::<PyByteArray>()
    };
    let length: usize = class.call_method1(name!("__len__"), (value,))?.extract()?;
    let part = up_to(py, length.min(most))?;
    // A whole exact string would be itself, and so is its repr.
    let part = class.call_method1(name!("__getitem__"), (value, part))?;
    Ok((part, length > most))
}

/// The slice of so many items. `PySlice::new` of `PyO3` 0.30 never frees the numbers it makes.
pub(super) fn up_to(py: Python<'_>, items: usize) -> PyResult<Bound<'_, PyAny>> {
    py.get_type::<PySlice>().call1((items,))
}

/// The name of a value's class, as its `__name__` says.
pub(super) fn class_name(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().name();
    name.map_or_else(
        |_| "?".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
