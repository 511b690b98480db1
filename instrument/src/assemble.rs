//! A [`Body`] to code, line table and exception table.
//!
//! Instruction sizes only grow from the prefixes an instruction had, until every jump distance
//! fits; so unchanged code keeps the compiler's own choice, needless prefixes included.

use crate::decode::Tables;
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

impl Assembled {
    /// The byte strings as they would be read.
    pub(crate) fn tables(&self, first_line: i32) -> Tables<'_> {
        Tables {
            code: &self.code,
            linetable: &self.linetable,
            exceptiontable: &self.exceptiontable,
            first_line,
        }
    }
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
    // Inline caches stay zero.
    let mut code = vec![0; units * 2];
    let (pairs, _) = code.as_chunks_mut::<2>();
    let mut lines = Encoder::new(spec.merges_locations, first_line, body);
    for (position, (instr, &prefixes)) in body.instrs.iter().zip(&prefixes).enumerate() {
        let op = spec.ops[usize::from(instr.op)];
        let arg = argument(op, *instr, position, offsets);
        let mut at = offsets[position] as usize;
        for prefix in (1..=prefixes).rev() {
            pairs[at] = [spec.extended_arg, arg.to_le_bytes()[usize::from(prefix)]];
            at += 1;
        }
        pairs[at] = [instr.op, arg.to_le_bytes()[0]];
        lines.push(
            instr.location,
            1 + u32::from(prefixes) + u32::from(op.caches),
        );
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
    offsets.clear();
    offsets.reserve(instrs.len() + 1);
    let mut at = 0u32;
    for (position, instr) in instrs.iter().enumerate() {
        let op = spec.ops[usize::from(instr.op)];
        let least = if op.target == Target::None {
            instr.prefixes.max(prefixes_for(instr.arg))
        } else {
            jumps.push(position);
            instr.prefixes
        };
        prefixes.push(least);
        offsets.push(at);
        at = grown(at, least, op)?;
    }
    offsets.push(at);
    while widen_jumps(spec, instrs, &jumps, offsets, &mut prefixes)? {
        let mut at = 0;
        for (position, instr) in instrs.iter().enumerate() {
            offsets[position] = at;
            at = grown(at, prefixes[position], spec.ops[usize::from(instr.op)])?;
        }
        offsets[instrs.len()] = at;
    }
    Ok(prefixes)
}

fn grown(at: u32, prefixes: u8, op: Op) -> Result<u32, Reason> {
    at.checked_add(1 + u32::from(prefixes) + u32::from(op.caches))
        .ok_or(Reason::TooLarge)
}

/// Gives jumps the prefixes that their distance needs; whether any had to grow.
fn widen_jumps(
    spec: &Spec,
    instrs: &[Instr],
    jumps: &[usize],
    offsets: &[u32],
    prefixes: &mut [u8],
) -> Result<bool, Reason> {
    let mut widened = false;
    for &position in jumps {
        let instr = instrs[position];
        let op = spec.ops[usize::from(instr.op)];
        let ahead = offsets[instr.arg as usize] >= offsets[position + 1];
        if ahead != (op.target == Target::Forward) {
            return Err(Reason::BadJump);
        }
        let needed = prefixes_for(argument(op, instr, position, offsets));
        if needed > prefixes[position] {
            prefixes[position] = needed;
            widened = true;
        }
    }
    Ok(widened)
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

#[cfg(test)]
mod tests;
