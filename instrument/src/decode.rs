//! Code, line table and exception table to a [`Body`]; anything odd is refused with a reason.
//!
//! The stack is followed on the way, because nearly all control goes down the code: a jump
//! forward notes its depth where it leads, one backward compares. [`crate::stack`] decides
//! wherever that does not settle a depth or finds two, so that there is one judge.

use crate::PyVersion;
use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, INSIDE, Instr, Run};
use crate::linetable::{Decoder, Location};
use crate::spec::{Flow, Role, Spec, Target, spec};
use crate::stack::UNREACHED;

/// What no entry of a line table can stand for.
const UNKNOWN: [u64; 2] = Location {
    line: -2,
    ..Location::NONE
}
.bits();

/// In [`Body::starts`] for the time being: a stack depth that control brings to a code unit
/// which is not decoded yet, with this bit.
const ARRIVING: u32 = 1 << 31;

/// Control does not come from the instruction before.
const APART: i64 = UNREACHED as i64;

/// A stack effect that is none.
const IMPOSSIBLE: i64 = -1 << 40;

/// No instruction has more inline cache units.
pub(crate) const MOST_CACHES: usize = 12;

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
    decode_with_depths(spec, tables, body, &mut Vec::new()).map(drop)
}

/// Decodes, and follows the stack on the way: `depths` gets one an instruction. Whether these
/// are right; where control takes an unusual way [`crate::stack`] has to find them.
pub(crate) fn decode_with_depths(
    spec: &Spec,
    tables: Tables<'_>,
    body: &mut Body,
    depths: &mut Vec<i32>,
) -> Result<bool, Reason> {
    let units = tables.code.len() / 2;
    if !tables.code.len().is_multiple_of(2) {
        return Err(Reason::OddLength);
    }
    if u32::try_from(tables.code.len().max(tables.linetable.len())).is_err() {
        return Err(Reason::TooLarge);
    }
    // Of the other parts nothing is kept either, but they need no cleaning beforehand.
    body.starts.clear();
    body.starts.resize(units + 1, INSIDE);
    body.handlers.clear();
    body.jumps.clear();
    body.quiet.clear();
    locations(tables, body)?;
    let handlers = exctable::decode(tables.exceptiontable, &mut body.handlers);
    let entered = handlers.is_ok() && enter_handlers(body);
    let followed = instructions(spec, tables.code, body, depths)?;
    let count = index(body.units.len() - 1);
    body.starts[units] = count;
    locate(body)?;
    resolve_targets(body)?;
    handlers?;
    for handler in &mut body.handlers {
        for position in [&mut handler.start, &mut handler.end, &mut handler.target] {
            *position = match body.starts.get(*position as usize) {
                Some(&start) if start <= count => start,
                _ => return Err(Reason::BadExceptionTable),
            };
        }
        if handler.target >= count {
            return Err(Reason::BadExceptionTable);
        }
    }
    Ok(entered && followed)
}

/// Reads the line table: the locations, and the units at which each begins.
fn locations(tables: Tables<'_>, body: &mut Body) -> Result<(), Reason> {
    let units = tables.code.len() / 2;
    let mut entries = Decoder::new(tables.linetable, tables.first_line);
    // An entry has a byte and a unit at least. What is not used is cut off behind.
    let most = units.min(tables.linetable.len()) + 1;
    body.locations.resize(most, Location::NONE);
    body.runs.resize(most, Run::default());
    let locations = &mut body.locations[..most];
    let runs = &mut body.runs[..most];
    let mut last = UNKNOWN;
    let mut count = 0;
    let mut unit = 0;
    runs[0] = Run::default();
    while !entries.is_done() {
        let (covered, next) = entries.entry()?;
        unit += covered as usize;
        if unit > units {
            return Err(Reason::BadLineTable);
        }
        // Nobody could guess whether the location changes: what is written does not depend on it.
        let bits = next.bits();
        count += usize::from(bits != last);
        last = bits;
        locations[count - 1] = next;
        let run = &mut runs[count];
        run.byte = index(entries.byte());
        run.unit = index(unit);
    }
    if unit != units {
        return Err(Reason::BadLineTable);
    }
    body.locations.truncate(count);
    body.runs.truncate(count + 1);
    Ok(())
}

/// Splits the code into instructions; a jump's argument is its target in code units for now.
/// Whether the depths are right.
fn instructions(
    spec: &Spec,
    code: &[u8],
    body: &mut Body,
    depths: &mut Vec<i32>,
) -> Result<bool, Reason> {
    let units: &[[u8; 2]] = code.as_chunks().0;
    // Instructions have a unit at least. What is not used is cut off behind.
    body.units.resize(units.len(), 0);
    depths.resize(units.len(), 0);
    if body.room.len() < units.len() {
        body.room.resize(units.len(), Instr::default());
    }
    let starts = &mut body.starts[..units.len()];
    let offsets = &mut body.units[..units.len()];
    let reached = &mut depths[..units.len()];
    let instrs = &mut body.room[..units.len()];
    let mut count = 0;
    let mut at = 0;
    // The depth that control brings along from the instruction before.
    let mut falling = 0;
    // Not 0 when control takes an unusual way.
    let mut odd = 0;
    while let Some(&[op, byte]) = units.get(at) {
        let start = at;
        let arriving = std::mem::replace(&mut starts[start], index(count));
        if arriving != INSIDE {
            let arriving = i64::from(arriving & !ARRIVING);
            odd |= u64::from(falling != APART && falling != arriving);
            falling = arriving;
        }
        offsets[count] = index(start);
        reached[count] = low(falling);
        let mut instr = Instr {
            op,
            prefixes: 0,
            arg: u32::from(byte),
            location: 0,
        };
        let mut op = &spec.ops[usize::from(op)];
        at += 1;
        if op.is_plain() {
            at = behind_caches(units, at, op.caches)?;
            falling = op.depth_after(falling, instr.arg);
            odd |= outside(falling);
        } else {
            at = prefixed(spec, units, at, &mut instr)?;
            op = &spec.ops[usize::from(instr.op)];
            if op.role.is_quiet() {
                body.quiet.push(index(count));
            }
            at = behind_caches(units, at, op.caches)?;
            let before = falling;
            falling = APART;
            if matches!(op.flow, Flow::Next | Flow::Branch) {
                let effect = spec
                    .effect(instr.op, instr.arg)
                    .map_or(IMPOSSIBLE, i64::from);
                falling = before.wrapping_add(effect);
                odd |= outside(falling);
            } else {
                // Nothing is known of the depth of what no path reaches so far.
                odd |= u64::from(starts.get(at) == Some(&INSIDE));
            }
            if op.target != Target::None {
                body.jumps.push(index(count));
                let next = index(at);
                instr.arg = match op.target {
                    Target::Backward => next.checked_sub(instr.arg),
                    _ => next.checked_add(instr.arg),
                }
                .ok_or(Reason::BadJump)?;
                let known = op.flow == Flow::Next
                    || op.fixed_jump_effect().is_some_and(|effect| {
                        let depth = before.wrapping_add(i64::from(effect));
                        arrive(starts, reached, instr.arg, depth)
                    });
                odd |= u64::from(!known);
            }
        }
        instrs[count] = instr;
        count += 1;
    }
    body.units.truncate(count);
    body.units.push(index(at));
    depths.truncate(count);
    Ok(odd == 0 && falling == APART)
}

/// Reads on behind EXTENDED_ARG, if it is one, up to the opcode that they belong to.
fn prefixed(
    spec: &Spec,
    units: &[[u8; 2]],
    mut at: usize,
    instr: &mut Instr,
) -> Result<usize, Reason> {
    loop {
        match spec.ops[usize::from(instr.op)].role {
            Role::ExtendedArg => {}
            Role::Unknown => return Err(Reason::UnknownOpcode(instr.op)),
            _ => return Ok(at),
        }
        let &[op, byte] = units.get(at).ok_or(Reason::TruncatedInstruction)?;
        at += 1;
        instr.prefixes += 1;
        if instr.prefixes > 3 {
            return Err(Reason::TruncatedInstruction);
        }
        instr.op = op;
        instr.arg = instr.arg << 8 | u32::from(byte);
    }
}

/// The index of the constant that the instruction at a byte offset loads with `LOAD_CONST`, if it
/// does; prefixes belong to the instruction.
#[must_use]
pub fn constant_at(version: PyVersion, code: &[u8], offset: u32) -> Option<u32> {
    let spec = spec(version);
    let (units, _) = code.as_chunks::<2>();
    let start = offset as usize / 2;
    let &[op, byte] = units.get(start)?;
    let mut instr = Instr {
        op,
        arg: u32::from(byte),
        ..Instr::default()
    };
    prefixed(spec, units, start + 1, &mut instr).ok()?;
    (instr.op == spec.load_const).then_some(instr.arg)
}

/// Notes that control comes to the handlers, with the depths of the table; whether it may.
fn enter_handlers(body: &mut Body) -> bool {
    let units = body.starts.len() - 1;
    let starts = &mut body.starts[..units];
    body.handlers.iter().all(|handler| {
        let depth = i64::from(handler.depth) + 1 + i64::from(handler.lasti);
        arrive(starts, &[], handler.target, depth)
    })
}

/// Notes the depth that control brings to a code unit; whether it is the one known of it.
/// Where no instruction starts it is noted in vain: nothing may lead there.
fn arrive(starts: &mut [u32], depths: &[i32], target: u32, depth: i64) -> bool {
    let (Some(known), Ok(depth)) = (starts.get_mut(target as usize), u32::try_from(depth)) else {
        return false;
    };
    let arriving = depth | ARRIVING;
    if depth >= ARRIVING || arriving == INSIDE {
        return false;
    }
    match *known {
        INSIDE => {
            *known = arriving;
            true
        }
        noted if noted & ARRIVING != 0 => noted == arriving,
        start => {
            depths
                .get(start as usize)
                .map(|&depth| depth.cast_unsigned())
                == Some(depth)
        }
    }
}

/// Not 0 when this is no stack depth.
fn outside(depth: i64) -> u64 {
    depth.cast_unsigned() >> 31
}

/// Of a depth that is one.
#[expect(clippy::cast_possible_truncation, reason = "others are not used")]
fn low(depth: i64) -> i32 {
    depth as i32
}

/// Where the instruction ends whose caches are here, which must be empty.
#[inline]
fn behind_caches(units: &[[u8; 2]], at: usize, caches: u8) -> Result<usize, Reason> {
    let end = at + usize::from(caches);
    let rest = units.get(at..).unwrap_or_default();
    // As many are looked at for every instruction: what it has is hard to guess.
    let blank = if let Some(most) = rest.first_chunk::<MOST_CACHES>() {
        let (words, _) = most.as_flattened().as_chunks::<8>();
        let masks = &CACHES[usize::from(caches) % CACHES.len()];
        let words = words.iter().zip(masks);
        let filled = words.map(|(word, mask)| u64::from_le_bytes(*word) & mask);
        filled.fold(0, |all, one| all | one) == 0
    } else {
        let caches = rest.get(..usize::from(caches));
        let caches = caches.ok_or(Reason::TruncatedInstruction)?;
        caches.iter().all(|unit| *unit == [0, 0])
    };
    if blank {
        Ok(end)
    } else {
        Err(Reason::FilledCache)
    }
}

/// For each number of caches the bits of that many units.
const CACHES: [[u64; MOST_CACHES / 4]; 16] = {
    let mut masks = [[0; MOST_CACHES / 4]; 16];
    let mut caches = 0;
    while caches < 16 {
        let mut unit = 0;
        while unit < caches && unit < MOST_CACHES {
            masks[caches][unit / 4] |= 0xffff << (unit % 4 * 16);
            unit += 1;
        }
        caches += 1;
    }
    masks
};

/// Gives the instructions their locations.
fn locate(body: &mut Body) -> Result<(), Reason> {
    let instrs = &mut body.room[..body.units.len() - 1];
    for run in &mut body.runs {
        run.instr = body.starts[run.unit as usize];
        if let Some(instr) = instrs.get_mut(run.instr as usize) {
            // For the first instruction of a location.
            instr.location = 1;
        } else if run.instr as usize > instrs.len() {
            return Err(Reason::SplitLocation);
        }
    }
    body.instrs.clear();
    let mut locations = 0u32;
    body.instrs.extend(instrs.iter().map(|instr| {
        locations += instr.location;
        Instr {
            location: locations.wrapping_sub(1),
            ..*instr
        }
    }));
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
