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

use crate::assemble::Assembled;
use crate::decode::{decode, index};
use crate::error::Reason;
use crate::exctable::{self, Handler};
use crate::instr::{Body, Instr};
use crate::linetable::{Decoder, Location};
use crate::spec::{Role, Spec, Target};
use crate::stack::UNREACHED;

/// Scratch space of a proof.
#[derive(Default)]
pub(crate) struct Verifier {
    /// For each original instruction (and the end) the unit where the pieces in front of it
    /// begin, that is the end of the instruction before.
    gaps: Vec<u32>,
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
        self.gaps.clear();
        self.at.clear();
        self.pieces.clear();
        self.probes.clear();
        let mut reader = Reader::new(spec, variant, claim);
        let mut jumps = Vec::with_capacity(original.jumps.len());
        let mut before = None;
        for (position, instr) in (0u32..).zip(&original.instrs) {
            self.gaps.push(reader.unit);
            let location = original.locations[instr.location as usize];
            if reader.may_be_added() {
                self.gap(&mut reader, position, instr, location, before)?;
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
            before = Some((position, instr.op, location));
        }
        self.gaps.push(reader.unit);
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
        let piece = || self.gaps[position] <= unit && self.pieces.binary_search(&unit).is_ok();
        (exact || piece()).then(|| index(position))
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
        decode(spec, variant.tables(first_line), &mut body, &mut Vec::new())?;
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

/// Reads a variant instruction by instruction, with locations.
#[derive(Clone)]
struct Reader<'a> {
    spec: &'a Spec,
    units: &'a [[u8; 2]],
    first_constant: u32,
    /// The next unit to read.
    unit: u32,
    locations: Decoder<'a>,
    location: Location,
    /// Units that `location` still covers.
    left: u32,
}

/// An instruction as it was read.
#[derive(Clone, Copy)]
struct Read {
    op: u8,
    arg: u32,
    location: Location,
}

impl<'a> Reader<'a> {
    fn new(spec: &'a Spec, variant: &'a Assembled, claim: &Claim<'_>) -> Self {
        Self {
            spec,
            units: variant.code.as_chunks().0,
            first_constant: claim.first_constant,
            unit: 0,
            locations: Decoder::new(&variant.linetable, claim.first_line),
            location: Location::NONE,
            left: 0,
        }
    }

    /// The opcode at the next unit; 0 (CACHE) at the end.
    fn op(&self) -> u8 {
        self.units.get(self.unit as usize).map_or(0, |unit| unit[0])
    }

    #[inline]
    fn instruction(&mut self) -> Result<Read, Reason> {
        const CUT: Reason = Reason::Verification("the code is cut short");
        let start = self.unit;
        let mut at = start as usize;
        let (mut op, mut arg) = (self.spec.extended_arg, 0);
        while op == self.spec.extended_arg {
            let &[next, byte] = self.units.get(at).ok_or(CUT)?;
            (op, arg) = (next, arg << 8 | u32::from(byte));
            at += 1;
        }
        for _ in 0..self.spec.ops[usize::from(op)].caches {
            match self.units.get(at) {
                Some([0, 0]) => at += 1,
                _ => return Err(CUT),
            }
        }
        self.unit = index(at);
        let size = self.unit - start;
        let mut needed = size;
        while needed > self.left {
            needed -= self.left;
            let (count, location) = self.locations.entry()?;
            if needed != size && location != self.location {
                return Err(Reason::SplitLocation);
            }
            (self.left, self.location) = (count, location);
        }
        self.left -= needed;
        Ok(Read {
            op,
            arg,
            location: self.location,
        })
    }

    /// The location of the next unit.
    fn location(&self) -> Result<Location, Reason> {
        if self.left > 0 {
            return Ok(self.location);
        }
        Ok(self.locations.clone().entry()?.1)
    }

    /// Where a jump that was just read leads.
    fn target(&self, jump: Read) -> Result<u32, Reason> {
        match self.spec.ops[usize::from(jump.op)].target {
            Target::Backward => self.unit.checked_sub(jump.arg),
            _ => self.unit.checked_add(jump.arg),
        }
        .ok_or(Reason::BadJump)
    }

    /// Whether an added piece may begin with the next opcode.
    #[inline]
    fn may_be_added(&self) -> bool {
        let op = self.op();
        op == self.spec.load_const
            || op == self.spec.extended_arg
            || op == self.spec.jump_forward
            || self.spec.ops[usize::from(op)].role == Role::PushExcInfo
    }

    /// Whether a LOAD_CONST of a probe's constant comes next.
    fn peeks_probe(&self) -> bool {
        let mut arg = 0;
        for &[op, byte] in self.units.iter().skip(self.unit as usize).take(4) {
            arg = arg << 8 | u32::from(byte);
            if op == self.spec.load_const {
                return arg >= self.first_constant;
            }
            if op != self.spec.extended_arg {
                return false;
            }
        }
        false
    }

    /// Whether a jump over exactly one probe comes next.
    fn peeks_skip(&self) -> bool {
        let mut ahead = self.clone();
        let target = ahead.instruction().and_then(|skip| ahead.target(skip));
        ahead.peeks_probe() && ahead.probe_end() == target
    }

    /// Whether the next instruction is followed by a jump over its like and a probe.
    fn peeks_double(&self) -> bool {
        let mut ahead = self.clone();
        let copy = ahead.instruction();
        if ahead.op() != self.spec.jump_forward || ahead.instruction().is_err() {
            return false;
        }
        let first = ahead.instruction();
        copy.is_ok_and(|copy| first.is_ok_and(|first| first.op == copy.op)) && ahead.peeks_probe()
    }

    /// Where the probe that comes next ends.
    fn probe_end(&mut self) -> Result<u32, Reason> {
        for _ in 0..3 {
            self.instruction()?;
        }
        Ok(self.unit)
    }

    fn finish(&self) -> Result<(), Reason> {
        if self.unit as usize != self.units.len() || self.left != 0 || !self.locations.is_done() {
            return Err(Reason::Verification("something follows the code"));
        }
        Ok(())
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
