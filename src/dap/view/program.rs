//! What the user has evaluated, compiled for the frame in which it is to run.
//!
//! In a function the text becomes the body of a function of its own, whose free variables are the
//! frame's: comprehensions and lambdas in it see them, assignments reach them, and private names are
//! mangled as in the class around. Elsewhere it runs in the frame's namespace. The last expression
//! of several statements is their value, as in the interpreter's own console.

use std::collections::HashMap;
use std::rc::Rc;

use pyo3::exceptions::PySyntaxError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::names::{Room, room};
use crate::compile::{compile_with, names, nested};
use crate::dap::scene::Scene;
use crate::evaluator::{Slot, class_around};
use crate::ffi::name::name;
use crate::ffi::tracing;

/// `PyCF_ONLY_AST`.
const TREE: u32 = 0x400;
/// `PyCF_ALLOW_TOP_LEVEL_AWAIT`.
const AWAIT: u32 = 0x2000;
/// `CO_COROUTINE`.
pub(super) const COROUTINE: u32 = 0x80;
/// Builtins that look at the variables of the frame which calls them.
const FRAME_DEPENDENT: [&str; 5] = ["dir", "eval", "exec", "locals", "vars"];
const SUBJECT: &str = "<evaluation>";

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// One expression.
    Expression,
    /// Statements, the last of which may be an expression, with `await` outside of functions.
    Console,
}

/// What was evaluated at a stop, compiled: by the code object of the frame, and the text.
#[derive(Default)]
pub(crate) struct Programs(HashMap<(usize, Mode, String), Rc<Program>>);

/// A text, compiled.
pub(super) struct Program {
    pub(super) form: Form,
    /// Whether running it gives a coroutine.
    pub(super) awaits: bool,
    /// Whether it is one expression.
    pub(super) is_expression: bool,
}

/// How a text is run.
pub(super) enum Form {
    /// Statements and the expression after them, in the namespace of the frame.
    Namespace(Parts),
    /// The same in a copy of the local variables.
    Snapshot(Parts),
    /// As a function.
    Function {
        /// Its code.
        code: Py<PyAny>,
        /// The variables that it shares with the frame, in the order of its closure.
        free: Vec<Free>,
        /// Whether it ends with an expression.
        has_value: bool,
    },
}

/// Code to run, and code whose value is the text's.
pub(super) struct Parts {
    pub(super) statements: Option<Py<PyAny>>,
    pub(super) value: Option<Py<PyAny>>,
}

/// A variable that the function of a text shares with the frame.
pub(super) struct Free {
    pub(super) name: String,
    /// Where the frame has it; none when it is one of the console's.
    pub(super) slot: Option<Slot>,
    /// Whether the text binds it.
    pub(super) is_bound: bool,
}

/// The program of a text in a frame of a stop.
pub(super) fn program(
    scene: &mut Scene<'_>,
    index: Option<usize>,
    text: &str,
    mode: Mode,
) -> PyResult<Rc<Program>> {
    let py = scene.py();
    let frame = index.map(|index| scene.frame(index).frame.clone());
    let code = frame.as_ref().map(tracing::code_of);
    let address = code.as_ref().map_or(0, |code| code.as_ptr() as usize);
    let extras = index.and_then(|index| scene.extras(index)).cloned();
    let key = (address, mode, text.to_owned());
    // The names of the console take part in how a text is compiled.
    if extras.is_none()
        && let Some(known) = scene.programs.0.get(&key)
    {
        return Ok(Rc::clone(known));
    }
    let text = dedented(text);
    let place = match (&frame, &code) {
        (Some(frame), Some(code)) => match room(frame)? {
            Room::Namespace(_) => None,
            Room::Slots(slots) => Some((code, slots)),
        },
        _ => None,
    };
    let parsed = Parsed::read(py, &text, mode)?;
    let is_expression = matches!(parsed.body()?, (statements, Some(_)) if statements.is_empty());
    let program = match place {
        None => parsed.in_namespace(py).map(Form::Namespace)?,
        Some(_) if parsed.asks_for_frame()? => parsed.in_namespace(py).map(Form::Snapshot)?,
        Some((code, slots)) => {
            let mut known: Vec<(String, Option<Slot>)> = slots
                .into_iter()
                .map(|(name, slot)| (name, Some(slot)))
                .collect();
            if let Some(extras) = &extras {
                for name in extras.keys() {
                    known.push((name.extract()?, None));
                }
            }
            parsed.as_function(py, code, &text, &known)?
        }
    };
    let program = Rc::new(Program {
        form: program,
        awaits: parsed.awaits,
        is_expression,
    });
    if extras.is_none() {
        scene.programs.0.insert(key, Rc::clone(&program));
    }
    Ok(program)
}

/// Statements, and the expression that they end with.
type Body<'py> = (Vec<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// A text as a tree.
struct Parsed<'py> {
    mode: Mode,
    tree: Bound<'py, PyAny>,
    /// Compiled as it is.
    plain: Bound<'py, PyAny>,
    awaits: bool,
}

impl<'py> Parsed<'py> {
    fn read(py: Python<'py>, text: &str, mode: Mode) -> PyResult<Self> {
        let (kind, flags) = match mode {
            Mode::Expression => ("eval", 0),
            Mode::Console => ("exec", AWAIT),
        };
        let parse = |text: &str| {
            let text = PyString::new(py, text);
            compile_with(py, text.as_any(), SUBJECT, kind, TREE | flags)
        };
        let tree = match parse(text) {
            // What a client finds under the cursor may go over several lines.
            Err(error)
                if mode == Mode::Expression
                    && text.contains('\n')
                    && error.is_instance_of::<PySyntaxError>(py) =>
            {
                parse(&format!("(\n{text}\n)")).map_err(|_| error)?
            }
            tree => tree?,
        };
        // It also refuses what stands only in functions, such as `return`.
        let plain = compile_with(py, &tree, SUBJECT, kind, flags)?;
        let flags: u32 = plain.getattr(name!("co_flags"))?.extract()?;
        Ok(Self {
            mode,
            tree,
            plain,
            awaits: flags & COROUTINE != 0,
        })
    }

    fn asks_for_frame(&self) -> PyResult<bool> {
        let names = names(&self.plain)?;
        Ok(names
            .iter()
            .any(|name| FRAME_DEPENDENT.contains(&name.as_str())))
    }

    /// The statements, and the expression that they end with.
    fn body(&self) -> PyResult<Body<'py>> {
        let body = self.tree.getattr(name!("body"))?;
        if self.mode == Mode::Expression {
            return Ok((Vec::new(), Some(body)));
        }
        let mut statements: Vec<Bound<'py, PyAny>> = body.cast::<PyList>()?.iter().collect();
        let last = match statements.last() {
            Some(last) if last.get_type().name()? == "Expr" => Some(last.getattr(name!("value"))?),
            _ => None,
        };
        if last.is_some() {
            statements.pop();
        }
        Ok((statements, last))
    }

    fn in_namespace(&self, py: Python<'py>) -> PyResult<Parts> {
        if self.mode == Mode::Expression {
            return Ok(Parts {
                statements: None,
                value: Some(self.plain.clone().unbind()),
            });
        }
        let (statements, last) = self.body()?;
        let statements = if statements.is_empty() {
            None
        } else {
            self.tree.setattr(name!("body"), statements)?;
            Some(compile_with(py, &self.tree, SUBJECT, "exec", AWAIT)?.unbind())
        };
        let value = match last {
            Some(last) => {
                let tree = tree_of(py, "0", "eval")?;
                tree.setattr(name!("body"), last)?;
                Some(compile_with(py, &tree, SUBJECT, "eval", AWAIT)?.unbind())
            }
            None => None,
        };
        Ok(Parts { statements, value })
    }

    fn as_function(
        &self,
        py: Python<'py>,
        host: &Bound<'py, PyAny>,
        text: &str,
        known: &[(String, Option<Slot>)],
    ) -> PyResult<Form> {
        let class = if text.contains("__") {
            class_around(host, false)?
        } else {
            None
        };
        let (mut body, last) = self.body()?;
        let has_value = last.is_some();
        if let Some(last) = last {
            body.push(returning(py, &last)?);
        }
        let make = |parameters: &[&str], shared: &[&str]| {
            self.function(py, class.as_deref(), &body, parameters, shared)
        };
        let code = make(&[], &[])?;
        let mut bound: Vec<String> = code.getattr(name!("co_varnames"))?.extract()?;
        bound.extend(
            code.getattr(name!("co_cellvars"))?
                .extract::<Vec<String>>()?,
        );
        let used = names(&code)?;
        let is_known = |name: &String| known.iter().any(|(known, _)| known == name);
        let mut parameters: Vec<&str> = used
            .iter()
            .filter(|name| is_known(name))
            .map(String::as_str)
            .collect();
        for name in &bound {
            if !parameters.contains(&name.as_str()) {
                parameters.push(name);
            }
        }
        if parameters.is_empty() {
            return Ok(Form::Function {
                code: code.unbind(),
                free: Vec::new(),
                has_value,
            });
        }
        let shared: Vec<&str> = bound.iter().map(String::as_str).collect();
        let code = make(&parameters, &shared)?;
        let names: Vec<String> = code.getattr(name!("co_freevars"))?.extract()?;
        let free = names.into_iter().map(|name| Free {
            slot: known
                .iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, slot)| *slot),
            is_bound: bound.contains(&name),
            name,
        });
        Ok(Form::Function {
            free: free.collect(),
            code: code.unbind(),
            has_value,
        })
    }

    /// The code of a function with this body, inside of one that has these parameters.
    fn function(
        &self,
        py: Python<'py>,
        class: Option<&str>,
        body: &[Bound<'py, PyAny>],
        parameters: &[&str],
        shared: &[&str],
    ) -> PyResult<Bound<'py, PyAny>> {
        let keyword = if self.awaits { "async def" } else { "def" };
        let declaration = if shared.is_empty() {
            "pass".to_owned()
        } else {
            format!("nonlocal {}", shared.join(", "))
        };
        let class = class.unwrap_or("_");
        let source = format!(
            "class {class}:\n def _({}):\n  {keyword} _():\n   {declaration}\n",
            parameters.join(", ")
        );
        let tree = tree_of(py, &source, "exec")?;
        let first = |node: &Bound<'py, PyAny>| node.getattr(name!("body"))?.get_item(0);
        let inner = first(&first(&first(&tree)?)?)?;
        let statements = inner.getattr(name!("body"))?;
        for statement in body {
            statements.call_method1(name!("append"), (statement,))?;
        }
        let code = compile_with(py, &tree, SUBJECT, "exec", 0)?;
        nested(&nested(&nested(&code)?)?)
    }
}

fn tree_of<'py>(py: Python<'py>, source: &str, mode: &str) -> PyResult<Bound<'py, PyAny>> {
    let source = PyString::new(py, source);
    compile_with(py, source.as_any(), SUBJECT, mode, TREE)
}

/// A `return` of an expression, where the expression stands.
fn returning<'py>(py: Python<'py>, expression: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let tree = tree_of(py, "def _():\n return 0\n", "exec")?;
    let function = tree.getattr(name!("body"))?.get_item(0)?;
    let statement = function.getattr(name!("body"))?.get_item(0)?;
    for place in ["lineno", "col_offset", "end_lineno", "end_col_offset"] {
        statement.setattr(place, expression.getattr(place)?)?;
    }
    statement.setattr(name!("value"), expression)?;
    Ok(statement)
}

/// A text without the indentation that all of its lines have, and without blanks around it.
fn dedented(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let least = lines().map(indent).min().unwrap_or(0);
    let kept: Vec<&str> = text
        .lines()
        .map(|line| line.get(least..).unwrap_or(""))
        .collect();
    kept.join("\n").trim_matches('\n').trim_end().to_owned()
}
