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

mod reader;

use std::ops::Range;

use self::reader::Reader;
use crate::assemble::Assembled;
use crate::decode::{decode, index};
use crate::error::Reason;
use crate::exctable::{self, Handler};
use crate::instr::{Body, Instr};
use crate::linetable::Location;
use crate::spec::{Role, Spec, Target};
use crate::stack::UNREACHED;

/// Scratch space of a proof.
#[derive(Default)]
pub(crate) struct Verifier {
    /// The unit of each original instruction (and the end) in the variant.
    at: Vec<u32>,
    /// Units at which an added piece begins, ascending.
    pieces: Vec<u32>,
    probes: Vec<Found>,
    handlers: Vec<Handler>,
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
    pub(crate) code: &'a [u8],
    pub(crate) first_line: i32,
    pub(crate) first_constant: u32,
    /// Probe lines in the order of their constants.
    pub(crate) lines: &'a [u32],
    pub(crate) stacksize: i32,
}

impl Verifier {
    /// Checks every invariant of the module documentation.
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
        self.instructions(spec, original, variant, claim)?;
        self.ranges(original, &variant.exceptiontable)?;
        self.probes(claim)?;
        self.stack(depths, claim)
    }

    fn instructions(
        &mut self,
        spec: &Spec,
        original: &Body,
        variant: &Assembled,
        claim: &Claim<'_>,
    ) -> Result<(), Reason> {
        self.at.clear();
        self.pieces.clear();
        self.probes.clear();
        let mut reader = Reader::new(spec, variant, claim);
        let mut jumps = Vec::with_capacity(original.jumps.len());
        let mut before = None;
        let mut next_jumps = original.jumps.iter().copied().peekable();
        let mut position = 0;
        while let Some(instr) = original.instrs.get(position) {
            let location = original.locations[instr.location as usize];
            if reader.may_be_added() {
                self.gap(&mut reader, index(position), instr, location, before)?;
            }
            self.at.push(reader.unit);
            let read = reader.instruction()?;
            if read.op != instr.op {
                return Err(Reason::Verification("an instruction changed"));
            }
            if spec.ops[usize::from(instr.op)].target == Target::None {
                if read.arg != instr.arg {
                    return Err(Reason::Verification("an argument changed"));
                }
            } else {
                jumps.push((instr.arg, reader.target(read)?));
            }
            if read.location != location {
                return Err(Reason::Verification("a location changed"));
            }
            position += 1;
            while next_jumps
                .next_if(|&jump| (jump as usize) < position)
                .is_some()
            {}
            let jump = next_jumps.peek().map(|&jump| jump as usize);
            let end = jump.unwrap_or(original.instrs.len());
            position = self.same_run(&mut reader, original, claim, position..end)?;
            let last = original.instrs[position - 1];
            let location = original.locations[last.location as usize];
            before = Some((index(position - 1), last.op, location));
        }
        self.gap_behind(&mut reader, before)?;
        self.at.push(reader.unit);
        reader.finish()?;
        for (wanted, target) in jumps {
            if self.boundary(target) != Some(wanted) {
                return Err(Reason::Verification("a jump leads elsewhere"));
            }
        }
        Ok(())
    }

    /// Reads instructions without targets for as long as the bytes are the original ones, and
    /// returns where that ends. No piece starts with the bytes of the instruction it stands in
    /// front of, but the second copy of a PUSH_EXC_INFO, which is left to the careful way.
    fn same_run(
        &mut self,
        reader: &mut Reader<'_>,
        original: &Body,
        claim: &Claim<'_>,
        range: Range<usize>,
    ) -> Result<usize, Reason> {
        let units = &original.units[range.start..=range.end];
        let theirs: &[[u8; 2]] = claim.code.as_chunks().0;
        let theirs = &theirs[units[0] as usize..units[units.len() - 1] as usize];
        let same = reader.common(theirs);
        let mut count = units.partition_point(|&unit| unit <= units[0] + same) - 1;
        let follows = units[count] - units[0];
        let doubles =
            |last: &Instr| reader.spec.ops[usize::from(last.op)].role == Role::PushExcInfo;
        if count > 0
            && reader.op_at(reader.unit + follows) == reader.spec.jump_forward
            && doubles(&original.instrs[range.start + count - 1])
        {
            count -= 1;
        }
        let start = reader.unit;
        self.at
            .extend(units[..count].iter().map(|unit| unit - units[0] + start));
        let mut unit = units[0];
        let mut run = original
            .instrs
            .get(range.start)
            .map_or(0, |instr| instr.location as usize);
        while unit < units[count] {
            let end = original.runs[run + 1].unit.min(units[count]);
            reader.advance(end - unit, original.locations[run])?;
            unit = end;
            run += 1;
        }
        Ok(range.start + count)
    }

    /// Reads the pieces between the instruction `before` and the one at `position`.
    fn gap(
        &mut self,
        reader: &mut Reader<'_>,
        position: u32,
        instr: &Instr,
        location: Location,
        before: Option<(u32, u8, Location)>,
    ) -> Result<(), Reason> {
        self.gap_behind(reader, before)?;
        if reader.op() == reader.spec.jump_forward && reader.peeks_skip() {
            self.pieces.push(reader.unit);
            let skip = reader.instruction()?;
            if before.is_none_or(|(_, _, location)| location.line != skip.location.line) {
                return Err(Reason::Verification("a skip is on the wrong line"));
            }
            let target = reader.target(skip)?;
            self.probe(reader, position, location, false)?;
            if target != reader.unit {
                return Err(Reason::Verification("a skip leads elsewhere"));
            }
        } else if reader.peeks_probe() {
            self.probe(reader, position, location, false)?;
        }
        let pushes = |op: u8| reader.spec.ops[usize::from(op)].role == Role::PushExcInfo;
        if pushes(instr.op) && reader.peeks_double() {
            self.pieces.push(reader.unit);
            let copy = reader.instruction()?;
            let skip = reader.instruction()?;
            let target = reader.target(skip)?;
            let mut ahead = reader.clone();
            let first = ahead.instruction()?;
            let end = ahead.probe_end()?;
            if (first.op, copy.location, skip.location) != (copy.op, location, location)
                || target != end
            {
                return Err(Reason::Verification("a second entry leads elsewhere"));
            }
        }
        Ok(())
    }

    /// Reads the probe that belongs to a PUSH_EXC_INFO just read. One that stands in front of
    /// the next instruction looks the same; what tells them apart is the location.
    fn gap_behind(
        &mut self,
        reader: &mut Reader<'_>,
        before: Option<(u32, u8, Location)>,
    ) -> Result<(), Reason> {
        match before {
            Some((position, op, location))
                if reader.spec.ops[usize::from(op)].role == Role::PushExcInfo
                    && reader.peeks_probe()
                    && reader.location()? == location =>
            {
                self.probe(reader, position, location, true)
            }
            _ => Ok(()),
        }
    }

    fn probe(
        &mut self,
        reader: &mut Reader<'_>,
        owner: u32,
        location: Location,
        behind: bool,
    ) -> Result<(), Reason> {
        let unit = reader.unit;
        self.pieces.push(unit);
        let load = reader.instruction()?;
        let truth = reader.instruction()?;
        let pop = reader.instruction()?;
        let ops = (load.op, truth.op, pop.op);
        if ops
            != (
                reader.spec.load_const,
                reader.spec.to_bool,
                reader.spec.pop_top,
            )
        {
            return Err(Reason::Verification("a probe is broken"));
        }
        if [load, truth, pop]
            .iter()
            .any(|part| part.location != location)
        {
            return Err(Reason::Verification("a probe is on the wrong line"));
        }
        let ordinal = load.arg.checked_sub(reader.first_constant);
        self.probes.push(Found {
            unit,
            line: location.line,
            ordinal: ordinal.ok_or(Reason::Verification("a probe has no constant"))?,
            owner,
            behind,
        });
        Ok(())
    }

    /// The original instruction that a unit of the variant stands for, if a piece or an
    /// instruction begins there.
    fn boundary(&self, unit: u32) -> Option<u32> {
        let position = self.at.partition_point(|&at| at < unit);
        let exact = *self.at.get(position)? == unit;
        (exact || self.pieces.binary_search(&unit).is_ok()).then(|| index(position))
    }

    /// Where a range begins or ends: a unit between two original instructions.
    fn edge(&self, unit: u32) -> Result<u32, Reason> {
        self.boundary(unit)
            .ok_or(Reason::Verification("a protected range is cut wrongly"))
    }

    fn ranges(&mut self, original: &Body, table: &[u8]) -> Result<(), Reason> {
        self.handlers.clear();
        exctable::decode(table, &mut self.handlers)?;
        let mut mapped = Vec::with_capacity(self.handlers.len());
        for handler in &self.handlers {
            mapped.push(Handler {
                start: self.edge(handler.start)?,
                end: self.edge(handler.end)?,
                target: self.edge(handler.target)?,
                ..*handler
            });
        }
        if !join(mapped.into_iter()).eq(join(original.handlers.iter().copied())) {
            return Err(Reason::Verification("a protected range changed"));
        }
        Ok(())
    }

    fn probes(&self, claim: &Claim<'_>) -> Result<(), Reason> {
        let mut seen = vec![false; claim.lines.len()];
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
            seen[ordinal] = true;
        }
        if seen.contains(&false) {
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

    /// The variant checked last, without its probes.
    pub(crate) fn without_probes(
        &self,
        spec: &Spec,
        variant: &Assembled,
        first_line: i32,
    ) -> Result<Body, Reason> {
        let mut body = Body::default();
        decode(spec, variant.tables(first_line), &mut body)?;
        let kept: Vec<Instr> = body
            .instrs
            .iter()
            .zip(&body.units)
            .filter(|&(_, unit)| self.at.binary_search(unit).is_ok())
            .map(|(instr, _)| match spec.ops[usize::from(instr.op)].target {
                Target::None => Ok(*instr),
                _ => Ok(Instr {
                    arg: self.edge(body.units[instr.arg as usize])?,
                    ..*instr
                }),
            })
            .collect::<Result<_, Reason>>()?;
        body.instrs = kept;
        body.handlers.clear();
        Ok(body)
    }
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
