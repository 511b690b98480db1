//! Whether a fast local is bound whenever control comes to an instruction.
//!
//! A forward analysis over one variable: an instruction may be reached with it unbound if any
//! instruction before may leave it so. Exceptions come from before and from behind each
//! instruction that a handler protects.

use crate::instr::Body;
use crate::spec::{FastUse, Flow, Spec, Target};

/// Whether `variable` is bound at `position`; arguments are at the start.
pub(super) fn always(
    spec: &Spec,
    body: &Body,
    variable: u32,
    is_argument: bool,
    position: u32,
) -> bool {
    let effects: Vec<Option<bool>> = body
        .instrs
        .iter()
        .map(|instr| effect(spec, instr.op, instr.arg, variable))
        .collect();
    let borrowed = body.instrs.iter().any(|instr| {
        spec.expressions.fast[usize::from(instr.op)] == FastUse::Borrows && instr.arg == variable
    });
    if borrowed {
        return false;
    }
    if is_argument && !effects.contains(&Some(false)) {
        return true;
    }
    // Instructions that may be reached with the variable unbound.
    let mut unbound = vec![false; body.instrs.len()];
    let mut open = Vec::new();
    if !is_argument {
        open.push(0);
    }
    // A deletion makes it unbound behind itself, however it was before.
    for (at, effect) in effects.iter().enumerate() {
        if *effect == Some(false) {
            successors(spec, body, at, &mut open);
        }
    }
    while let Some(at) = open.pop() {
        if at >= unbound.len() || std::mem::replace(&mut unbound[at], true) {
            continue;
        }
        let here = u32::try_from(at).unwrap_or(u32::MAX);
        let protecting = body
            .handlers
            .iter()
            .filter(|handler| (handler.start..handler.end).contains(&here));
        open.extend(protecting.map(|handler| handler.target as usize));
        if effects[at] != Some(true) {
            successors(spec, body, at, &mut open);
        }
    }
    !unbound.get(position as usize).copied().unwrap_or(true)
}

fn successors(spec: &Spec, body: &Body, at: usize, out: &mut Vec<usize>) {
    let instr = body.instrs[at];
    let op = &spec.ops[usize::from(instr.op)];
    if matches!(op.flow, Flow::Next | Flow::Branch) {
        out.push(at + 1);
    }
    if op.target != Target::None {
        out.push(instr.arg as usize);
    }
}

/// Whether the variable is bound behind an instruction that changes it.
fn effect(spec: &Spec, op: u8, arg: u32, variable: u32) -> Option<bool> {
    match spec.expressions.fast[usize::from(op)] {
        FastUse::Binds if arg == variable => Some(true),
        FastUse::BindsTwo if arg >> 4 == variable || arg & 15 == variable => Some(true),
        FastUse::Unbinds if arg == variable => Some(false),
        _ => None,
    }
}
