//! Proves code with fragments before it leaves:
//!
//! 1. without the fragments it is the code it was made from: the same instructions with the
//!    same arguments and locations, jumps and ranges that lead where they led, a plain probe
//!    for each fragment;
//! 2. nothing leads into a fragment but to its start, and nothing leads out of one but to what
//!    follows it;
//! 3. a fragment consists of instructions that expressions may have, and of what hands values
//!    to probes; it names constants, names and variables that there are;
//! 4. the stack is as deep behind a fragment as in front, never less deep inside it, and fits
//!    `co_stacksize`;
//! 5. each fragment loads the probes that it was made for.
//!
//! The proof reads the bytes of the result.

use crate::decode::{Tables, decode, index};
use crate::error::Reason;
use crate::inset::weave::PROBE;
use crate::instr::Body;
use crate::spec::{ClassLookup, Operand, Spec, Target};
use crate::stack::{self, UNREACHED};

/// What the result is claimed to be.
pub(super) struct Claim<'a> {
    /// The code with plain probes.
    pub(super) original: &'a Body,
    /// Of each fragment: the plain probe's instruction, its start, its length, its probes.
    pub(super) extents: &'a [Extent],
    pub(super) stacksize: i32,
    pub(super) n_constants: usize,
    pub(super) n_names: usize,
    pub(super) n_variables: usize,
}

/// A fragment in the result.
pub(super) struct Extent {
    pub(super) position: u32,
    pub(super) start: u32,
    pub(super) length: u32,
    pub(super) probes: Vec<u32>,
}

fn broken<T>(what: &'static str) -> Result<T, Reason> {
    Err(Reason::Verification(what))
}

/// Checks every invariant of the module documentation.
pub(super) fn check(spec: &Spec, tables: Tables<'_>, claim: &Claim<'_>) -> Result<(), Reason> {
    let mut body = Body::default();
    decode(spec, tables, &mut body)?;
    let mut depths = Vec::new();
    stack::depths(spec, &body, &mut depths)?;
    let origin = origins(&body, claim)?;
    outside(spec, &body, claim, &origin)?;
    ranges(&body, claim, &origin, &depths)?;
    for extent in claim.extents {
        inside(spec, &body, claim, extent, &depths)?;
    }
    Ok(())
}

/// For each instruction of the result and its end, the one of the original; those of a fragment
/// stand for the load of its plain probe.
fn origins(body: &Body, claim: &Claim<'_>) -> Result<Vec<u32>, Reason> {
    let mut origin = Vec::with_capacity(body.instrs.len() + 1);
    let mut position = 0;
    for extent in claim.extents {
        let before = extent.start.checked_sub(index(origin.len()));
        if before != extent.position.checked_sub(position) {
            return broken("a fragment stands elsewhere");
        }
        origin.extend(position..extent.position);
        origin.extend(std::iter::repeat_n(extent.position, extent.length as usize));
        position = extent.position + PROBE;
    }
    let end = index(claim.original.instrs.len());
    origin.extend(position..=end);
    if origin.len() != body.instrs.len() + 1 {
        return broken("something was added or is missing");
    }
    Ok(origin)
}

/// The fragment that an instruction is in.
fn around<'a>(claim: &Claim<'a>, at: u32) -> Option<&'a Extent> {
    let after = claim.extents.partition_point(|extent| extent.start <= at);
    let extent = &claim.extents[after.checked_sub(1)?];
    (at < extent.start + extent.length).then_some(extent)
}

/// The fragment that holds an instruction behind its start.
fn interior<'a>(claim: &Claim<'a>, at: u32) -> Option<&'a Extent> {
    around(claim, at).filter(|extent| extent.start < at)
}

fn outside(spec: &Spec, body: &Body, claim: &Claim<'_>, origin: &[u32]) -> Result<(), Reason> {
    for (at, instr) in body.instrs.iter().enumerate() {
        let original = claim.original.instrs[origin[at] as usize];
        let here = body.locations[instr.location as usize];
        if here != claim.original.locations[original.location as usize] {
            return broken("a location changed");
        }
        if around(claim, index(at)).is_some() {
            continue;
        }
        let same = if spec.ops[usize::from(instr.op)].target == Target::None {
            instr.arg == original.arg
        } else {
            interior(claim, instr.arg).is_none() && origin[instr.arg as usize] == original.arg
        };
        if instr.op != original.op || !same {
            return broken("an instruction changed");
        }
    }
    Ok(())
}

/// What handles an exception at an instruction: target, depth, offset pushed.
type Cover = Option<(u32, u32, bool)>;

fn covers(body: &Body) -> Result<Vec<Cover>, Reason> {
    let mut covers = vec![None; body.instrs.len()];
    for handler in &body.handlers {
        let range = handler.start as usize..handler.end as usize;
        let covered: &mut [Cover] = covers.get_mut(range).ok_or(Reason::BadExceptionTable)?;
        covered.fill(Some((handler.target, handler.depth, handler.lasti)));
    }
    Ok(covers)
}

/// But for the guards of fragments every instruction is protected as it was.
fn ranges(body: &Body, claim: &Claim<'_>, origin: &[u32], depths: &[i32]) -> Result<(), Reason> {
    let original = covers(claim.original)?;
    for (at, cover) in covers(body)?.into_iter().enumerate() {
        let mut mapped = None;
        if let Some((target, depth, lasti)) = cover {
            if let Some(leads_to) = interior(claim, target) {
                let own = around(claim, index(at)).is_some_and(|here| here.start == leads_to.start);
                let kept = i64::from(depth) <= i64::from(depths[at]) || depths[at] == UNREACHED;
                if !own || lasti || !kept {
                    return broken("a guard leaves its fragment");
                }
                continue;
            }
            mapped = Some((origin[target as usize], depth, lasti));
        }
        if mapped != original[origin[at] as usize] {
            return broken("a protected range changed");
        }
    }
    Ok(())
}

fn inside(
    spec: &Spec,
    body: &Body,
    claim: &Claim<'_>,
    extent: &Extent,
    depths: &[i32],
) -> Result<(), Reason> {
    let end = extent.start + extent.length;
    let depth = depths[extent.start as usize];
    if depth != UNREACHED
        && depths
            .get(end as usize)
            .is_some_and(|&behind| behind != depth && behind != UNREACHED)
    {
        return broken("a fragment changes the stack");
    }
    let mut probes = extent.probes.clone();
    for at in extent.start..end {
        let instr = body.instrs[at as usize];
        let here = depths[at as usize];
        let after = match spec.effect(instr.op, instr.arg) {
            Some(effect) => here.saturating_add(effect.max(0)),
            None => return Err(Reason::StackDepth),
        };
        if here != UNREACHED && (here < depth || after > claim.stacksize) {
            return broken("a fragment leaves its part of the stack");
        }
        if spec.ops[usize::from(instr.op)].target != Target::None
            && !(at < instr.arg && instr.arg <= end)
        {
            return broken("a fragment jumps elsewhere");
        }
        if !names_what_is_there(spec, claim, instr.op, instr.arg) {
            return broken("a fragment does more than an expression may");
        }
        if instr.op == spec.load_const {
            probes.retain(|probe| *probe != instr.arg);
        }
    }
    if probes.is_empty() {
        Ok(())
    } else {
        broken("a probe is missing")
    }
}

fn names_what_is_there(spec: &Spec, claim: &Claim<'_>, op: u8, arg: u32) -> bool {
    let ops = &spec.expressions;
    let arg = arg as usize;
    let class = match ops.class_lookup {
        ClassLookup::One(read) => op == read,
        ClassLookup::Two(locals, read) => {
            if op == locals {
                return true;
            }
            op == read
        }
    };
    if class || op == ops.load_fast || op == ops.load_fast_checked || op == ops.load_deref {
        return arg < claim.n_variables;
    }
    if ops.load_two_fast == Some(op) {
        return (arg >> 4).max(arg & 15) < claim.n_variables;
    }
    if op == ops.load_global {
        return arg >> 1 < claim.n_names;
    }
    match ops.operands[usize::from(op)] {
        Operand::Own | Operand::Null => true,
        Operand::Constant => arg < claim.n_constants,
        Operand::Name(shift) => arg >> shift < claim.n_names,
        Operand::Load => arg < claim.n_names,
        Operand::Start | Operand::Return | Operand::ReturnConstant | Operand::Foreign => false,
    }
}
