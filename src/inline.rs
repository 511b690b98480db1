//! What breakpoints evaluate, compiled for the line that they stand on.
//!
//! An expression is compiled once, when its breakpoint is asked for, as code that the engine
//! moves into the function; linking then runs no bytecode. The breakpoints of a line are taken
//! in groups: one that evaluates something in the line is alone, those between them share a
//! probe. What cannot be in the line is evaluated by the probe, and the breakpoint says why.

use std::sync::Arc;

use instrument::expr::{Expression, Piece, Purity};
use instrument::inset::{self, Part};
use pyo3::prelude::*;

use crate::breakpoint::{Breakpoint, Request};
use crate::ffi::name::name;
use crate::{compile, time_limit};

/// The expressions of one breakpoint, as marshalled code.
#[derive(Debug, Default)]
pub(crate) struct Inline {
    condition: Option<Vec<u8>>,
    /// Nothing where the message has no fields, or some cannot be in the line.
    message: Option<Vec<InlinePiece>>,
    /// Why something is not in the line.
    pub(crate) detour: Option<String>,
}

#[derive(Debug)]
enum InlinePiece {
    Text(String),
    Field(Vec<u8>),
}

impl InlinePiece {
    fn lent(&self) -> inset::Piece<'_> {
        match self {
            Self::Text(text) => inset::Piece::Text(text),
            Self::Field(code) => inset::Piece::Field(code),
        }
    }
}

impl Inline {
    /// Compiles what can be in the line.
    pub(crate) fn of(py: Python<'_>, request: &Request) -> Self {
        let mut inline = Self::default();
        if let Some(condition) = &request.condition {
            let source = inset::condition_source(condition);
            match compiled(
                py,
                Expression::parse(condition).ok().as_ref(),
                &source,
                "exec",
            ) {
                Ok(code) => inline.condition = Some(code),
                // What is left to the probe is left to it as a whole.
                Err(detour) => {
                    return Self {
                        detour: Some(detour),
                        ..Self::default()
                    };
                }
            }
        }
        match message(py, request) {
            Ok(message) => inline.message = message,
            Err(detour) => inline.detour = Some(detour),
        }
        inline
    }

    fn is_empty(&self) -> bool {
        self.condition.is_none() && self.message.is_none()
    }
}

fn message(py: Python<'_>, request: &Request) -> Result<Option<Vec<InlinePiece>>, String> {
    if request.fields().next().is_none() {
        return Ok(None);
    }
    let template = request
        .message
        .iter()
        .flat_map(|message| message.template.pieces());
    let pieces = template.map(|piece| match piece {
        Piece::Text(text) => Ok(InlinePiece::Text(text.clone())),
        Piece::Field(field) => {
            field.nested.iter().try_for_each(movable)?;
            let source = inset::value_source(&field.source);
            compiled(py, Some(&field.expression), &source, "eval").map(InlinePiece::Field)
        }
    });
    pieces.collect::<Result<_, _>>().map(Some)
}

/// Whether an expression may be evaluated in the line, else why not. Nothing ends what runs
/// there, so where evaluations have a budget, a call of the program's own code stays outside.
fn movable(expression: &Expression) -> Result<(), String> {
    expression.splice().map_err(|refusal| refusal.to_string())?;
    match expression.purity() {
        Purity::Impure(why) if time_limit::is_limited() => Err(format!(
            "evaluated out of line, within condition_budget_s: {why}"
        )),
        _ => Ok(()),
    }
}

fn compiled(
    py: Python<'_>,
    expression: Option<&Expression>,
    source: &str,
    mode: &str,
) -> Result<Vec<u8>, String> {
    if let Some(expression) = expression {
        movable(expression)?;
    }
    let code = compile::compile(py, source, "<breakpoint>", mode);
    let marshalled = code.and_then(|code| {
        let marshal = py.import("marshal")?;
        marshal.call_method1(name!("dumps"), (code,))?.extract()
    });
    marshalled.map_err(|error| format!("evaluated out of line: {error}"))
}

/// Breakpoints of one line that share a probe.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) breakpoints: Vec<Arc<Breakpoint>>,
}

/// The breakpoints of a line in groups, in their order.
pub(crate) fn groups(breakpoints: Vec<Arc<Breakpoint>>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for breakpoint in breakpoints {
        let alone = breakpoint.inline().is_some();
        match groups.last_mut() {
            Some(last) if !alone && !last.is_inline() => last.breakpoints.push(breakpoint),
            _ => groups.push(Group {
                breakpoints: vec![breakpoint],
            }),
        }
    }
    groups
}

impl Group {
    fn inline(&self) -> Option<&Inline> {
        self.breakpoints.first()?.inline()
    }

    /// Whether it evaluates something in the line.
    pub(crate) fn is_inline(&self) -> bool {
        self.inline().is_some()
    }

    fn is_owned(&self) -> bool {
        self.breakpoints.iter().any(|point| point.is_owned())
    }

    /// The pieces of its message.
    pub(crate) fn pieces(&self) -> Option<Vec<inset::Piece<'_>>> {
        let pieces = self.inline()?.message.as_ref()?;
        Some(pieces.iter().map(InlinePiece::lent).collect())
    }

    /// What it wants in its line.
    pub(crate) fn part<'p>(
        &'p self,
        message: Option<&'p [inset::Piece<'p>]>,
        metered: bool,
    ) -> Part<'p> {
        let inline = self.inline();
        Part {
            condition: inline.and_then(|inline| inline.condition.as_deref()),
            message,
            metered: metered && inline.is_some() && !self.is_owned(),
            counted: inline.is_some() && self.is_owned(),
        }
    }
}

impl Breakpoint {
    /// What it evaluates in its line, if anything.
    pub(crate) fn inline(&self) -> Option<&Inline> {
        self.inline.get().filter(|inline| !inline.is_empty())
    }
}
