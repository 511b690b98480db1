//! Stack depth before every instruction, by abstract interpretation.
//!
//! Depth starts at 0; a handler starts at its table depth plus the exception and, where the
//! table says so, the offset. Code whose depths disagree is not understood and left alone.

use crate::error::Reason;
use crate::instr::Body;
use crate::spec::{Flow, Spec, Target};

/// Instructions that no path reaches.
pub(crate) const UNREACHED: i32 = -1;

/// Fills `depths` (one an instruction, [`UNREACHED`] for dead code) and returns the maximum.
pub(crate) fn depths(spec: &Spec, body: &Body, depths: &mut Vec<i32>) -> Result<i32, Reason> {
    let count = body.instrs.len();
    depths.clear();
    depths.resize(count, UNREACHED);
    let mut analysis = Analysis {
        depths,
        maximum: 0,
        again: false,
    };
    if count > 0 {
        analysis.reach(0, 0, 0)?;
    }
    for handler in &body.handlers {
        let pushed = 1 + i32::from(handler.lasti);
        let depth = i32::try_from(handler.depth)
            .ok()
            .and_then(|depth| depth.checked_add(pushed))
            .ok_or(Reason::StackDepth)?;
        analysis.reach(handler.target as usize, depth, 0)?;
    }
    loop {
        analysis.again = false;
        analysis.pass(spec, body)?;
        if !analysis.again {
            return Ok(analysis.maximum);
        }
    }
}

struct Analysis<'d> {
    depths: &'d mut [i32],
    maximum: i32,
    /// Something before the current position was reached for the first time.
    again: bool,
}

impl Analysis<'_> {
    fn pass(&mut self, spec: &Spec, body: &Body) -> Result<(), Reason> {
        for (position, instr) in body.instrs.iter().enumerate() {
            let depth = self.depths[position];
            if depth == UNREACHED {
                continue;
            }
            let op = &spec.ops[usize::from(instr.op)];
            if op.target != Target::None && op.flow != Flow::Next {
                let effect = spec
                    .jump_effect(instr.op, instr.arg)
                    .ok_or(Reason::StackDepth)?;
                self.reach(instr.arg as usize, depth.saturating_add(effect), position)?;
            }
            if matches!(op.flow, Flow::Next | Flow::Branch) {
                let effect = spec.effect(instr.op, instr.arg).ok_or(Reason::StackDepth)?;
                if position + 1 == self.depths.len() {
                    return Err(Reason::BadJump);
                }
                self.reach(position + 1, depth.saturating_add(effect), position)?;
            }
        }
        Ok(())
    }

    fn reach(&mut self, position: usize, depth: i32, from: usize) -> Result<(), Reason> {
        if depth < 0 {
            return Err(Reason::StackDepth);
        }
        let known = &mut self.depths[position];
        if *known == UNREACHED {
            *known = depth;
            self.maximum = self.maximum.max(depth);
            self.again |= position < from;
            Ok(())
        } else if *known == depth {
            Ok(())
        } else {
            Err(Reason::StackDepth)
        }
    }
}
