//! Writes an injection: the original bytes are copied, with the additions between them.
//!
//! Only jumps, the locations that an addition shares and the exception table are encoded anew.
//! An addition has the location of an instruction beside it, so that it only lengthens the run
//! of line table entries of that location; the entries themselves stay.

use crate::assemble::{Assembled, prefixes_for};
use crate::bytes::append;
use crate::decode::{Tables, index};
use crate::error::Reason;
use crate::events::{Events, split_by_event};
use crate::exctable;
use crate::exctable::Handler;
use crate::inject::{Placement, Stand};
use crate::instr::Body;
use crate::linetable::lengthen;
use crate::nearest::Nearest;
use crate::spec::{Flow, Spec, Target};

/// More units than are ever added at a place: second entry, probe, EXTENDED_ARG.
const PIECE: usize = 24;
/// Longer code is left alone.
const MAX_LENGTH: usize = u32::MAX as usize / 2;

/// A place in the code at which something was added.
#[derive(Clone, Copy)]
struct Place {
    /// The original instruction.
    position: u32,
    /// In code units of the result: the first unit emitted for it.
    start: u32,
    /// Where control enters with a line event.
    enter: u32,
    /// Where control enters without one.
    line: u32,
    /// The unit of what follows in the result, less that in the original.
    shift: u32,
    /// EXTENDED_ARG that were added to it.
    grown: u8,
}

impl Place {
    /// The unit of the instruction; of the copy that is entered with a line event where there
    /// are two.
    fn at(&self) -> u32 {
        self.line.max(self.enter)
    }
}

/// Scratch space, and what was written.
#[derive(Default)]
pub(crate) struct Splice {
    /// The byte strings of the edited code.
    pub(crate) written: Assembled,
    /// Ascending.
    places: Vec<Place>,
    /// Their positions.
    positions: Nearest,
    /// Jumps that need EXTENDED_ARG beyond those they have: instruction, how many. Ascending.
    grown: Vec<(u32, u8)>,
    /// Locations that cover more units than before: index, units more.
    longer: Vec<(u32, u32)>,
}

/// What is edited.
#[derive(Clone, Copy)]
struct Source<'a> {
    spec: &'a Spec,
    tables: Tables<'a>,
    body: &'a Body,
}

impl Splice {
    /// Writes the byte strings of the edited code.
    #[inline(never)]
    pub(crate) fn write(
        &mut self,
        spec: &Spec,
        tables: Tables<'_>,
        body: &Body,
        events: &Events,
        placements: &[Placement],
    ) -> Result<(), Reason> {
        let source = Source { spec, tables, body };
        self.grown.clear();
        // Jumps are written last, when it is known where everything is. A jump that needs more
        // room moves what follows, so that it starts again; few code objects are that large.
        loop {
            self.copy(source, placements)?;
            if !self.jumps(spec, body, events)? {
                break;
            }
        }
        self.linetable(tables, body);
        self.exceptiontable(spec, body, events);
        Ok(())
    }

    /// Copies the code with the additions between.
    fn copy(&mut self, source: Source<'_>, placements: &[Placement]) -> Result<(), Reason> {
        let code = source.tables.code;
        self.written.code.clear();
        self.written
            .code
            .reserve(code.len() + 2 * PIECE * (placements.len() + self.grown.len()));
        self.places.clear();
        self.longer.clear();
        let mut copied = 0;
        if self.grown.is_empty() {
            for &placement in placements {
                self.cut(source, &mut copied, placement.position, Some(placement), 0);
            }
        } else {
            self.copy_grown(source, &mut copied, placements);
        }
        self.written.code.extend_from_slice(&code[copied..]);
        if self.written.code.len() > MAX_LENGTH {
            return Err(Reason::TooLarge);
        }
        Ok(())
    }

    /// Copies where jumps grow, too.
    #[cold]
    fn copy_grown(&mut self, source: Source<'_>, copied: &mut usize, placements: &[Placement]) {
        let mut next_grown = 0;
        for &placement in placements {
            let position = placement.position;
            let mut more = 0;
            while let Some(&(jump, grown)) = self.grown.get(next_grown)
                && jump <= position
            {
                if jump == position {
                    more = grown;
                } else {
                    self.cut(source, copied, jump, None, grown);
                }
                next_grown += 1;
            }
            self.cut(source, copied, position, Some(placement), more);
        }
        while let Some(&(jump, grown)) = self.grown.get(next_grown) {
            self.cut(source, copied, jump, None, grown);
            next_grown += 1;
        }
    }

    /// Copies up to an instruction and adds what belongs to it; `copied` is in bytes.
    #[expect(
        clippy::inline_always,
        reason = "it is called in one place, for every probe"
    )]
    #[inline(always)]
    fn cut(
        &mut self,
        source: Source<'_>,
        copied: &mut usize,
        position: u32,
        placement: Option<Placement>,
        grown: u8,
    ) {
        let from = 2 * source.body.units[position as usize] as usize;
        append(&mut self.written.code, source.tables.code, *copied, from);
        *copied = from;
        let start = index(self.written.code.len() / 2);
        let (enter, line) = match placement {
            Some(Placement {
                constant,
                stand: Stand::InFront { skipped },
                ..
            }) if grown == 0 => self.in_front(source, position, start, constant, skipped),
            _ => self.otherwise(source, copied, position, start, placement, grown),
        };
        self.places.push(Place {
            position,
            start,
            enter,
            line,
            shift: index(self.written.code.len() / 2) - index(*copied / 2),
            grown,
        });
    }

    /// Adds a probe in front of an instruction, from the unit `start` on: where control enters
    /// with a line event, and where without one.
    #[expect(clippy::inline_always, reason = "as that of `cut`")]
    #[inline(always)]
    fn in_front(
        &mut self,
        source: Source<'_>,
        position: u32,
        start: u32,
        constant: u32,
        skipped: bool,
    ) -> (u32, u32) {
        let Source { spec, body, .. } = source;
        let out = &mut self.written.code;
        let probe = probe_size(spec, constant);
        let mut enter = start;
        if skipped {
            let before = body.instrs[position as usize - 1].location;
            longer(&mut self.longer, before, 1);
            skip(spec, out, probe);
            enter += 1;
        }
        write_probe(spec, out, constant);
        let location = body.instrs[position as usize].location;
        longer(&mut self.longer, location, probe);
        (enter, enter + probe)
    }

    /// Adds a probe behind an instruction, or where a jump grows. (A function of its own, so that
    /// what is done for nearly all probes has the registers.)
    #[inline(never)]
    fn otherwise(
        &mut self,
        source: Source<'_>,
        copied: &mut usize,
        position: u32,
        start: u32,
        placement: Option<Placement>,
        grown: u8,
    ) -> (u32, u32) {
        let Source { spec, tables, body } = source;
        let (from, end) = (*copied, 2 * body.units[position as usize + 1] as usize);
        let instruction = &tables.code[from..end];
        let location = body.instrs[position as usize].location;
        let (mut enter, mut line) = (start, start);
        let mut behind = None;
        if let Some(Placement {
            constant, stand, ..
        }) = placement
        {
            match stand {
                Stand::InFront { skipped } => {
                    (enter, line) = self.in_front(source, position, start, constant, skipped);
                }
                Stand::Behind { doubled } => {
                    let probe = probe_size(spec, constant);
                    if doubled {
                        let size = index(instruction.len() / 2);
                        self.written.code.extend_from_slice(instruction);
                        skip(spec, &mut self.written.code, size + probe);
                        enter += size + 1;
                        longer(&mut self.longer, location, size + 1);
                    }
                    behind = Some(constant);
                    longer(&mut self.longer, location, probe);
                }
            }
        }
        let out = &mut self.written.code;
        if grown > 0 {
            for _ in 0..grown {
                out.extend([spec.extended_arg, 0]);
            }
            longer(&mut self.longer, location, u32::from(grown));
        }
        if let Some(constant) = behind {
            *copied = end;
            out.extend_from_slice(instruction);
            write_probe(spec, out, constant);
        }
        (enter, line)
    }

    /// The place of an instruction at which something may have been added.
    fn place(&self, body: &Body, position: u32) -> Place {
        let place = |number: usize| self.places[number].position;
        let after = self.positions.up_to(position, place);
        let before = after.checked_sub(1).map(|last| self.places[last]);
        match before {
            Some(place) if place.position == position => place,
            _ => untouched(body, position, before.map_or(0, |place| place.shift)),
        }
    }

    /// Writes the arguments of all jumps; whether any needs more room than it has.
    fn jumps(&mut self, spec: &Spec, body: &Body, events: &Events) -> Result<bool, Reason> {
        let positions = self.places.iter().map(|place| place.position);
        self.positions.fill(positions);
        let mut again = false;
        for &position in &body.jumps {
            let place = self.place(body, position);
            let instr = body.instrs[position as usize];
            let op = &spec.ops[usize::from(instr.op)];
            let prefixes = instr.prefixes + place.grown;
            let at = place.at();
            let end = at + 1 + u32::from(prefixes) + u32::from(op.caches);
            let target = self.place(body, instr.arg);
            let target = if op.flow == Flow::Next {
                target.start
            } else if events.jump_fires(position as usize) {
                target.enter
            } else {
                target.line
            };
            let arg = match op.target {
                Target::Backward => end.checked_sub(target),
                _ => target.checked_sub(end),
            }
            .ok_or(Reason::BadJump)?;
            let needed = prefixes_for(arg);
            if needed > prefixes {
                self.grow(position, needed - instr.prefixes);
                again = true;
            }
            let last = 2 * (at as usize + usize::from(prefixes)) + 1;
            let bytes = arg.to_le_bytes();
            for (prefix, &byte) in bytes.iter().enumerate().take(1 + usize::from(prefixes)) {
                self.written.code[last - 2 * prefix] = byte;
            }
        }
        Ok(again)
    }

    /// Gives a jump room for so many EXTENDED_ARG more than it had.
    fn grow(&mut self, position: u32, prefixes: u8) {
        match self.grown.binary_search_by_key(&position, |grown| grown.0) {
            Ok(known) => self.grown[known].1 = prefixes,
            Err(new) => self.grown.insert(new, (position, prefixes)),
        }
    }

    fn linetable(&mut self, tables: Tables<'_>, body: &Body) {
        let out = &mut self.written.linetable;
        out.clear();
        out.reserve(tables.linetable.len() + 8 * self.longer.len());
        let mut copied = 0;
        for &(location, more) in &self.longer {
            let run = body.runs[location as usize];
            let next = body.runs[location as usize + 1];
            append(out, tables.linetable, copied, run.byte as usize);
            copied = next.byte as usize;
            let entries = &tables.linetable[run.byte as usize..];
            lengthen(entries, next.unit - run.unit + more, out);
        }
        out.extend_from_slice(&tables.linetable[copied..]);
    }

    fn exceptiontable(&mut self, spec: &Spec, body: &Body, events: &Events) {
        let mut out = std::mem::take(&mut self.written.exceptiontable);
        out.clear();
        let mut protect = |handler: &Handler, start: u32, end: u32, target: u32| {
            let moved = Handler {
                start: self.place(body, start).start,
                end: self.place(body, end).start,
                target,
                ..*handler
            };
            exctable::encode(moved, &mut out);
        };
        for handler in &body.handlers {
            let place = self.place(body, handler.target);
            if place.enter == place.line {
                protect(handler, handler.start, handler.end, place.enter);
                continue;
            }
            for (start, end, fires) in split_by_event(events, spec, body, *handler) {
                let target = if fires { place.enter } else { place.line };
                protect(handler, start, end, target);
            }
        }
        self.written.exceptiontable = out;
    }
}

/// The place of an instruction at which nothing was added.
fn untouched(body: &Body, position: u32, shift: u32) -> Place {
    let at = body.units[position as usize] + shift;
    Place {
        position,
        start: at,
        enter: at,
        line: at,
        shift,
        grown: 0,
    }
}

/// Notes that a location covers so many units more; they ascend.
fn longer(longer: &mut Vec<(u32, u32)>, location: u32, units: u32) {
    match longer.last_mut() {
        Some((last, more)) if *last == location => *more += units,
        _ => longer.push((location, units)),
    }
}

/// Code units of a probe.
#[inline]
fn probe_size(spec: &Spec, constant: u32) -> u32 {
    u32::from(prefixes_for(constant)) + u32::from(spec.probe_units)
}

#[inline]
fn write_probe(spec: &Spec, out: &mut Vec<u8>, constant: u32) {
    let bytes = constant.to_le_bytes();
    if bytes[1..] != [0; 3] {
        for prefix in (1..=prefixes_for(constant)).rev() {
            out.extend([spec.extended_arg, bytes[usize::from(prefix)]]);
        }
    }
    // A copy of fixed size is a single store.
    let end = out.len() + 2 * usize::from(spec.probe_units);
    let mut probe = spec.probe;
    probe[1] = bytes[0];
    out.extend_from_slice(&probe);
    out.truncate(end);
}

/// A jump over `units`, of which there are few.
fn skip(spec: &Spec, out: &mut Vec<u8>, units: u32) {
    out.extend([spec.jump_forward, units.to_le_bytes()[0]]);
}
