//! A [`Body`] to code, line table and exception table.
//!
//! Instruction sizes only grow from the prefixes an instruction had, until every jump distance
//! fits; so unchanged code keeps the compiler's own choice, needless prefixes included.

use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, Instr};
use crate::linetable::Encoder;
use crate::spec::{Op, Spec, Target};

/// The byte strings of a code object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assembled {
    pub(crate) code: Vec<u8>,
    pub(crate) linetable: Vec<u8>,
    pub(crate) exceptiontable: Vec<u8>,
}

/// Assembles `body`; `offsets` is scratch space and holds the code unit of each instruction
/// (and the end) afterwards.
pub(crate) fn assemble(
    spec: &Spec,
    body: &Body,
    first_line: i32,
    offsets: &mut Vec<u32>,
) -> Result<Assembled, Reason> {
    let prefixes = layout(spec, &body.instrs, offsets)?;
    let units = offsets.last().copied().unwrap_or_default() as usize;
    let mut code = Vec::with_capacity(units * 2);
    let mut lines = Encoder::new(first_line, spec.merges_locations, body.instrs.len() * 3);
    for (position, instr) in body.instrs.iter().enumerate() {
        let op = spec.ops[usize::from(instr.op)];
        let arg = argument(op, *instr, position, offsets);
        for prefix in (1..=prefixes[position]).rev() {
            code.extend([spec.extended_arg, arg.to_le_bytes()[usize::from(prefix)]]);
        }
        code.extend([instr.op, arg.to_le_bytes()[0]]);
        code.resize(code.len() + 2 * usize::from(op.caches), 0);
        let size = offsets[position + 1] - offsets[position];
        lines.push(body.locations[instr.location as usize], size);
    }
    let mut exceptiontable = Vec::with_capacity(body.handlers.len() * 6);
    for handler in &body.handlers {
        let mut handler = *handler;
        for at in [&mut handler.start, &mut handler.end, &mut handler.target] {
            *at = offsets[*at as usize];
        }
        exctable::encode(handler, &mut exceptiontable);
    }
    Ok(Assembled {
        code,
        linetable: lines.finish(),
        exceptiontable,
    })
}

/// Finds the prefixes that every instruction needs and fills `offsets`.
fn layout(spec: &Spec, instrs: &[Instr], offsets: &mut Vec<u32>) -> Result<Vec<u8>, Reason> {
    let mut jumps = Vec::new();
    let mut prefixes = Vec::with_capacity(instrs.len());
    for (position, instr) in instrs.iter().enumerate() {
        let is_jump = spec.ops[usize::from(instr.op)].target != Target::None;
        if is_jump {
            jumps.push(position);
            prefixes.push(instr.prefixes);
        } else {
            prefixes.push(instr.prefixes.max(prefixes_for(instr.arg)));
        }
    }
    loop {
        offsets.clear();
        offsets.reserve(instrs.len() + 1);
        let mut at = 0u32;
        for (instr, prefixes) in instrs.iter().zip(&prefixes) {
            offsets.push(at);
            let size = 1 + prefixes + spec.ops[usize::from(instr.op)].caches;
            at = at.checked_add(u32::from(size)).ok_or(Reason::TooLarge)?;
        }
        offsets.push(at);
        let mut stable = true;
        for &position in &jumps {
            let instr = instrs[position];
            let op = spec.ops[usize::from(instr.op)];
            let end = offsets[position + 1];
            let ahead = offsets[instr.arg as usize] >= end;
            if ahead != (op.target == Target::Forward) {
                return Err(Reason::BadJump);
            }
            let needed = prefixes_for(argument(op, instr, position, offsets));
            if needed > prefixes[position] {
                prefixes[position] = needed;
                stable = false;
            }
        }
        if stable {
            return Ok(prefixes);
        }
    }
}

fn argument(op: Op, instr: Instr, position: usize, offsets: &[u32]) -> u32 {
    match op.target {
        Target::None => instr.arg,
        Target::Forward => offsets[instr.arg as usize] - offsets[position + 1],
        Target::Backward => offsets[position + 1] - offsets[instr.arg as usize],
    }
}

/// How many EXTENDED_ARG an argument needs.
pub(crate) fn prefixes_for(arg: u32) -> u8 {
    match arg {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xff_ffff => 2,
        _ => 3,
    }
}
