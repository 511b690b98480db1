//! One expression of the user's, evaluated in frames of one code object.
//!
//! The meaning is that of `eval(text, frame.f_globals, frame.f_locals)`. In a function the
//! expression is compiled as a function whose parameters are those of its names that are bound
//! local variables at that moment: so comprehensions and lambdas see them too, and private names
//! are mangled where the code is inside a class. The values are read from the frame itself, so
//! that `locals()` of the program stays as it was.
//! Module and class bodies are evaluated in their namespace; an expression that asks for the
//! variables of its frame (`locals()`, `dir()`, ...) is, in a copy of them.

use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::compile;
use crate::ffi::name::name;
use crate::ffi::{evaluate, locals, prove, tracing};

/// `CO_OPTIMIZED`: local variables are in slots.
const OPTIMIZED: u32 = 1;

/// Builtins that look at the variables of the frame which calls them.
const FRAME_DEPENDENT: [&str; 5] = ["dir", "eval", "exec", "locals", "vars"];

/// An expression, and how it is evaluated in the one code object that it is for.
#[derive(Debug)]
pub(crate) struct Evaluator {
    text: String,
    subject: String,
    form: OnceLock<Form>,
}

#[derive(Debug)]
enum Form {
    /// Compiled as for `eval`, in the namespace of the frame.
    Namespace(Py<PyAny>),
    /// Compiled as for `eval`, in a copy of all local variables.
    Snapshot(Py<PyAny>, Vec<Name>),
    /// Compiled as functions.
    Function(Function),
}

#[derive(Debug)]
struct Function {
    class: Option<String>,
    /// The names that may be local variables.
    names: Vec<Name>,
    /// Whether the frame has a namespace beside its slots.
    has_namespace: bool,
    /// The code for each set of names that was bound at some hit.
    made: Mutex<Vec<(Vec<bool>, Py<PyAny>)>>,
}

#[derive(Debug)]
struct Name {
    text: String,
    slot: Option<Slot>,
}

/// Where a frame keeps a local variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// Its number.
    pub(crate) index: usize,
    /// Whether it holds a cell.
    pub(crate) shared: bool,
}

impl Evaluator {
    /// Of a text that compiles; `subject` names it in tracebacks.
    pub(crate) fn new(text: &str, subject: &str) -> Self {
        Self {
            text: text.trim_start_matches([' ', '\t']).to_owned(),
            subject: subject.to_owned(),
            form: OnceLock::new(),
        }
    }

    /// Compiles it for the code of `frame`, if that was not done; it takes no part in figures.
    pub(crate) fn prepare(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        self.form(frame).map(|_| ())
    }

    /// Its value in `frame`.
    pub(crate) fn value<'py>(&self, frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = frame.py();
        let globals = frame.getattr(name!("f_globals"))?;
        match self.form(frame)? {
            Form::Namespace(code) => {
                evaluate::in_namespace(code.bind(py), &globals, &namespace(frame)?)
            }
            Form::Snapshot(code, names) => {
                let copy = PyDict::new(py);
                for name in names {
                    if let Some(value) = name.value(frame, None)? {
                        copy.set_item(&name.text, value)?;
                    }
                }
                evaluate::in_namespace(code.bind(py), &globals, &copy)
            }
            Form::Function(function) => self.call(frame, &globals, function),
        }
    }

    fn call<'py>(
        &self,
        frame: &Bound<'py, PyAny>,
        globals: &Bound<'py, PyAny>,
        function: &Function,
    ) -> PyResult<Bound<'py, PyAny>> {
        static FUNCTION_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = frame.py();
        let namespace = if function.has_namespace {
            Some(namespace(frame)?)
        } else {
            None
        };
        let mut present = Vec::with_capacity(function.names.len());
        let mut values = Vec::with_capacity(function.names.len());
        for name in &function.names {
            let value = name.value(frame, namespace.as_ref())?;
            present.push(value.is_some());
            values.extend(value);
        }
        let code = self.code_for(py, function, present)?;
        let made = FUNCTION_TYPE
            .import(py, "types", "FunctionType")?
            .call1((code, globals))?;
        made.call1(PyTuple::new(py, values)?)
    }

    fn code_for(
        &self,
        py: Python<'_>,
        function: &Function,
        present: Vec<bool>,
    ) -> PyResult<Py<PyAny>> {
        let known = |made: &[(Vec<bool>, Py<PyAny>)]| {
            let found = made.iter().find(|(names, _)| *names == present)?;
            Some(found.1.clone_ref(py))
        };
        let lock = || function.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = known(&lock()) {
            return Ok(code);
        }
        let parameters: Vec<&str> = function
            .names
            .iter()
            .zip(&present)
            .filter_map(|(name, present)| present.then_some(&*name.text))
            .collect();
        let class = function.class.as_deref();
        let code = compile::function(py, &self.text, &self.subject, class, &parameters)?.unbind();
        lock().push((present, code.clone_ref(py)));
        Ok(code)
    }

    fn form(&self, frame: &Bound<'_, PyAny>) -> PyResult<&Form> {
        if let Some(form) = self.form.get() {
            return Ok(form);
        }
        let form = self.find_form(frame)?;
        Ok(self.form.get_or_init(|| form))
    }

    fn find_form(&self, frame: &Bound<'_, PyAny>) -> PyResult<Form> {
        let py = frame.py();
        let host = tracing::code_of(frame);
        let flags: u32 = host.getattr(name!("co_flags"))?.extract()?;
        let has_namespace = flags & OPTIMIZED == 0;
        let plain = compile::expression(py, &self.text, &self.subject)?;
        let asks_for_frame = compile::names(&plain)?
            .iter()
            .any(|name| FRAME_DEPENDENT.contains(&name.as_str()));
        let slots = slots(&host)?;
        if asks_for_frame && !has_namespace {
            let name = |(text, slot)| Name {
                text,
                slot: Some(slot),
            };
            return Ok(Form::Snapshot(
                plain.unbind(),
                slots.into_iter().map(name).collect(),
            ));
        }
        let class = if self.text.contains("__") {
            class_around(&host, has_namespace)?
        } else {
            None
        };
        let function = compile::function(py, &self.text, &self.subject, class.as_deref(), &[])?;
        let mut names = Vec::new();
        for text in compile::names(&function)? {
            let found = slots.iter().find(|(name, _)| *name == text);
            let slot = found.map(|(_, slot)| *slot);
            if slot.is_some() || has_namespace {
                names.push(Name { text, slot });
            }
        }
        let sees_enough = class.is_none()
            && !self.text.contains(":=")
            && names.iter().all(|name| name.slot.is_none());
        if has_namespace && (sees_enough || asks_for_frame) {
            return Ok(Form::Namespace(plain.unbind()));
        }
        Ok(Form::Function(Function {
            class,
            names,
            has_namespace,
            made: Mutex::default(),
        }))
    }
}

impl Name {
    /// What it is bound to in `frame`: in its namespace, if it has one, or in its slot.
    fn value<'py>(
        &self,
        frame: &Bound<'py, PyAny>,
        namespace: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match namespace.map(|namespace| namespace.get_item(&self.text)) {
            Some(Err(error)) if !error.is_instance_of::<PyKeyError>(frame.py()) => {
                return Err(error);
            }
            Some(Ok(value)) => return Ok(Some(value)),
            Some(Err(_)) | None => {}
        }
        let Some(slot) = self.slot else {
            return Ok(None);
        };
        let Some(layout) = prove::proved() else {
            let locals = frame.getattr(name!("f_locals"))?;
            return Ok(locals.get_item(&self.text).ok());
        };
        let value = locals::slot(frame, layout, slot.index);
        Ok(match value {
            // An empty cell has no contents.
            Some(cell) if slot.shared => {
                let contents = name!("cell_contents");
                cell.getattr(contents).ok()
            }
            value => value,
        })
    }
}

fn namespace<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    frame.getattr(name!("f_locals"))
}

/// The local variables of a code object and their slots.
pub(crate) fn slots(code: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Slot)>> {
    let names = |attribute| code.getattr(attribute)?.extract::<Vec<String>>();
    let cells = names(name!("co_cellvars"))?;
    let mut all: Vec<(String, bool)> = Vec::new();
    for name in names(name!("co_varnames"))? {
        let shared = cells.contains(&name);
        all.push((name, shared));
    }
    for name in cells {
        if !all.iter().any(|(known, _)| *known == name) {
            all.push((name, true));
        }
    }
    all.extend(
        names(name!("co_freevars"))?
            .into_iter()
            .map(|name| (name, true)),
    );
    let slot = |(index, (name, shared))| (name, Slot { index, shared });
    Ok(all.into_iter().enumerate().map(slot).collect())
}

/// The class whose body, or a function of whose body, a code object is.
pub(crate) fn class_around(
    code: &Bound<'_, PyAny>,
    has_namespace: bool,
) -> PyResult<Option<String>> {
    let qualname: String = code.getattr(name!("co_qualname"))?.extract()?;
    let name: String = code.getattr(name!("co_name"))?.extract()?;
    let mut parts: Vec<&str> = qualname.split('.').collect();
    if !(has_namespace && name != "<module>") {
        parts.pop();
    }
    while parts.last() == Some(&"<locals>") {
        // The function whose local this is.
        parts.truncate(parts.len().saturating_sub(2));
    }
    let Some(class) = parts.last() else {
        return Ok(None);
    };
    let is_name: bool = class
        .into_pyobject(code.py())?
        .call_method0(name!("isidentifier"))?
        .extract()?;
    Ok(is_name.then(|| (*class).to_owned()))
}
