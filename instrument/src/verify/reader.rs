//! A variant read from its bytes, instruction by instruction, with locations.
//!
//! Shares with the rest of the crate only the decoder of line table entries: it builds no model,
//! it says what stands at a unit and what may be an added piece.

use super::Claim;
use crate::assemble::Assembled;
use crate::decode::index;
use crate::error::Reason;
use crate::linetable::{Decoder, Location};
use crate::spec::{Role, Spec, Target};

/// Reads a variant instruction by instruction, with locations.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    pub(super) spec: &'a Spec,
    units: &'a [[u8; 2]],
    pub(super) first_constant: u32,
    /// The next unit to read.
    pub(super) unit: u32,
    locations: Decoder<'a>,
    pub(super) location: Location,
    /// Units that `location` still covers.
    left: u32,
}

/// An instruction as it was read.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) op: u8,
    pub(super) arg: u32,
    pub(super) location: Location,
}

impl<'a> Reader<'a> {
    pub(super) fn new(spec: &'a Spec, variant: &'a Assembled, claim: &Claim<'_>) -> Self {
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
    pub(super) fn op(&self) -> u8 {
        self.op_at(self.unit)
    }

    #[inline]
    pub(super) fn instruction(&mut self) -> Result<Read, Reason> {
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

    /// How many units from here on are these.
    pub(super) fn common(&self, units: &[[u8; 2]]) -> u32 {
        let ours = self.units.iter().skip(self.unit as usize);
        index(ours.zip(units).take_while(|(a, b)| a == b).count())
    }

    /// Goes on by `units` that were compared, all of which must have this location.
    pub(super) fn advance(&mut self, units: u32, location: Location) -> Result<(), Reason> {
        const MOVED: Reason = Reason::Verification("a location changed");
        self.unit += units;
        if units > 0 && self.left > 0 && self.location != location {
            return Err(MOVED);
        }
        let mut needed = units;
        while needed > self.left {
            needed -= self.left;
            (self.left, self.location) = self.locations.entry()?;
            if self.location != location {
                return Err(MOVED);
            }
        }
        self.left -= needed;
        Ok(())
    }

    /// The opcode at a unit; 0 (CACHE) at the end.
    pub(super) fn op_at(&self, unit: u32) -> u8 {
        self.units.get(unit as usize).map_or(0, |unit| unit[0])
    }

    /// The location of the next unit.
    pub(super) fn location(&self) -> Result<Location, Reason> {
        if self.left > 0 {
            return Ok(self.location);
        }
        Ok(self.locations.clone().entry()?.1)
    }

    /// Where a jump that was just read leads.
    pub(super) fn target(&self, jump: Read) -> Result<u32, Reason> {
        match self.spec.ops[usize::from(jump.op)].target {
            Target::Backward => self.unit.checked_sub(jump.arg),
            _ => self.unit.checked_add(jump.arg),
        }
        .ok_or(Reason::BadJump)
    }

    /// Whether an added piece may begin with the next opcode.
    #[inline]
    pub(super) fn may_be_added(&self) -> bool {
        let op = self.op();
        op == self.spec.load_const
            || op == self.spec.extended_arg
            || op == self.spec.jump_forward
            || self.spec.ops[usize::from(op)].role == Role::PushExcInfo
    }

    /// Whether a LOAD_CONST of a probe's constant comes next.
    pub(super) fn peeks_probe(&self) -> bool {
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
    pub(super) fn peeks_skip(&self) -> bool {
        let mut ahead = self.clone();
        let target = ahead.instruction().and_then(|skip| ahead.target(skip));
        ahead.peeks_probe() && ahead.probe_end() == target
    }

    /// Whether the next instruction is followed by a jump over its like and a probe.
    pub(super) fn peeks_double(&self) -> bool {
        let mut ahead = self.clone();
        let copy = ahead.instruction();
        if ahead.op() != self.spec.jump_forward || ahead.instruction().is_err() {
            return false;
        }
        let first = ahead.instruction();
        copy.is_ok_and(|copy| first.is_ok_and(|first| first.op == copy.op)) && ahead.peeks_probe()
    }

    /// Where the probe that comes next ends.
    pub(super) fn probe_end(&mut self) -> Result<u32, Reason> {
        for _ in 0..3 {
            self.instruction()?;
        }
        Ok(self.unit)
    }

    pub(super) fn finish(&self) -> Result<(), Reason> {
        if self.unit as usize != self.units.len() || self.left != 0 || !self.locations.is_done() {
            return Err(Reason::Verification("something follows the code"));
        }
        Ok(())
    }
}
