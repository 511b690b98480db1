//! Proves a variant before it leaves. For every injected code object:
//!
//! 1. its bytes are the original instructions in their order, with the same arguments and
//!    locations, and between them nothing but whole probes, jumps over exactly one probe, and
//!    second copies of a PUSH_EXC_INFO that jump over the first and its probe;
//! 2. every jump leads to the instruction it led to, or to a piece added directly in front;
//! 3. protected ranges begin, end and lead where they did, in the same sense;
//! 4. there are as many probes as were placed, each with the line of its constant and the
//!    location of the instruction it stands for;
//! 5. `co_stacksize` has room for every probe. (Depths agree on all paths as they do in the
//!    original: by 1 nothing but probes was added, and a probe leaves the stack as it was.)
//! 6. where a probe is protected, the stack is deep enough for its handler.
//!
//! The proof reads the bytes of the variant beside the decoded original; it knows nothing of
//! the plan that made them.

mod lines;
mod reader;
mod removal;

use self::lines::Lines;
use self::reader::{Broken, Reader};
use crate::assemble::Assembled;
use crate::decode::{Tables, index};
use crate::error::Reason;
use crate::exctable::{self, Handler};
use crate::instr::{Body, INSIDE, Instr};
use crate::nearest::Nearest;
use crate::spec::{Role, Spec, Target};
use crate::stack::UNREACHED;

/// Scratch space of a proof.
#[derive(Default)]
pub(crate) struct Verifier {
    /// What the units of the variant are, ascending and without gaps.
    stretches: Vec<Stretch>,
    /// Where they start.
    starts: Nearest,
    probes: Vec<Found>,
    /// The jumps: the target of the original instruction, the unit of the variant's.
    jumps: Vec<(u32, u32)>,
    handlers: Vec<Handler>,
    /// The handlers in instructions of the original.
    mapped: Vec<Handler>,
    /// Whether each line has a probe.
    seen: Vec<bool>,
}

/// Some units of the variant.
#[derive(Clone, Copy)]
struct Stretch {
    /// The first one.
    unit: u32,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// An added piece in front of this original instruction.
    Piece(u32),
    /// This original instruction, a jump that is longer than it was.
    Longer(u32),
    /// The original code from this unit on.
    Same(u32),
}

/// A probe in the variant.
#[derive(Clone, Copy)]
struct Found {
    unit: u32,
    ordinal: u32,
    line: i32,
    /// The original instruction it belongs to.
    owner: u32,
    /// Behind the PUSH_EXC_INFO it belongs to, where the stack is one higher.
    behind: bool,
}

/// What the variant is claimed to be.
pub(crate) struct Claim<'a> {
    /// The bytes that the original was decoded from.
    pub(crate) original: Tables<'a>,
    pub(crate) first_constant: u32,
    /// Probe lines in the order of their constants.
    pub(crate) lines: &'a [u32],
    pub(crate) stacksize: i32,
}

impl Verifier {
    /// Checks every invariant of the module documentation.
    #[inline(never)]
    pub(crate) fn check(
        &mut self,
        spec: &Spec,
        original: &Body,
        depths: &[i32],
        variant: &Assembled,
        claim: &Claim<'_>,
    ) -> Result<(), Reason> {
        if !variant.code.len().is_multiple_of(2) {
            return Err(Reason::OddLength);
        }
        let mut lines = Lines::new(original, claim, &variant.linetable);
        self.instructions(spec, original, &variant.code, claim, &mut lines)?;
        lines.finish()?;
        let starts = self.stretches.iter().map(|stretch| stretch.unit);
        self.starts.fill(starts);
        for &(wanted, target) in &self.jumps {
            if self.boundary(original, target) != Some(wanted) {
                return Err(Reason::Verification("a jump leads elsewhere"));
            }
        }
        self.ranges(original, &variant.exceptiontable)?;
        self.probes(claim)?;
        self.stack(depths, claim)
    }

    fn instructions(
        &mut self,
        spec: &Spec,
        original: &Body,
        code: &[u8],
        claim: &Claim<'_>,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        self.stretches.clear();
        self.probes.clear();
        self.jumps.clear();
        let mut reader = Reader::new(spec, code, claim.first_constant);
        let units: &[[u8; 2]] = claim.original.code.as_chunks().0;
        let mut jumps = original.jumps.iter().copied();
        let count = index(original.instrs.len());
        let mut jump = jumps.next().unwrap_or(count);
        let mut position = 0;
        // Whether the instruction in front was the same bytes.
        let mut same = true;
        while position < count {
            if same && reader.may_be_added() {
                self.gap(&mut reader, original, position, lines)?;
            }
            let next = self.run(&mut reader, original, units, position, jump);
            if next > position || !same {
                position = next;
                same = true;
                continue;
            }
            self.careful(&mut reader, original, position, lines)?;
            if position == jump {
                jump = jumps.next().unwrap_or(count);
            }
            position += 1;
            same = false;
        }
        self.gap_behind(&mut reader, original, position, lines)?;
        self.same(reader.unit, index(units.len()));
        reader.finish()
    }

    /// Reads instructions up to the next jump, which is at `end`, for as long as they are the
    /// same bytes, as whatever has no target should be; where that stops.
    #[expect(clippy::inline_always, reason = "a call for every probe")]
    #[inline(always)]
    fn run(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        units: &[[u8; 2]],
        position: u32,
        end: u32,
    ) -> u32 {
        if position == end {
            return position;
        }
        let start = original.units[position as usize];
        self.same(reader.unit, start);
        let run = &units[start as usize..original.units[end as usize] as usize];
        let reached = start + reader.common(run);
        let next = stops_at(reader.spec, original, reader, position, reached);
        reader.unit += original.units[next as usize] - start;
        next
    }

    /// Reads one instruction that need not be the same bytes.
    fn careful(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        position: u32,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        let instr = original.instrs[position as usize];
        let unit = reader.unit;
        self.same(unit, original.units[position as usize]);
        let read = reader.instruction()?;
        if read.op != instr.op {
            return Err(Broken(&Reason::Verification("an instruction changed")));
        }
        if reader.spec.ops[usize::from(instr.op)].target != Target::None {
            self.jumps.push((instr.arg, reader.target(read)?));
        } else if read.arg != instr.arg {
            return Err(Broken(&Reason::Verification("an argument changed")));
        }
        let size = original.units[position as usize + 1] - original.units[position as usize];
        let grown = (reader.unit - unit)
            .checked_sub(size)
            .ok_or(Broken(&Reason::Verification("an instruction shrank")))?;
        if grown > 0 {
            self.begin(unit, What::Longer(position));
            lines.add(instr.location, grown)?;
        }
        Ok(())
    }

    /// Notes that the original code goes on here.
    #[inline]
    fn same(&mut self, unit: u32, original: u32) {
        let what = What::Same(original);
        if let Some(Stretch {
            unit: start,
            what: What::Same(from),
        }) = self.stretches.last()
            && unit.wrapping_sub(*start) == original.wrapping_sub(*from)
        {
            return;
        }
        self.begin(unit, what);
    }

    fn piece(&mut self, unit: u32, position: u32) {
        self.begin(unit, What::Piece(position));
    }

    fn begin(&mut self, unit: u32, what: What) {
        self.stretches.push(Stretch { unit, what });
    }

    /// Reads the pieces in front of the instruction at `position`.
    #[inline]
    fn gap(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        position: u32,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        self.gap_behind(reader, original, position, lines)?;
        let instr = original.instrs[position as usize];
        let mut skipped = None;
        if reader.op() == reader.spec.jump_forward && reader.peeks_skip() {
            let unit = reader.unit;
            self.piece(unit, position);
            let skip = reader.instruction()?;
            skipped = Some(reader.target(skip)?);
            let before = position
                .checked_sub(1)
                .ok_or(Broken(&Reason::Verification("a skip is on the wrong line")))?;
            let before = original.instrs[before as usize];
            lines.add(before.location, reader.unit - unit)?;
        }
        if let Some(probe) = reader.peeks_probe() {
            self.probe(reader, original, probe, position, position, lines)?;
        }
        if skipped.is_some_and(|target| target != reader.unit) {
            return Err(Broken(&Reason::Verification("a skip leads elsewhere")));
        }
        if pushes(reader.spec, instr) && reader.peeks_double() {
            let unit = reader.unit;
            self.piece(unit, position);
            let copy = reader.instruction()?;
            let skip = reader.instruction()?;
            let target = reader.target(skip)?;
            let mut ahead = reader.clone();
            let first = ahead.instruction()?;
            let end = ahead.probe_end()?;
            if first.op != copy.op || target != end {
                return Err(Broken(&Reason::Verification(
                    "a second entry leads elsewhere",
                )));
            }
            lines.add(instr.location, reader.unit - unit)?;
        }
        Ok(())
    }

    /// Reads the probe that belongs to a PUSH_EXC_INFO, if one was just read.
    #[inline]
    fn gap_behind(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        position: u32,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        match position.checked_sub(1) {
            Some(owner) if pushes(reader.spec, original.instrs[owner as usize]) => {
                self.probe_behind(reader, original, owner, position, lines)
            }
            _ => Ok(()),
        }
    }

    /// One that stands in front of the next instruction looks the same; what tells them apart is
    /// the location.
    #[inline(never)]
    fn probe_behind(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        owner: u32,
        position: u32,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        let instr = original.instrs[owner as usize];
        if let Some(probe) = reader.peeks_probe()
            && lines.goes_on(instr.location, original.units[position as usize])?
        {
            self.probe(reader, original, probe, owner, position, lines)?;
        }
        Ok(())
    }

    /// Reads the probe that was peeked: it stands in front of the instruction at `position`.
    #[expect(clippy::inline_always, reason = "a call for every probe")]
    #[inline(always)]
    fn probe(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        (ordinal, rest): (u32, u32),
        owner: u32,
        position: u32,
        lines: &mut Lines<'_>,
    ) -> Result<(), Broken> {
        let unit = reader.unit;
        self.piece(unit, position);
        reader.probe(rest)?;
        let location = original.instrs[owner as usize].location;
        lines.add(location, reader.unit - unit)?;
        self.probes.push(Found {
            unit,
            line: original.locations[location as usize].line,
            ordinal,
            owner,
            behind: owner != position,
        });
        Ok(())
    }

    /// What a unit of the variant is.
    fn stretch(&self, unit: u32) -> Option<Stretch> {
        let after = self.starts.up_to(unit, |it| self.stretches[it].unit);
        after.checked_sub(1).map(|last| self.stretches[last])
    }

    /// The original instruction that begins at a unit of the variant.
    fn original(&self, original: &Body, unit: u32) -> Option<u32> {
        let Stretch { unit: start, what } = self.stretch(unit)?;
        match what {
            What::Same(from) => {
                let unit = from.checked_add(unit - start)?;
                let position = *original.starts.get(unit as usize)?;
                (position != INSIDE).then_some(position)
            }
            What::Longer(position) => (start == unit).then_some(position),
            What::Piece(_) => None,
        }
    }

    /// The original instruction that a unit of the variant stands for, if a piece or an
    /// instruction begins there.
    fn boundary(&self, original: &Body, unit: u32) -> Option<u32> {
        match self.stretch(unit)? {
            Stretch {
                unit: start,
                what: What::Piece(position),
            } => (start == unit).then_some(position),
            _ => self.original(original, unit),
        }
    }

    /// Where a range begins or ends: a unit between two original instructions.
    fn edge(&self, original: &Body, unit: u32) -> Result<u32, Reason> {
        self.boundary(original, unit)
            .ok_or(Reason::Verification("a protected range is cut wrongly"))
    }

    fn ranges(&mut self, original: &Body, table: &[u8]) -> Result<(), Reason> {
        self.handlers.clear();
        exctable::decode(table, &mut self.handlers)?;
        self.mapped.clear();
        for handler in &self.handlers {
            self.mapped.push(Handler {
                start: self.edge(original, handler.start)?,
                end: self.edge(original, handler.end)?,
                target: self.edge(original, handler.target)?,
                ..*handler
            });
        }
        if !join(self.mapped.iter().copied()).eq(join(original.handlers.iter().copied())) {
            return Err(Reason::Verification("a protected range changed"));
        }
        Ok(())
    }

    fn probes(&mut self, claim: &Claim<'_>) -> Result<(), Reason> {
        self.seen.clear();
        self.seen.resize(claim.lines.len(), false);
        for probe in &self.probes {
            let ordinal = probe.ordinal as usize;
            let Some(&line) = claim.lines.get(ordinal) else {
                return Err(Reason::Verification("a probe has no constant"));
            };
            if u32::try_from(probe.line) != Ok(line) {
                return Err(Reason::Verification(
                    "a probe has the constant of another line",
                ));
            }
            self.seen[ordinal] = true;
        }
        if self.seen.contains(&false) {
            return Err(Reason::Verification("a probe is missing"));
        }
        Ok(())
    }

    /// Room for every probe, and handlers that find the stack they expect.
    fn stack(&self, depths: &[i32], claim: &Claim<'_>) -> Result<(), Reason> {
        let mut handlers = self.handlers.iter().peekable();
        for probe in &self.probes {
            let depth = depths[probe.owner as usize];
            if depth == UNREACHED {
                continue;
            }
            let depth = depth + i32::from(probe.behind);
            if depth >= claim.stacksize {
                return Err(Reason::Verification("co_stacksize is too small"));
            }
            while handlers
                .next_if(|handler| handler.end <= probe.unit)
                .is_some()
            {}
            if let Some(handler) = handlers.peek()
                && handler.start <= probe.unit
                && i64::from(depth) < i64::from(handler.depth)
            {
                return Err(Reason::Verification("a probe is protected too deeply"));
            }
        }
        Ok(())
    }
}

/// Whether an instruction makes the exception the current one.
#[inline]
fn pushes(spec: &Spec, instr: Instr) -> bool {
    spec.ops[usize::from(instr.op)].role == Role::PushExcInfo
}

/// The instruction at which code stops to be the same, when its units are from `position` up to
/// `reached`. No piece starts with the bytes of the instruction it stands in front of, but the
/// second copy of a PUSH_EXC_INFO, which is left to the careful way.
fn stops_at(spec: &Spec, original: &Body, reader: &Reader<'_>, position: u32, reached: u32) -> u32 {
    let mut unit = reached as usize;
    while original.starts[unit] == INSIDE {
        unit -= 1;
    }
    let next = original.starts[unit];
    if next > position {
        let follows = index(unit) - original.units[position as usize];
        let pushes = original.op(spec, next as usize - 1).role == Role::PushExcInfo;
        if pushes && reader.op_at(reader.unit + follows) == spec.jump_forward {
            return next - 1;
        }
    }
    next
}

/// Joins neighbouring ranges that one handler protects.
fn join(handlers: impl Iterator<Item = Handler>) -> impl Iterator<Item = Handler> {
    let mut handlers = handlers.peekable();
    std::iter::from_fn(move || {
        let mut joined = handlers.next()?;
        let sense = |handler: &Handler| (handler.target, handler.depth, handler.lasti);
        while let Some(next) =
            handlers.next_if(|next| next.start == joined.end && sense(next) == sense(&joined))
        {
            joined.end = next.end;
        }
        Some(joined)
    })
}

#[cfg(test)]
mod tests;
