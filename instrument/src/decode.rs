//! Code, line table and exception table to a [`Body`]; anything odd is refused with a reason.

use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, INSIDE, Instr, Run};
use crate::linetable::{Decoder, Location};
use crate::spec::{Role, Spec, Target};

/// What no entry of a line table can stand for.
const UNKNOWN: Location = Location {
    line: -2,
    ..Location::NONE
};

/// Room for an instruction.
const BLANK: Instr = Instr {
    op: 0,
    prefixes: 0,
    arg: 0,
    location: 0,
};

/// The bytes of one code object.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub(crate) code: &'a [u8],
    pub(crate) linetable: &'a [u8],
    pub(crate) exceptiontable: &'a [u8],
    pub(crate) first_line: i32,
}

/// Decodes into `body`, whose former content is dropped.
pub(crate) fn decode(spec: &Spec, tables: Tables<'_>, body: &mut Body) -> Result<(), Reason> {
    body.clear();
    let units = tables.code.len() / 2;
    if !tables.code.len().is_multiple_of(2) {
        return Err(Reason::OddLength);
    }
    if u32::try_from(tables.code.len().max(tables.linetable.len())).is_err() {
        return Err(Reason::TooLarge);
    }
    body.starts.resize(units + 1, INSIDE);
    instructions(spec, tables, body)?;
    let count = index(body.instrs.len());
    body.starts[units] = count;
    resolve_targets(body)?;
    exctable::decode(tables.exceptiontable, &mut body.handlers)?;
    for handler in &mut body.handlers {
        for position in [&mut handler.start, &mut handler.end, &mut handler.target] {
            *position = match body.starts.get(*position as usize) {
                Some(&start) if start != INSIDE => start,
                _ => return Err(Reason::BadExceptionTable),
            };
        }
        if handler.target >= count {
            return Err(Reason::BadExceptionTable);
        }
    }
    Ok(())
}

/// Splits the code into instructions; a jump's argument is its target in code units for now.
fn instructions(spec: &Spec, tables: Tables<'_>, body: &mut Body) -> Result<(), Reason> {
    let units: &[[u8; 2]] = tables.code.as_chunks().0;
    let mut entries = Decoder::new(tables.linetable, tables.first_line);
    let mut location = UNKNOWN;
    // Of the location that is current, and how many units it still covers.
    let mut number = u32::MAX;
    let mut left = 0;
    let mut count = 0u32;
    let mut at = 0;
    // Instructions have a unit at least. What is not used is cut off behind.
    body.instrs.resize(units.len(), BLANK);
    body.units.resize(units.len() + 1, 0);
    let mut slots = body.instrs.iter_mut().zip(&mut body.units);
    while let Some(&[mut op, byte]) = units.get(at) {
        let start = at;
        body.starts[start] = count;
        at += 1;
        let mut row = &spec.ops[usize::from(op)];
        let mut arg = u32::from(byte);
        let mut prefixes = 0;
        while row.role == Role::ExtendedArg {
            let &[next, byte] = units.get(at).ok_or(Reason::TruncatedInstruction)?;
            at += 1;
            prefixes += 1;
            if prefixes > 3 {
                return Err(Reason::TruncatedInstruction);
            }
            op = next;
            row = &spec.ops[usize::from(op)];
            arg = arg << 8 | u32::from(byte);
        }
        if row.role == Role::Unknown {
            return Err(Reason::UnknownOpcode(op));
        }
        if row.caches > 0 {
            let end = at + usize::from(row.caches);
            let caches = units.get(at..end).unwrap_or(&units[at..]);
            if caches.iter().any(|cache| *cache != [0, 0]) {
                return Err(Reason::FilledCache);
            }
            at = end;
            if at > units.len() {
                return Err(Reason::TruncatedInstruction);
            }
        }
        let size = index(at - start);
        let mut needed = size;
        while needed > left {
            needed -= left;
            let byte = entries.byte();
            let entry = entries.entry()?;
            left = entry.0;
            // An entry may only start inside an instruction to go on with its location.
            if location != entry.1 {
                if needed != size {
                    return Err(Reason::SplitLocation);
                }
                location = entry.1;
                number = number.wrapping_add(1);
                body.locations.push(location);
                body.runs.push(Run {
                    byte: index(byte),
                    unit: index(start),
                });
            }
        }
        left -= needed;
        if row.target != Target::None {
            body.jumps.push(count);
            let next = index(at);
            arg = match row.target {
                Target::Backward => next.checked_sub(arg),
                _ => next.checked_add(arg),
            }
            .ok_or(Reason::BadJump)?;
        }
        let (instr, unit) = slots.next().ok_or(Reason::TooLarge)?;
        *instr = Instr {
            op,
            prefixes,
            arg,
            location: number,
        };
        *unit = index(start);
        count += 1;
    }
    if left != 0 || !entries.is_done() {
        return Err(Reason::BadLineTable);
    }
    body.instrs.truncate(count as usize);
    body.units.truncate(count as usize);
    body.units.push(index(at));
    body.runs.push(Run {
        byte: index(tables.linetable.len()),
        unit: index(at),
    });
    Ok(())
}

fn resolve_targets(body: &mut Body) -> Result<(), Reason> {
    let count = index(body.instrs.len());
    for &jump in &body.jumps {
        let instr = &mut body.instrs[jump as usize];
        match body.starts.get(instr.arg as usize) {
            Some(&start) if start < count => instr.arg = start,
            _ => return Err(Reason::BadJump),
        }
    }
    Ok(())
}

/// Lengths were checked to fit 32 bits before.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the code has at most 2**32 bytes"
)]
pub(crate) fn index(value: usize) -> u32 {
    value as u32
}
