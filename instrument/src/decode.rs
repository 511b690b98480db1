//! Code, line table and exception table to a [`Body`]; anything odd is refused with a reason.

use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, INSIDE, Instr, Run};
use crate::linetable::{Decoder, Location};
use crate::spec::{Op, Role, Spec, Target};

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
    body.begins.resize(units, 0);
    locations(tables, body)?;
    instructions(spec, tables.code, body)?;
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

/// Reads the line table: the locations, and the units at which each begins.
fn locations(tables: Tables<'_>, body: &mut Body) -> Result<(), Reason> {
    let mut entries = Decoder::new(tables.linetable, tables.first_line);
    let mut location = UNKNOWN;
    let mut unit = 0;
    while !entries.is_done() {
        let byte = entries.byte();
        let (units, next) = entries.entry()?;
        if next != location {
            location = next;
            // Where the table goes on behind the code, this is found below.
            if let Some(begins) = body.begins.get_mut(unit) {
                *begins = 1;
            }
            body.locations.push(location);
            body.runs.push(Run {
                byte: index(byte),
                unit: index(unit),
                instr: 0,
            });
        }
        unit += units as usize;
    }
    if unit != tables.code.len() / 2 {
        return Err(Reason::BadLineTable);
    }
    body.runs.push(Run {
        byte: index(tables.linetable.len()),
        unit: index(unit),
        instr: 0,
    });
    Ok(())
}

/// Splits the code into instructions; a jump's argument is its target in code units for now.
fn instructions(spec: &Spec, code: &[u8], body: &mut Body) -> Result<(), Reason> {
    let units: &[[u8; 2]] = code.as_chunks().0;
    // Instructions have a unit at least. What is not used is cut off behind.
    body.instrs.resize(units.len(), BLANK);
    body.units.resize(units.len(), 0);
    let starts = &mut body.starts[..units.len()];
    let instrs = &mut body.instrs[..units.len()];
    let offsets = &mut body.units[..units.len()];
    let begins = &body.begins[..units.len()];
    let mut count = 0;
    let mut locations = 0;
    let mut at = 0;
    while let Some(&[mut op, byte]) = units.get(at) {
        let start = at;
        starts[start] = index(count);
        at += 1;
        let mut row = &spec.ops[usize::from(op)];
        let mut arg = u32::from(byte);
        let mut prefixes = 0;
        if row.is_any(Op::NOTED | Op::CACHED | Op::TARGET) {
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
            if row.is_any(Op::NOTED) {
                if row.role == Role::Unknown {
                    return Err(Reason::UnknownOpcode(op));
                }
                body.quiet.push(index(count));
            }
            if row.is_any(Op::CACHED) {
                let caches = usize::from(row.caches);
                if !is_blank(units, at, caches) {
                    return Err(match units.get(at..at + caches) {
                        Some(_) => Reason::FilledCache,
                        None => Reason::TruncatedInstruction,
                    });
                }
                at += caches;
            }
            if row.is_any(Op::TARGET) {
                body.jumps.push(index(count));
                let next = index(at);
                arg = match row.target {
                    Target::Backward => next.checked_sub(arg),
                    _ => next.checked_add(arg),
                }
                .ok_or(Reason::BadJump)?;
            }
        }
        // Counted without asking, as every second instruction has another location.
        locations += usize::from(begins[start]);
        body.runs[locations].instr = index(count + 1);
        let instr = &mut instrs[count];
        instr.op = op;
        instr.prefixes = prefixes;
        instr.arg = arg;
        instr.location = index(locations) - 1;
        offsets[count] = index(start);
        count += 1;
    }
    // A location that begins inside of an instruction was not counted.
    if locations != body.locations.len() {
        return Err(Reason::SplitLocation);
    }
    body.instrs.truncate(count);
    body.units.truncate(count);
    body.units.push(index(at));
    Ok(())
}

/// Whether so many units, one at least, are there and empty; four are looked at in one go.
#[inline]
fn is_blank(units: &[[u8; 2]], mut at: usize, mut count: usize) -> bool {
    loop {
        let rest = units.get(at..).unwrap_or_default();
        let Some(four) = rest.as_flattened().first_chunk() else {
            let rest = rest.get(..count);
            return rest.is_some_and(|rest| rest.iter().all(|unit| *unit == [0, 0]));
        };
        let four = u64::from_le_bytes(*four);
        if count <= 4 {
            return four << (64 - 16 * count) == 0;
        }
        if four != 0 {
            return false;
        }
        at += 4;
        count -= 4;
    }
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
