//! Code, line table and exception table to a [`Body`]; anything odd is refused with a reason.

use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, Instr, Run};
use crate::linetable::Decoder;
use crate::spec::{Role, Spec, Target};

/// Code units that start no instruction.
const INSIDE: u32 = u32::MAX;

/// The bytes of one code object.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a> {
    pub(crate) code: &'a [u8],
    pub(crate) linetable: &'a [u8],
    pub(crate) exceptiontable: &'a [u8],
    pub(crate) first_line: i32,
}

/// Decodes into `body`, whose former content is dropped; `starts` is scratch space.
pub(crate) fn decode(
    spec: &Spec,
    tables: Tables<'_>,
    body: &mut Body,
    starts: &mut Vec<u32>,
) -> Result<(), Reason> {
    body.clear();
    starts.clear();
    let units = tables.code.len() / 2;
    if !tables.code.len().is_multiple_of(2) {
        return Err(Reason::OddLength);
    }
    if u32::try_from(tables.code.len().max(tables.linetable.len())).is_err() {
        return Err(Reason::TooLarge);
    }
    starts.resize(units + 1, INSIDE);
    instructions(spec, tables, body, starts)?;
    starts[units] = index(body.instrs.len());
    resolve_targets(body, starts)?;
    exctable::decode(tables.exceptiontable, &mut body.handlers)?;
    for handler in &mut body.handlers {
        for position in [&mut handler.start, &mut handler.end, &mut handler.target] {
            *position = match starts.get(*position as usize) {
                Some(&start) if start != INSIDE => start,
                _ => return Err(Reason::BadExceptionTable),
            };
        }
        if handler.target as usize >= body.instrs.len() {
            return Err(Reason::BadExceptionTable);
        }
    }
    Ok(())
}

/// Splits the code into instructions; a jump's argument is its target in code units for now.
fn instructions(
    spec: &Spec,
    tables: Tables<'_>,
    body: &mut Body,
    starts: &mut [u32],
) -> Result<(), Reason> {
    let units: &[[u8; 2]] = tables.code.as_chunks().0;
    let mut locations = Decoder::new(tables.linetable, tables.first_line);
    let mut last = None;
    let mut left = 0;
    let mut at = 0;
    body.instrs.reserve(units.len());
    body.units.reserve(units.len() + 1);
    while let Some(&[mut op, byte]) = units.get(at) {
        let start = at;
        starts[start] = index(body.instrs.len());
        body.units.push(index(start));
        at += 1;
        let mut row = spec.ops[usize::from(op)];
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
            row = spec.ops[usize::from(op)];
            arg = arg << 8 | u32::from(byte);
        }
        if row.role == Role::Unknown {
            return Err(Reason::UnknownOpcode(op));
        }
        for _ in 0..row.caches {
            match units.get(at) {
                Some([0, 0]) => at += 1,
                Some(_) => return Err(Reason::FilledCache),
                None => return Err(Reason::TruncatedInstruction),
            }
        }
        let size = index(at - start);
        let mut needed = size;
        while needed > left {
            needed -= left;
            let byte = locations.byte();
            let (count, location) = locations.entry()?;
            // An entry may only start inside an instruction to go on with its location.
            if last != Some(location) {
                if needed != size {
                    return Err(Reason::SplitLocation);
                }
                body.locations.push(location);
                body.runs.push(Run {
                    byte: index(byte),
                    unit: index(start),
                });
                last = Some(location);
            }
            left = count;
        }
        left -= needed;
        if row.target != Target::None {
            body.jumps.push(index(body.instrs.len()));
        }
        arg = match row.target {
            Target::None => arg,
            Target::Forward => index(at).checked_add(arg).ok_or(Reason::BadJump)?,
            Target::Backward => index(at).checked_sub(arg).ok_or(Reason::BadJump)?,
        };
        body.instrs.push(Instr {
            op,
            prefixes,
            arg,
            location: index(body.locations.len()) - 1,
        });
    }
    if left != 0 || !locations.is_done() {
        return Err(Reason::BadLineTable);
    }
    body.units.push(index(at));
    body.runs.push(Run {
        byte: index(tables.linetable.len()),
        unit: index(at),
    });
    Ok(())
}

fn resolve_targets(body: &mut Body, starts: &[u32]) -> Result<(), Reason> {
    let count = index(body.instrs.len());
    for &jump in &body.jumps {
        let instr = &mut body.instrs[jump as usize];
        match starts.get(instr.arg as usize) {
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
