//! `stepInTargets`: the calls of a line that can be stepped into one by one.
//!
//! A target is a call instruction of the code that the frame runs, named by its offset, and shown
//! by its source text where the file still has it.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::dap::protocol::{Answer, Request};
use crate::dap::scene::Scene;
use crate::dap::view::failed;
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::probe::Probe;

/// Offsets take the lower bits of a target's number, and the number of its frame the others.
const OFFSET_BITS: u32 = 24;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    frame_id: i64,
}

/// The frame and the offset that a target's number means.
pub(super) fn meant(target: u64) -> (usize, Option<usize>) {
    let offset = target & ((1 << OFFSET_BITS) - 1);
    let depth = usize::try_from(target >> OFFSET_BITS).unwrap_or(0);
    (depth, usize::try_from(offset).ok())
}

/// `stepInTargets`
pub(in crate::dap) fn list(scene: &mut Scene<'_>, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let depth = scene.frame_of(wanted.frame_id)?;
    let shown = scene.frame(depth);
    let (frame, line) = (shown.frame.clone(), shown.line());
    let calls = calls(&frame, line).map_err(|error| failed(&error))?;
    let client = scene.session().client().clone();
    let targets: Vec<Value> = calls
        .into_iter()
        .map(|call| {
            let mut target = json!({
                "id": (depth as u64) << OFFSET_BITS | call.offset as u64,
                "label": call.text,
            });
            if let Some((line, column)) = call.place {
                target["line"] = client.line(line).into();
                target["column"] = client.column(column).into();
            }
            target
        })
        .collect();
    Ok(json!({"targets": targets}))
}

struct Call {
    offset: usize,
    text: String,
    /// Line, and column in characters from 1.
    place: Option<(u32, u32)>,
}

type Positions = (Option<u32>, Option<u32>, Option<usize>, Option<usize>);

/// The calls of a line that are still to be made.
fn calls(frame: &Bound<'_, PyAny>, line: u32) -> PyResult<Vec<Call>> {
    let py = frame.py();
    let code = tracing::code_of(frame);
    let now: usize = frame.getattr(name!("f_lasti"))?.extract()?;
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    let source = py.import("linecache")?.call_method1(
        name!("getlines"),
        (file, frame.getattr(name!("f_globals"))?),
    )?;
    let lines: Vec<String> = source.extract()?;
    let mut found = Vec::new();
    for instruction in instructions(&code)? {
        let is_call =
            instruction.name.starts_with("CALL") && !instruction.name.starts_with("CALL_INTRINSIC");
        let (Some(first), last, Some(start), Some(end)) = instruction.positions else {
            continue;
        };
        if !is_call
            || first != line
            || instruction.offset < now
            || (start, first) == (end, last.unwrap_or(first))
        {
            continue;
        }
        let text = segment(&lines, first, last.unwrap_or(first), start, end);
        let column = lines
            .get(first as usize - 1)
            .and_then(|text| text.get(..start))
            .map_or(start, |before| before.chars().count());
        found.push(Call {
            offset: instruction.offset,
            text: text.unwrap_or_else(|| format!("call at {}", instruction.offset)),
            place: u32::try_from(column + 1).ok().map(|column| (first, column)),
        });
    }
    Ok(found)
}

/// The text between two places, in one line, and not too long for a menu.
fn segment(lines: &[String], first: u32, last: u32, start: usize, end: usize) -> Option<String> {
    const LENGTH: usize = 60;
    let text = lines.get(first as usize - 1)?;
    let text = if last == first {
        text.get(start..end)?
    } else {
        text.get(start..)?.trim_end()
    };
    let mut short: String = text.chars().take(LENGTH).collect();
    if last != first || short.len() < text.len() {
        short.push('\u{2026}');
    }
    Some(short)
}

/// An instruction, as `dis` tells of it.
pub(super) struct Instruction {
    pub(super) offset: usize,
    pub(super) name: String,
    pub(super) argument: String,
    pub(super) positions: Positions,
    pub(super) is_probe: bool,
}

/// The instructions of a code object.
pub(super) fn instructions(code: &Bound<'_, PyAny>) -> PyResult<Vec<Instruction>> {
    let py = code.py();
    let mut all = Vec::new();
    let listed = py
        .import("dis")?
        .call_method1(name!("get_instructions"), (code,))?;
    for instruction in listed.try_iter()? {
        let instruction = instruction?;
        let positions = instruction.getattr(name!("positions"))?;
        let positions = if positions.is_none() {
            (None, None, None, None)
        } else {
            positions.cast_into::<PyTuple>()?.extract()?
        };
        all.push(Instruction {
            offset: instruction.getattr(name!("offset"))?.extract()?,
            name: instruction.getattr(name!("opname"))?.extract()?,
            argument: instruction.getattr(name!("argrepr"))?.extract()?,
            positions,
            is_probe: instruction
                .getattr(name!("argval"))?
                .is_instance_of::<Probe>(),
        });
    }
    Ok(all)
}
