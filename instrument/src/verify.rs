//! Proves a variant before it leaves. For every injected code object:
//!
//! 1. it decodes: whole instructions, jumps and ranges on instruction starts, ordered tables;
//! 2. taking the probes out gives back the original instructions, targets, locations and
//!    protected ranges;
//! 3. there are as many probes as were placed, each with the location of its own line;
//! 4. stack depth agrees on all paths and fits `co_stacksize`;
//! 5. where a probe is protected, the stack is deep enough for its handler.
//!
//! The proof starts from the bytes, so it shares nothing with injection but the decoder.

use crate::assemble::Assembled;
use crate::decode::{Tables, decode, index};
use crate::error::Reason;
use crate::exctable::Handler;
use crate::inject::PROBE_LENGTH;
use crate::instr::{Body, Instr};
use crate::spec::{Role, Spec, Target};
use crate::stack;

/// Scratch space and results of a proof.
#[derive(Default)]
pub(crate) struct Verifier {
    variant: Body,
    /// The variant without its probes.
    stripped: Body,
    starts: Vec<u32>,
    depths: Vec<i32>,
    /// For each instruction of the variant (and the end) the original one it stands for.
    origins: Vec<u32>,
    probes: Vec<u32>,
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
        variant: &Assembled,
        claim: &Claim<'_>,
    ) -> Result<(), Reason> {
        let tables = Tables {
            code: &variant.code,
            linetable: &variant.linetable,
            exceptiontable: &variant.exceptiontable,
            first_line: claim.first_line,
        };
        decode(spec, tables, &mut self.variant, &mut self.starts)?;
        self.strip(spec, claim);
        self.compare(original)?;
        self.probes(claim)?;
        let maximum = stack::depths(spec, &self.variant, &mut self.depths)?;
        if maximum > claim.stacksize {
            return Err(Reason::Verification("co_stacksize is too small"));
        }
        self.protection()
    }

    /// The code that was checked last, without its probes.
    pub(crate) fn without_probes(&self) -> Body {
        Body {
            locations: self.variant.locations.clone(),
            ..self.stripped.clone()
        }
    }

    fn is_probe(&self, spec: &Spec, at: usize, claim: &Claim<'_>) -> bool {
        match self.variant.instrs.get(at..at + PROBE_LENGTH) {
            Some([load, truth, pop]) => {
                load.op == spec.load_const
                    && load.arg >= claim.first_constant
                    && truth.op == spec.to_bool
                    && pop.op == spec.pop_top
            }
            _ => false,
        }
    }

    fn is_skip(&self, spec: &Spec, at: usize, over: usize) -> bool {
        self.variant
            .instrs
            .get(at)
            .is_some_and(|jump| jump.op == spec.jump_forward && jump.arg == index(at + 1 + over))
    }

    fn is_silent_entry(&self, spec: &Spec, at: usize, claim: &Claim<'_>) -> bool {
        let pushes = |at: usize| {
            at < self.variant.instrs.len() && self.variant.op(spec, at).role == Role::PushExcInfo
        };
        pushes(at)
            && self.is_skip(spec, at + 1, 1 + PROBE_LENGTH)
            && pushes(at + 2)
            && self.is_probe(spec, at + 3, claim)
    }

    /// Takes the probes out of the variant.
    fn strip(&mut self, spec: &Spec, claim: &Claim<'_>) {
        self.stripped.clear();
        self.origins.clear();
        self.probes.clear();
        let mut at = 0;
        while at < self.variant.instrs.len() {
            let removed = if self.is_probe(spec, at, claim) {
                self.probes.push(index(at));
                PROBE_LENGTH
            } else if self.is_silent_entry(spec, at, claim) {
                2
            } else if self.is_skip(spec, at, PROBE_LENGTH) && self.is_probe(spec, at + 1, claim) {
                1
            } else {
                0
            };
            let next = index(self.stripped.instrs.len());
            if removed == 0 {
                self.origins.push(next);
                self.stripped.instrs.push(self.variant.instrs[at]);
                at += 1;
            } else {
                self.origins.extend(std::iter::repeat_n(next, removed));
                at += removed;
            }
        }
        self.origins.push(index(self.stripped.instrs.len()));
        for instr in &mut self.stripped.instrs {
            if spec.ops[usize::from(instr.op)].target != Target::None {
                instr.arg = self.origins[instr.arg as usize];
            }
        }
        let moved = self.variant.handlers.iter().map(|handler| Handler {
            start: self.origins[handler.start as usize],
            end: self.origins[handler.end as usize],
            target: self.origins[handler.target as usize],
            ..*handler
        });
        self.stripped.handlers = join(moved);
        std::mem::swap(&mut self.stripped.locations, &mut self.variant.locations);
    }

    fn compare(&mut self, original: &Body) -> Result<(), Reason> {
        if self.stripped.instrs.len() != original.instrs.len() {
            return Err(Reason::Verification("instructions were lost or gained"));
        }
        for (ours, theirs) in self.stripped.instrs.iter().zip(&original.instrs) {
            let same = |a: &Instr, b: &Instr| a.op == b.op && a.arg == b.arg;
            if !same(ours, theirs) {
                return Err(Reason::Verification("an instruction changed"));
            }
            let location = self.stripped.locations[ours.location as usize];
            if location != original.locations[theirs.location as usize] {
                return Err(Reason::Verification("a location changed"));
            }
        }
        if self.stripped.handlers != join(original.handlers.iter().copied()) {
            return Err(Reason::Verification("a protected range changed"));
        }
        std::mem::swap(&mut self.stripped.locations, &mut self.variant.locations);
        Ok(())
    }

    fn probes(&self, claim: &Claim<'_>) -> Result<(), Reason> {
        let mut seen = vec![false; claim.lines.len()];
        for &at in &self.probes {
            let ordinal = self.variant.instrs[at as usize].arg - claim.first_constant;
            let Some(&line) = claim.lines.get(ordinal as usize) else {
                return Err(Reason::Verification("a probe has no constant"));
            };
            for part in at as usize..at as usize + PROBE_LENGTH {
                if u32::try_from(self.variant.line(part)) != Ok(line) {
                    return Err(Reason::Verification("a probe is on the wrong line"));
                }
            }
            seen[ordinal as usize] = true;
        }
        if seen.contains(&false) {
            return Err(Reason::Verification("a probe is missing"));
        }
        Ok(())
    }

    fn protection(&self) -> Result<(), Reason> {
        let mut probes = self.probes.iter().peekable();
        for handler in &self.variant.handlers {
            while probes.next_if(|&&at| at < handler.start).is_some() {}
            while let Some(&at) = probes.next_if(|&&at| at < handler.end) {
                let depth = self.depths[at as usize];
                if depth != stack::UNREACHED && i64::from(depth) < i64::from(handler.depth) {
                    return Err(Reason::Verification("a probe is protected too deeply"));
                }
            }
        }
        Ok(())
    }
}

/// Joins neighbouring ranges that one handler protects.
fn join(handlers: impl Iterator<Item = Handler>) -> Vec<Handler> {
    let mut joined: Vec<Handler> = Vec::new();
    for handler in handlers {
        match joined.last_mut() {
            Some(last)
                if last.end == handler.start
                    && (last.target, last.depth, last.lasti)
                        == (handler.target, handler.depth, handler.lasti) =>
            {
                last.end = handler.end;
            }
            _ => joined.push(handler),
        }
    }
    joined
}
