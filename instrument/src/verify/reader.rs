//! The code of a variant, read from its bytes.
//!
//! It builds no model: it says what stands at a unit, how far the bytes are those of the
//! original, and what may be an added piece.

use crate::decode::index;
use crate::error::Reason;
use crate::spec::{Role, Spec, Target};

/// What is wrong with a variant; small, so that results fit a register.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Broken(pub(super) &'static Reason);

impl From<Broken> for Reason {
    fn from(Broken(reason): Broken) -> Self {
        reason.clone()
    }
}

/// Reads a variant from one unit on.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    pub(super) spec: &'a Spec,
    units: &'a [[u8; 2]],
    first_constant: u32,
    /// The last units of a probe, caches and POP_TOP, and which of their bits count; where these
    /// are four units at most.
    tail: u64,
    tail_bits: u64,
    /// The next unit to read.
    pub(super) unit: u32,
}

/// An instruction as it was read.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub(super) op: u8,
    pub(super) arg: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(spec: &'a Spec, code: &'a [u8], first_constant: u32) -> Self {
        let caches = spec.ops[usize::from(spec.to_bool)].caches;
        let pop_top = u64::from(spec.pop_top);
        Self {
            spec,
            units: code.as_chunks().0,
            first_constant,
            tail: pop_top.checked_shl(16 * u32::from(caches)).unwrap_or(0),
            tail_bits: u64::MAX >> (48 - 16 * u32::from(caches.min(3))),
            unit: 0,
        }
    }

    /// The opcode at the next unit; 0 (CACHE) at the end.
    pub(super) fn op(&self) -> u8 {
        self.op_at(self.unit)
    }

    /// The opcode at a unit; 0 (CACHE) at the end.
    pub(super) fn op_at(&self, unit: u32) -> u8 {
        self.units.get(unit as usize).map_or(0, |unit| unit[0])
    }

    pub(super) fn instruction(&mut self) -> Result<Read, Broken> {
        const CUT: Broken = Broken(&Reason::Verification("the code is cut short"));
        let mut at = self.unit as usize;
        let (mut op, mut arg) = (self.spec.extended_arg, 0);
        while op == self.spec.extended_arg {
            let &[next, byte] = self.units.get(at).ok_or(CUT)?;
            (op, arg) = (next, arg << 8 | u32::from(byte));
            at += 1;
        }
        let caches = usize::from(self.spec.ops[usize::from(op)].caches);
        if !self.blank(at, caches) {
            return Err(CUT);
        }
        self.unit = index(at + caches);
        Ok(Read { op, arg })
    }

    /// Whether so many units are there and empty.
    fn blank(&self, at: usize, count: usize) -> bool {
        let caches = self.units.get(at..at + count);
        caches.is_some_and(|caches| caches.iter().all(|cache| *cache == [0, 0]))
    }

    /// How many units from here on are these.
    #[inline]
    pub(super) fn common(&self, theirs: &[[u8; 2]]) -> u32 {
        let ours = self.units.get(self.unit as usize..).unwrap_or_default();
        let (many, _) = ours.as_flattened().as_chunks::<8>();
        let (their_many, _) = theirs.as_flattened().as_chunks::<8>();
        let mut same = 0;
        for (ours, theirs) in many.iter().zip(their_many) {
            let differs = u64::from_le_bytes(*ours) ^ u64::from_le_bytes(*theirs);
            if differs != 0 {
                return same + differs.trailing_zeros() / 16;
            }
            same += 4;
        }
        let rest = ours[same as usize..].iter().zip(&theirs[same as usize..]);
        same + index(rest.take_while(|(ours, theirs)| ours == theirs).count())
    }

    /// Where a jump that was just read leads.
    pub(super) fn target(&self, jump: Read) -> Result<u32, Broken> {
        match self.spec.ops[usize::from(jump.op)].target {
            Target::Backward => self.unit.checked_sub(jump.arg),
            _ => self.unit.checked_add(jump.arg),
        }
        .ok_or(Broken(&Reason::BadJump))
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

    /// The ordinal of the probe that comes next, if a LOAD_CONST of a probe's constant does,
    /// and the unit behind that.
    #[inline]
    pub(super) fn peeks_probe(&self) -> Option<(u32, u32)> {
        match *self.units.get(self.unit as usize)? {
            [op, byte] if op == self.spec.load_const => {
                let ordinal = u32::from(byte).checked_sub(self.first_constant)?;
                Some((ordinal, self.unit + 1))
            }
            [op, _] if op == self.spec.extended_arg => self.peeks_prefixed_probe(),
            _ => None,
        }
    }

    /// Likewise where EXTENDED_ARG may come before.
    #[inline(never)]
    fn peeks_prefixed_probe(&self) -> Option<(u32, u32)> {
        let mut arg = 0;
        for unit in self.unit..self.unit.saturating_add(4) {
            let &[op, byte] = self.units.get(unit as usize)?;
            arg = arg << 8 | u32::from(byte);
            if op == self.spec.load_const {
                return Some((arg.checked_sub(self.first_constant)?, unit + 1));
            }
            if op != self.spec.extended_arg {
                return None;
            }
        }
        None
    }

    /// Reads the rest of a probe, from `unit` on.
    #[inline]
    pub(super) fn probe(&mut self, unit: u32) -> Result<(), Broken> {
        const BROKEN: Broken = Broken(&Reason::Verification("a probe is broken"));
        let at = unit as usize;
        let caches = usize::from(self.spec.ops[usize::from(self.spec.to_bool)].caches);
        if self.units.get(at) != Some(&[self.spec.to_bool, 0]) {
            return Err(BROKEN);
        }
        let behind = self.units.get(at + 1..).unwrap_or_default();
        let whole = match behind.as_flattened().first_chunk() {
            Some(tail) if caches < 4 => u64::from_le_bytes(*tail) & self.tail_bits == self.tail,
            _ => {
                let pop_top = self.units.get(at + 1 + caches);
                self.blank(at + 1, caches) && pop_top == Some(&[self.spec.pop_top, 0])
            }
        };
        if !whole {
            return Err(BROKEN);
        }
        self.unit = index(at + caches + 2);
        Ok(())
    }

    /// Whether a jump over exactly one probe comes next.
    pub(super) fn peeks_skip(&self) -> bool {
        let mut ahead = self.clone();
        let target = ahead.instruction().and_then(|skip| ahead.target(skip));
        ahead.peeks_probe().is_some() && ahead.probe_end() == target
    }

    /// Whether the next instruction is followed by a jump over its like and a probe.
    pub(super) fn peeks_double(&self) -> bool {
        let mut ahead = self.clone();
        let copy = ahead.instruction();
        if ahead.op() != self.spec.jump_forward || ahead.instruction().is_err() {
            return false;
        }
        let first = ahead.instruction();
        copy.is_ok_and(|copy| first.is_ok_and(|first| first.op == copy.op))
            && ahead.peeks_probe().is_some()
    }

    /// Where the probe that comes next ends.
    pub(super) fn probe_end(&mut self) -> Result<u32, Broken> {
        for _ in 0..3 {
            self.instruction()?;
        }
        Ok(self.unit)
    }

    pub(super) fn finish(&self) -> Result<(), Broken> {
        if self.unit as usize != self.units.len() {
            return Err(Broken(&Reason::Verification("something follows the code")));
        }
        Ok(())
    }
}
