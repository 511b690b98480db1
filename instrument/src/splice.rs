//! Writes an injection: the original bytes are copied, with the additions between them.
//!
//! Only jumps, the locations that an addition shares and the exception table are encoded anew.
//! An addition has the location of an instruction beside it, so that it only lengthens the run
//! of line table entries of that location; the entries themselves stay.

use crate::assemble::{Assembled, prefixes_for};
use crate::decode::{Tables, index};
use crate::error::Reason;
use crate::events::{Events, split_by_event};
use crate::exctable;
use crate::exctable::Handler;
use crate::inject::{Placement, Stand};
use crate::instr::Body;
use crate::linetable::lengthen;
use crate::spec::{Flow, Op, Spec, Target};

/// Where the pieces of an original instruction went, in code units of the result.
#[derive(Clone, Copy)]
struct Place {
    position: u32,
    /// The first unit emitted for it.
    start: u32,
    /// Where control enters with a line event.
    enter: u32,
    /// Where control enters without one.
    line: u32,
}

/// Scratch space.
#[derive(Default)]
pub(crate) struct Splice {
    /// Unit of each instruction (and the end) in the result; of the copy that is entered with
    /// a line event where there are two.
    at: Vec<u32>,
    /// The instructions with a probe.
    places: Vec<Place>,
    /// EXTENDED_ARG that each jump needs beyond those it has.
    growth: Vec<u8>,
    /// Locations that cover more units than before: index, units more.
    longer: Vec<(u32, u32)>,
}

impl Splice {
    /// The byte strings of the edited code.
    pub(crate) fn write(
        &mut self,
        spec: &Spec,
        tables: Tables<'_>,
        body: &Body,
        events: &Events,
        placements: &[Placement],
    ) -> Result<Assembled, Reason> {
        self.growth.clear();
        self.growth.resize(body.jumps.len(), 0);
        loop {
            self.lay_out(spec, body, placements)?;
            if !self.widen(spec, body, events)? {
                break;
            }
        }
        Ok(Assembled {
            code: self.code(spec, tables, body, events, placements),
            linetable: self.linetable(spec, tables, body, placements),
            exceptiontable: self.exceptiontable(spec, body, events),
        })
    }

    /// Assigns a unit to every instruction.
    fn lay_out(
        &mut self,
        spec: &Spec,
        body: &Body,
        placements: &[Placement],
    ) -> Result<(), Reason> {
        self.at.clear();
        self.places.clear();
        let mut shift = 0;
        let mut copied = 0;
        let mut cuts = Cuts::new(placements, &body.jumps);
        while let Some((position, placement, jump)) = cuts.next() {
            self.copy_run(body, copied, position, shift);
            copied = position + 1;
            let start = body.units[position as usize] + shift;
            let size = body.units[copied as usize] - body.units[position as usize];
            let (mut line, mut enter) = (start, start);
            let mut behind = 0;
            if let Some(placement) = placement {
                let probe = probe_size(spec, placement.constant);
                match placement.stand {
                    Stand::InFront { skipped } => {
                        enter += u32::from(skipped);
                        line = enter + probe;
                    }
                    Stand::Behind { doubled } => {
                        enter += if doubled { size + 1 } else { 0 };
                        behind = probe;
                    }
                }
                self.places.push(Place {
                    position,
                    start,
                    enter,
                    line,
                });
            }
            let grown = jump.map_or(0, |jump| u32::from(self.growth[jump]));
            self.at.push(line.max(enter));
            let end = line.max(enter) + size + behind + grown;
            shift = end - body.units[copied as usize];
            if end > u32::MAX / 4 {
                return Err(Reason::TooLarge);
            }
        }
        self.copy_run(body, copied, index(body.instrs.len()) + 1, shift);
        Ok(())
    }

    fn copy_run(&mut self, body: &Body, from: u32, to: u32, shift: u32) {
        let units = &body.units[from as usize..to as usize];
        self.at.extend(units.iter().map(|unit| unit + shift));
    }

    /// The place of an instruction that may have a probe.
    fn place(&self, position: u32) -> Place {
        let found = self
            .places
            .binary_search_by_key(&position, |place| place.position);
        if let Ok(found) = found {
            return self.places[found];
        }
        let at = self.at[position as usize];
        Place {
            position,
            start: at,
            enter: at,
            line: at,
        }
    }

    /// The argument of a jump in the result.
    fn argument(&self, body: &Body, events: &Events, jump: usize, op: Op) -> Result<u32, Reason> {
        let position = body.jumps[jump] as usize;
        let place = self.place(body.instrs[position].arg);
        let target = if op.flow == Flow::Next {
            place.start
        } else if events.jump_fires(position) {
            place.enter
        } else {
            place.line
        };
        let size = body.units[position + 1] - body.units[position];
        let end = self.at[position] + size + u32::from(self.growth[jump]);
        match op.target {
            Target::Backward => end.checked_sub(target),
            _ => target.checked_sub(end),
        }
        .ok_or(Reason::BadJump)
    }

    /// Gives jumps the prefixes that their distance needs; whether any had to grow.
    fn widen(&mut self, spec: &Spec, body: &Body, events: &Events) -> Result<bool, Reason> {
        let mut widened = false;
        for jump in 0..body.jumps.len() {
            let instr = body.instrs[body.jumps[jump] as usize];
            let op = spec.ops[usize::from(instr.op)];
            let needed = prefixes_for(self.argument(body, events, jump, op)?);
            if needed > instr.prefixes + self.growth[jump] {
                self.growth[jump] = needed - instr.prefixes;
                widened = true;
            }
        }
        Ok(widened)
    }

    fn code(
        &self,
        spec: &Spec,
        tables: Tables<'_>,
        body: &Body,
        events: &Events,
        placements: &[Placement],
    ) -> Vec<u8> {
        let bytes = |from: u32, to: u32| {
            let (from, to) = (body.units[from as usize], body.units[to as usize]);
            &tables.code[2 * from as usize..2 * to as usize]
        };
        let units = self.at.last().copied().unwrap_or_default() as usize;
        let mut out = Vec::with_capacity(2 * units);
        let mut copied = 0;
        let mut cuts = Cuts::new(placements, &body.jumps);
        while let Some((position, placement, jump)) = cuts.next() {
            out.extend_from_slice(bytes(copied, position));
            copied = position + 1;
            let instruction = bytes(position, copied);
            let behind = placement.filter(|placement| {
                let probe = probe_size(spec, placement.constant);
                match placement.stand {
                    Stand::InFront { skipped } => {
                        if skipped {
                            skip(spec, &mut out, probe);
                        }
                        write_probe(spec, &mut out, placement.constant);
                        false
                    }
                    Stand::Behind { doubled } => {
                        if doubled {
                            out.extend_from_slice(instruction);
                            skip(spec, &mut out, index(instruction.len() / 2) + probe);
                        }
                        true
                    }
                }
            });
            match jump {
                Some(jump) => {
                    let instr = body.instrs[position as usize];
                    let op = spec.ops[usize::from(instr.op)];
                    let arg = self
                        .argument(body, events, jump, op)
                        .unwrap_or_default()
                        .to_le_bytes();
                    let prefixes = instr.prefixes + self.growth[jump];
                    for prefix in (1..=prefixes).rev() {
                        out.extend([spec.extended_arg, arg[usize::from(prefix)]]);
                    }
                    out.extend([instr.op, arg[0]]);
                    out.resize(out.len() + 2 * usize::from(op.caches), 0);
                }
                None => out.extend_from_slice(instruction),
            }
            if let Some(placement) = behind {
                write_probe(spec, &mut out, placement.constant);
            }
        }
        out.extend_from_slice(bytes(copied, index(body.instrs.len())));
        out
    }

    fn linetable(
        &mut self,
        spec: &Spec,
        tables: Tables<'_>,
        body: &Body,
        placements: &[Placement],
    ) -> Vec<u8> {
        self.longer.clear();
        let mut cuts = Cuts::new(placements, &body.jumps);
        while let Some((position, placement, jump)) = cuts.next() {
            let position = position as usize;
            let own = body.instrs[position].location;
            let mut more = jump.map_or(0, |jump| u32::from(self.growth[jump]));
            if let Some(placement) = placement {
                more += probe_size(spec, placement.constant);
                match placement.stand {
                    Stand::InFront { skipped: true } => {
                        self.lengthen(body.instrs[position - 1].location, 1);
                    }
                    Stand::Behind { doubled: true } => {
                        more += 1 + body.units[position + 1] - body.units[position];
                    }
                    _ => {}
                }
            }
            self.lengthen(own, more);
        }
        let mut out = Vec::with_capacity(tables.linetable.len() + 3 * self.longer.len());
        let mut copied = 0;
        for &(location, more) in &self.longer {
            let (run, next) = (
                body.runs[location as usize],
                body.runs[location as usize + 1],
            );
            out.extend_from_slice(&tables.linetable[copied..run.byte as usize]);
            copied = next.byte as usize;
            let entries = &tables.linetable[run.byte as usize..copied];
            lengthen(entries, next.unit - run.unit + more, &mut out);
        }
        out.extend_from_slice(&tables.linetable[copied..]);
        out
    }

    fn lengthen(&mut self, location: u32, units: u32) {
        if units == 0 {
            return;
        }
        match self.longer.last_mut() {
            Some((last, more)) if *last == location => *more += units,
            _ => self.longer.push((location, units)),
        }
    }

    fn exceptiontable(&self, spec: &Spec, body: &Body, events: &Events) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.handlers.len() * 6);
        let mut protect = |handler: &Handler, start: u32, end: u32, target: u32| {
            let moved = Handler {
                start: self.place(start).start,
                end: self.place(end).start,
                target,
                ..*handler
            };
            exctable::encode(moved, &mut out);
        };
        for handler in &body.handlers {
            let place = self.place(handler.target);
            if place.enter == place.line {
                protect(handler, handler.start, handler.end, place.enter);
                continue;
            }
            for (start, end, fires) in split_by_event(events, spec, body, *handler) {
                let target = if fires { place.enter } else { place.line };
                protect(handler, start, end, target);
            }
        }
        out
    }
}

/// Merges the two ascending lists of instructions that are not simply copied: those with a
/// probe, and jumps.
struct Cuts<'a> {
    placements: &'a [Placement],
    jumps: &'a [u32],
    jump: usize,
}

impl<'a> Cuts<'a> {
    fn new(placements: &'a [Placement], jumps: &'a [u32]) -> Self {
        Self {
            placements,
            jumps,
            jump: 0,
        }
    }

    /// Position, its probe, and its index in the list of jumps.
    fn next(&mut self) -> Option<(u32, Option<Placement>, Option<usize>)> {
        let probe = self.placements.first().map(|placement| placement.position);
        let jump = self.jumps.get(self.jump).copied();
        let position = match (probe, jump) {
            (Some(probe), Some(jump)) => probe.min(jump),
            (Some(position), None) | (None, Some(position)) => position,
            (None, None) => return None,
        };
        let placement = (probe == Some(position)).then(|| {
            let (first, rest) = (self.placements[0], &self.placements[1..]);
            self.placements = rest;
            first
        });
        let jump = (jump == Some(position)).then(|| {
            self.jump += 1;
            self.jump - 1
        });
        Some((position, placement, jump))
    }
}

/// Code units of a probe.
fn probe_size(spec: &Spec, constant: u32) -> u32 {
    let fixed = [spec.load_const, spec.to_bool, spec.pop_top]
        .map(|op| 1 + u32::from(spec.ops[usize::from(op)].caches));
    u32::from(prefixes_for(constant)) + fixed.iter().sum::<u32>()
}

fn write_probe(spec: &Spec, out: &mut Vec<u8>, constant: u32) {
    let bytes = constant.to_le_bytes();
    for prefix in (1..=prefixes_for(constant)).rev() {
        out.extend([spec.extended_arg, bytes[usize::from(prefix)]]);
    }
    for (op, arg) in [
        (spec.load_const, bytes[0]),
        (spec.to_bool, 0),
        (spec.pop_top, 0),
    ] {
        out.extend([op, arg]);
        let caches = usize::from(spec.ops[usize::from(op)].caches);
        out.resize(out.len() + 2 * caches, 0);
    }
}

/// A jump over `units`, of which there are few.
fn skip(spec: &Spec, out: &mut Vec<u8>, units: u32) {
    out.extend([spec.jump_forward, units.to_le_bytes()[0]]);
}
