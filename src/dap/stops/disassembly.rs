//! `disassemble` and `setInstructionBreakpoints`: the bytecode that frames run.
//!
//! Owns the addresses by which the client knows instructions: the number of a code object, the same
//! as long as the session lasts, and the byte offset in it. Shown is what runs, without the
//! instructions that a probe consists of.

use std::collections::HashMap;

use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::data::Terms;
use super::step_targets::{Instruction, instructions};
use crate::dap::parked::{Why, park, without_nulls};
use crate::dap::protocol::{Answer, Refusal, Request};
use crate::dap::session::{self, Session, lock};
use crate::dap::view::{failed, source_of};
use crate::ffi::name::name;
use crate::instructions::{self as engine, Point};
use crate::registry;

/// Offsets take the lower bits of an address.
const OFFSET_BITS: u32 = 24;

/// How many instructions a plain probe consists of.
const PROBE: usize = 3;

/// The code objects that have addresses, and the breakpoints in them.
#[derive(Default)]
pub(in crate::dap) struct Codes {
    /// Weak references; the number of a code object is its place, from 1.
    known: Vec<Py<PyAny>>,
    /// The last number given at each address of memory.
    numbers: HashMap<usize, usize>,
    terms: Vec<(u64, Terms)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    memory_reference: String,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    instruction_offset: i64,
    instruction_count: usize,
}

#[derive(Deserialize)]
struct SetArguments {
    breakpoints: Vec<Asked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    instruction_reference: String,
    #[serde(default)]
    offset: i64,
    condition: Option<String>,
    hit_condition: Option<String>,
}

/// The address of the instruction that a frame is at.
pub(in crate::dap) fn pointer(
    session: &Session,
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let at: i64 = frame.getattr(name!("f_lasti"))?.extract()?;
    let number = number(session, code)?;
    Ok(written(number, usize::try_from(at).unwrap_or(0)))
}

fn written(number: usize, offset: usize) -> String {
    format!("{:#x}", (number << OFFSET_BITS) + offset)
}

fn number(session: &Session, code: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = code.py();
    let address = code.as_ptr() as usize;
    let known = {
        let points = lock(&session.points);
        let number = points.codes.numbers.get(&address).copied();
        number.map(|number| (number, points.codes.known[number - 1].clone_ref(py)))
    };
    if let Some((number, weak)) = known
        && weak.bind(py).call0()?.is(code)
    {
        return Ok(number);
    }
    let weak = py.import("weakref")?.call_method1(name!("ref"), (code,))?;
    let mut points = lock(&session.points);
    points.codes.known.push(weak.unbind());
    let number = points.codes.known.len();
    points.codes.numbers.insert(address, number);
    Ok(number)
}

/// The code object and the byte offset of an address.
fn meant<'py>(
    py: Python<'py>,
    session: &Session,
    reference: &str,
    offset: i64,
) -> Result<(usize, Bound<'py, PyAny>, i64), Refusal> {
    let unknown = || Refusal::new(format!("{reference} is the address of no instruction"));
    let digits = reference.strip_prefix("0x").unwrap_or(reference);
    let address = usize::from_str_radix(digits, 16).map_err(|_| unknown())?;
    let number = address >> OFFSET_BITS;
    let within = i64::try_from(address & ((1 << OFFSET_BITS) - 1)).unwrap_or(0);
    let weak = {
        let points = lock(&session.points);
        let at = number.checked_sub(1).ok_or_else(unknown)?;
        let found = points.codes.known.get(at);
        found.map(|weak| weak.clone_ref(py)).ok_or_else(unknown)?
    };
    let code = weak.bind(py).call0().map_err(|error| failed(&error))?;
    if code.is_none() {
        return Err(Refusal::new("the program has dropped this code"));
    }
    Ok((number, code, within + offset))
}

/// The instructions of code, without those of plain probes.
fn shown(code: &Bound<'_, PyAny>) -> PyResult<Vec<Instruction>> {
    let mut shown = Vec::new();
    let mut left_out = 0;
    for instruction in instructions(code)? {
        if instruction.is_probe {
            left_out = PROBE;
        }
        if left_out > 0 {
            left_out -= 1;
        } else {
            shown.push(instruction);
        }
    }
    Ok(shown)
}

/// `disassemble`
pub(in crate::dap) fn disassemble(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let (number, code, offset) = meant(py, session, &wanted.memory_reference, wanted.offset)?;
    let told = || -> PyResult<Vec<Value>> {
        let all = shown(&code)?;
        let file: String = code.getattr(name!("co_filename"))?.extract()?;
        let symbol: String = code.getattr(name!("co_qualname"))?.extract()?;
        let source = source_of(session, &file);
        let at = all.partition_point(|one| i64::try_from(one.offset).unwrap_or(0) < offset);
        let first = i64::try_from(at).unwrap_or(0) + wanted.instruction_offset;
        let mut told = Vec::new();
        for index in
            first..first.saturating_add(i64::try_from(wanted.instruction_count).unwrap_or(0))
        {
            let one = usize::try_from(index).ok().and_then(|index| all.get(index));
            told.push(match one {
                Some(one) => without_nulls(json!({
                    "address": written(number, one.offset),
                    "instruction": format!("{} {}", one.name, one.argument).trim_end(),
                    "symbol": (one.offset == 0).then_some(&symbol),
                    "location": source,
                    "line": one.positions.0.map(|line| session.client().line(line)),
                })),
                None => json!({
                    "address": written(number, usize::try_from(index.max(0)).unwrap_or(0)),
                    "instruction": "",
                    "presentationHint": "invalid",
                }),
            });
        }
        Ok(told)
    };
    let told = told().map_err(|error| failed(&error))?;
    Ok(json!({"instructions": told}))
}

/// `setInstructionBreakpoints`
pub(in crate::dap) fn set(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: SetArguments = request.arguments()?;
    let mut points = Vec::new();
    let mut all_terms = Vec::new();
    let mut told: Vec<Value> = Vec::new();
    let refused =
        |message: String| json!({"verified": false, "message": message, "reason": "failed"});
    for asked in wanted.breakpoints {
        let made = meant(py, session, &asked.instruction_reference, asked.offset)
            .map_err(|refusal| refusal.message)
            .and_then(|(_, code, offset)| {
                let all = shown(&code).map_err(|error| error.to_string())?;
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                if !all.iter().any(|one| one.offset == offset) {
                    return Err(format!("no instruction begins at offset {offset}"));
                }
                let terms = Terms::new(py, asked.condition.as_ref(), asked.hit_condition.as_ref())?;
                Ok((code, offset, terms))
            });
        told.push(match made {
            Ok((code, offset, terms)) => {
                let id = registry::new_id();
                all_terms.push((id, terms));
                points.push(Point {
                    id,
                    code: code.unbind(),
                    offset,
                });
                json!({
                    "id": id,
                    "verified": true,
                    "instructionReference": asked.instruction_reference,
                    "offset": asked.offset,
                })
            }
            Err(problem) => refused(problem),
        });
    }
    lock(&session.points).codes.terms = all_terms;
    let done = engine::stop_at(py, points).map_err(|error| failed(&error))?;
    if let Err(reason) = done {
        for one in &mut told {
            *one = refused(reason.clone());
        }
    }
    Ok(json!({"breakpoints": told}))
}

/// A thread has reached an instruction that stops.
pub(in crate::dap) fn reached(frame: &Bound<'_, PyAny>, id: u64) -> PyResult<()> {
    let Some(session) = session::current() else {
        return Ok(());
    };
    let terms = {
        let points = lock(&session.points);
        let found = points.codes.terms.iter().find(|(other, _)| *other == id);
        found.map(|(_, terms)| terms.clone())
    };
    let Some(text) = terms.unwrap_or_default().let_through(frame)? else {
        return Ok(());
    };
    park(
        frame,
        Why {
            reason: "instruction breakpoint",
            text,
            hit: vec![id],
            ..Why::default()
        },
    )
}

/// Stops at no instruction any more.
pub(super) fn clear(py: Python<'_>) -> PyResult<()> {
    // Taking events away cannot be refused.
    engine::stop_at(py, Vec::new()).map(drop)
}
