//! Stack depth before every instruction, by abstract interpretation.
//!
//! Depth starts at 0; a handler starts at its table depth plus the exception and, where the
//! table says so, the offset. Code whose depths disagree is not understood and left alone.
//! Decoding follows the stack on its way and comes here only where control takes an unusual
//! one: to code that nothing in front of it leads to, or with depths that may disagree.

use crate::error::Reason;
use crate::instr::Body;
use crate::spec::{Flow, Spec, Target};

/// Instructions that no path reaches.
pub(crate) const UNREACHED: i32 = -1;

/// Fills `depths`: one an instruction, [`UNREACHED`] for dead code.
pub(crate) fn depths(spec: &Spec, body: &Body, depths: &mut Vec<i32>) -> Result<(), Reason> {
    depths.clear();
    depths.resize(body.instrs.len(), UNREACHED);
    if let Some(first) = depths.first_mut() {
        *first = 0;
    }
    for handler in &body.handlers {
        let pushed = 1 + i32::from(handler.lasti);
        let depth = i32::try_from(handler.depth)
            .ok()
            .and_then(|depth| depth.checked_add(pushed))
            .ok_or(Reason::StackDepth)?;
        reach(&mut depths[handler.target as usize], depth)?;
    }
    while pass(spec, body, depths)? {}
    Ok(())
}

/// Goes down the code once; whether something above was reached for the first time.
fn pass(spec: &Spec, body: &Body, depths: &mut [i32]) -> Result<bool, Reason> {
    let mut again = false;
    // The depth that control brings along from the instruction before.
    let mut falling = UNREACHED;
    for (position, instr) in body.instrs.iter().enumerate() {
        let known = &mut depths[position];
        let depth = *known;
        let depth = if depth == UNREACHED {
            if falling == UNREACHED {
                continue;
            }
            *known = falling;
            falling
        } else if falling == UNREACHED || falling == depth {
            depth
        } else {
            return Err(Reason::StackDepth);
        };
        let op = &spec.ops[usize::from(instr.op)];
        if op.target != Target::None && op.flow != Flow::Next {
            let effect = spec
                .jump_effect(instr.op, instr.arg)
                .ok_or(Reason::StackDepth)?;
            let target = instr.arg as usize;
            let first = reach(&mut depths[target], depth.saturating_add(effect))?;
            again |= first && target < position;
        }
        falling = UNREACHED;
        if !matches!(op.flow, Flow::Next | Flow::Branch) {
            continue;
        }
        let effect = spec.effect(instr.op, instr.arg).ok_or(Reason::StackDepth)?;
        falling = depth.saturating_add(effect);
        if falling < 0 {
            return Err(Reason::StackDepth);
        }
    }
    if falling != UNREACHED {
        return Err(Reason::BadJump);
    }
    Ok(again)
}

/// Control comes with this depth; whether it does for the first time.
fn reach(known: &mut i32, depth: i32) -> Result<bool, Reason> {
    if depth < 0 || (*known != UNREACHED && *known != depth) {
        return Err(Reason::StackDepth);
    }
    Ok(std::mem::replace(known, depth) == UNREACHED)
}
