//! Code, line table and exception table to a [`Body`]; anything odd is refused with a reason.
//!
//! The stack is followed on the way, because nearly all control goes down the code: a jump
//! forward notes its depth where it leads, one backward compares. [`crate::stack`] decides
//! wherever that does not settle a depth or finds two, so that there is one judge.

use crate::PyVersion;
use crate::error::Reason;
use crate::exctable;
use crate::instr::{Body, INSIDE, Instr, Run, replace, room};
use crate::linetable::{Decoder, Location};
use crate::spec::{Flow, Op, Role, Spec, Target, spec};
use crate::stack::UNREACHED;

/// What no entry of a line table can stand for.
const UNKNOWN: Location = Location {
    line: -2,
    ..Location::NONE
};

/// In [`Body::starts`] for the time being: a stack depth that control brings to a code unit
/// which is not decoded yet, with this bit.
const ARRIVING: u32 = 1 << 31;

/// Likewise: this bit, but not where the line table begins another location. Depths are less.
const CONTINUES: u32 = 1 << 30;

/// The other bits: all of them where no depth is noted.
const ARRIVING_DEPTH: u32 = !CONTINUES;

/// Control does not come from the instruction before.
const APART: i64 = UNREACHED as i64;

/// A stack effect that is none.
const IMPOSSIBLE: i64 = -1 << 40;

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
    locations(tables, body).ok_or(Reason::BadLineTable)?;
    let handlers = exctable::decode(tables.exceptiontable, &mut body.handlers);
    let entered = handlers.is_ok() && enter_handlers(body);
    let followed = instructions(spec, tables.code, body, depths)?;
    let count = index(body.units.len() - 1);
    body.starts[units] = count;
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

/// Reads the line table: the locations, and where each begins; `None` when it is broken.
/// (A function of its own: so its loop has the registers.)
#[inline(never)]
fn locations(tables: Tables<'_>, body: &mut Body) -> Option<()> {
    let units = tables.code.len() / 2;
    let mut entries = Decoder::new(tables.linetable, tables.first_line);
    // An entry has a byte and a unit at least.
    let most = units.min(tables.linetable.len());
    // As long as the runs, so that one is in it where the other is: the first is no location.
    let locations = room(&mut body.room.locations, most + 1);
    let runs = room(&mut body.room.runs, most + 1);
    let starts = &mut body.starts[..units];
    let mut count = 0;
    let mut unit = 0;
    locations[0] = UNKNOWN;
    runs[0] = Run::default();
    while !entries.is_done() {
        let (covered, next) = entries.entry()?;
        // Nobody could guess whether the location changes: what is written does not depend on it.
        let differs = next.differs(locations[count]);
        count += usize::from(differs);
        *starts.get_mut(unit)? = INSIDE ^ (u32::from(differs) * CONTINUES);
        unit += covered as usize;
        *runs.get_mut(count)? = Run {
            byte: index(entries.byte()),
            unit: index(unit),
        };
        locations[count] = next;
    }
    replace(&mut body.locations, &locations[1..=count]);
    replace(&mut body.runs, &runs[..=count]);
    (unit == units).then_some(())
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
    let followed = follow(spec, units, body, depths);
    match followed {
        // No instruction is 0: caches are empty when there are as many zeros as caches.
        Ok((followed, caches)) if caches == zeros(units) => Ok(followed),
        _ => Err(filled_cache(spec, units)
            .or(followed.err())
            .unwrap_or(Reason::FilledCache)),
    }
}

/// What [`instructions`] does, but for the caches, which are counted.
fn follow(
    spec: &Spec,
    units: &[[u8; 2]],
    body: &mut Body,
    depths: &mut Vec<i32>,
) -> Result<(bool, usize), Reason> {
    // Instructions have a unit at least.
    let mut follower = Follower {
        spec,
        units,
        starts: &mut body.starts[..units.len()],
        offsets: room(&mut body.room.units, units.len()),
        reached: room(&mut body.room.depths, units.len()),
        instrs: room(&mut body.room.instrs, units.len()),
        jumps: &mut body.jumps,
        quiet: &mut body.quiet,
        at: 0,
        count: 0,
        location: u32::MAX,
        prefixes: 0,
        falling: 0,
        odd: 0,
    };
    while follower.plain() {
        follower.other()?;
    }
    let Follower {
        at,
        count,
        location,
        prefixes,
        falling,
        odd,
        ..
    } = follower;
    if at != units.len() {
        return Err(Reason::TruncatedInstruction);
    }
    // Otherwise a location begins within an instruction.
    if location.wrapping_add(1) as usize != body.locations.len() {
        return Err(Reason::SplitLocation);
    }
    replace(&mut body.units, &body.room.units[..count]);
    body.units.push(index(at));
    replace(&mut body.instrs, &body.room.instrs[..count]);
    replace(depths, &body.room.depths[..count]);
    let right = odd.cast_unsigned() >> 31 == 0 && falling == APART;
    Ok((right, units.len() - prefixes - count))
}

/// Goes down the code, and follows the stack.
struct Follower<'a> {
    spec: &'a Spec,
    units: &'a [[u8; 2]],
    starts: &'a mut [u32],
    /// Of each instruction: where it starts, how deep the stack is there, and what it is.
    offsets: &'a mut [u32],
    reached: &'a mut [i32],
    instrs: &'a mut [Instr],
    jumps: &'a mut Vec<u32>,
    quiet: &'a mut Vec<u32>,
    at: usize,
    count: usize,
    /// The one that began last.
    location: u32,
    prefixes: usize,
    /// The depth that control brings along from the instruction before.
    falling: i64,
    /// Not 0 when control takes an unusual way, or beyond 31 bits.
    odd: i64,
}

impl Follower<'_> {
    /// Reads plain instructions, and notes where one of another kind stands; whether one does.
    /// (A function of its own, so that its loop has the registers: most instructions are plain.)
    #[inline(never)]
    fn plain(&mut self) -> bool {
        let (ops, units) = (&self.spec.ops, self.units);
        // All of one length, so that one check of a bound is for all.
        let starts = &mut self.starts[..units.len()];
        let offsets = &mut self.offsets[..units.len()];
        let reached = &mut self.reached[..units.len()];
        let instrs = &mut self.instrs[..units.len()];
        let (mut at, mut count, mut location) = (self.at, self.count, self.location);
        let (mut falling, mut odd) = (self.falling, self.odd);
        let another = loop {
            let Some(&[op, byte]) = units.get(at) else {
                break false;
            };
            let mark = std::mem::replace(&mut starts[at], index(count));
            location = location.wrapping_add(u32::from(mark & CONTINUES == 0));
            if mark & ARRIVING_DEPTH != ARRIVING_DEPTH {
                let arriving = i64::from(mark & ARRIVING_DEPTH & !ARRIVING);
                odd |= outside_unless(falling == APART || falling == arriving);
                falling = arriving;
            }
            offsets[count] = index(at);
            reached[count] = low(falling);
            instrs[count] = Instr {
                op,
                prefixes: 0,
                arg: u32::from(byte),
                location,
            };
            let op = &ops[usize::from(op)];
            if !op.is_plain() {
                break true;
            }
            at += 1 + usize::from(op.caches);
            falling = op.depth_after(falling, u32::from(byte));
            odd |= falling;
            count += 1;
        };
        (self.at, self.count, self.location) = (at, count, location);
        (self.falling, self.odd) = (falling, odd);
        another
    }

    /// Reads the instruction that was noted last.
    fn other(&mut self) -> Result<(), Reason> {
        let spec = self.spec;
        let mut instr = self.instrs[self.count];
        let mut at = prefixed(spec, self.units, self.at + 1, &mut instr)?;
        let op = &spec.ops[usize::from(instr.op)];
        if op.role.is_quiet() {
            self.quiet.push(index(self.count));
        }
        self.prefixes += usize::from(instr.prefixes);
        at += usize::from(op.caches);
        self.at = at;
        if at > self.units.len() {
            return Err(Reason::TruncatedInstruction);
        }
        let before = self.falling;
        self.falling = APART;
        if matches!(op.flow, Flow::Next | Flow::Branch) {
            let effect = spec
                .effect(instr.op, instr.arg)
                .map_or(IMPOSSIBLE, i64::from);
            self.falling = before.wrapping_add(effect);
            self.odd |= self.falling;
        } else {
            // Nothing is known of the depth of what no path reaches so far.
            let next = self.starts.get(at).map(|next| next & ARRIVING_DEPTH);
            self.odd |= outside_unless(next != Some(ARRIVING_DEPTH));
        }
        if op.target != Target::None {
            self.jumps.push(index(self.count));
            instr.arg = target(*op, index(at), instr.arg).ok_or(Reason::BadJump)?;
            let known = op.flow == Flow::Next
                || op.fixed_jump_effect().is_some_and(|effect| {
                    let depth = before.wrapping_add(i64::from(effect));
                    arrive(self.starts, self.reached, instr.arg, depth)
                });
            self.odd |= outside_unless(known);
        }
        self.instrs[self.count] = instr;
        self.count += 1;
        Ok(())
    }
}

/// Where a jump leads that ends at `next`.
fn target(op: Op, next: u32, arg: u32) -> Option<u32> {
    match op.target {
        Target::Backward => next.checked_sub(arg),
        _ => next.checked_add(arg),
    }
}

/// How many units are 0. (So many at a time that the count fits 16 bits, as the units do.)
fn zeros(units: &[[u8; 2]]) -> usize {
    let blocks = units.chunks(1 << 15);
    let counts = blocks.map(|block| {
        let zeros = block.iter().map(|unit| u16::from(*unit == [0, 0]));
        usize::from(zeros.sum::<u16>())
    });
    counts.sum()
}

/// Goes down the code once more, which is refused: whether what is wrong with it first is a
/// cache that is filled.
#[cold]
fn filled_cache(spec: &Spec, units: &[[u8; 2]]) -> Option<Reason> {
    let mut at = 0;
    while let Some(&[op, byte]) = units.get(at) {
        let mut instr = Instr {
            op,
            arg: u32::from(byte),
            ..Instr::default()
        };
        let caches = prefixed(spec, units, at + 1, &mut instr).ok()?;
        let op = spec.ops[usize::from(instr.op)];
        at = caches + usize::from(op.caches);
        if units.get(caches..at)?.iter().any(|cache| *cache != [0, 0]) {
            return Some(Reason::FilledCache);
        }
        if op.target != Target::None {
            target(op, index(at), instr.arg)?;
        }
    }
    None
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
    if depth >= CONTINUES || arriving == ARRIVING_DEPTH {
        return false;
    }
    if *known & ARRIVING == 0 {
        let known = depths.get(*known as usize);
        return known.map(|&depth| depth.cast_unsigned()) == Some(depth);
    }
    let noted = *known & ARRIVING_DEPTH;
    if noted == ARRIVING_DEPTH {
        *known = arriving | *known & CONTINUES;
    }
    noted == ARRIVING_DEPTH || noted == arriving
}

/// No stack depth, unless this holds.
fn outside_unless(holds: bool) -> i64 {
    i64::from(!holds) << 31
}

/// Of a depth that is one.
#[expect(clippy::cast_possible_truncation, reason = "others are not used")]
fn low(depth: i64) -> i32 {
    depth as i32
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
