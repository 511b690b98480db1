//! Proves a variant before it leaves. For every injected code object:
//!
//! 1. it decodes: whole instructions, jumps and ranges on instruction starts, ordered tables;
//! 2. taking the probes out gives back the original instructions, targets, locations and
//!    protected ranges;
//! 3. there are as many probes as were placed, each with the location of its own line;
//! 4. `co_stacksize` has room for every probe. (Depths agree on all paths as they do in the
//!    original: by 2 nothing but probes was added, and a probe leaves the stack as it was.)
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
use crate::stack::UNREACHED;

/// Scratch space of a proof.
#[derive(Default)]
pub(crate) struct Verifier {
    variant: Body,
    starts: Vec<u32>,
    /// For each instruction of the variant (and the end) the original one it stands for.
    origins: Vec<u32>,
    /// Where probes start in the variant.
    probes: Vec<u32>,
    /// Probes behind a PUSH_EXC_INFO, which finds the stack one higher than its own start.
    lifted: Vec<bool>,
    /// Whether an instruction of the variant was added.
    added: Vec<bool>,
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
        let tables = Tables {
            code: &variant.code,
            linetable: &variant.linetable,
            exceptiontable: &variant.exceptiontable,
            first_line: claim.first_line,
        };
        decode(spec, tables, &mut self.variant, &mut self.starts)?;
        self.find_probes(spec, claim);
        self.compare(spec, original)?;
        self.probes(claim)?;
        self.stack(depths, claim)
    }

    /// The code that was checked last, without its probes.
    pub(crate) fn without_probes(&self, spec: &Spec) -> Body {
        let kept = self.variant.instrs.iter().zip(&self.added);
        Body {
            instrs: kept
                .filter(|&(_, &added)| !added)
                .map(|(instr, _)| self.original_form(spec, *instr))
                .collect(),
            locations: self.variant.locations.clone(),
            handlers: self.original_handlers(),
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

    /// Finds what was added, and what each instruction stands for.
    fn find_probes(&mut self, spec: &Spec, claim: &Claim<'_>) {
        self.origins.clear();
        self.probes.clear();
        self.lifted.clear();
        self.added.clear();
        let mut next = 0;
        let mut at = 0;
        while at < self.variant.instrs.len() {
            let op = self.variant.instrs[at].op;
            let added = if op == spec.load_const && self.is_probe(spec, at, claim) {
                let behind = at
                    .checked_sub(1)
                    .map(|before| self.variant.op(spec, before).role);
                self.probes.push(index(at));
                self.lifted.push(behind == Some(Role::PushExcInfo));
                PROBE_LENGTH
            } else if op == spec.jump_forward
                && self.is_skip(spec, at, PROBE_LENGTH)
                && self.is_probe(spec, at + 1, claim)
            {
                1
            } else if self.is_silent_entry(spec, at, claim) {
                2
            } else {
                0
            };
            let stands_for = index(next);
            if added == 0 {
                self.origins.push(stands_for);
                self.added.push(false);
                next += 1;
                at += 1;
            } else {
                self.origins.extend(std::iter::repeat_n(stands_for, added));
                self.added.extend(std::iter::repeat_n(true, added));
                at += added;
            }
        }
        self.origins.push(index(next));
    }

    fn original_form(&self, spec: &Spec, instr: Instr) -> Instr {
        match spec.ops[usize::from(instr.op)].target {
            Target::None => instr,
            _ => Instr {
                arg: self.origins[instr.arg as usize],
                ..instr
            },
        }
    }

    fn original_handlers(&self) -> Vec<Handler> {
        join(self.variant.handlers.iter().map(|handler| Handler {
            start: self.origins[handler.start as usize],
            end: self.origins[handler.end as usize],
            target: self.origins[handler.target as usize],
            ..*handler
        }))
    }

    fn compare(&self, spec: &Spec, original: &Body) -> Result<(), Reason> {
        if self.origins.last() != Some(&index(original.instrs.len())) {
            return Err(Reason::Verification("instructions were lost or gained"));
        }
        let kept = self.variant.instrs.iter().zip(&self.added);
        let kept = kept.filter(|&(_, &added)| !added);
        for ((ours, _), theirs) in kept.zip(&original.instrs) {
            let ours = self.original_form(spec, *ours);
            if ours.op != theirs.op || ours.arg != theirs.arg {
                return Err(Reason::Verification("an instruction changed"));
            }
            let location = self.variant.locations[ours.location as usize];
            if location != original.locations[theirs.location as usize] {
                return Err(Reason::Verification("a location changed"));
            }
        }
        if self.original_handlers() != join(original.handlers.iter().copied()) {
            return Err(Reason::Verification("a protected range changed"));
        }
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

    /// Room for every probe, and handlers that find the stack they expect.
    fn stack(&self, depths: &[i32], claim: &Claim<'_>) -> Result<(), Reason> {
        let mut handlers = self.variant.handlers.iter().peekable();
        for (&at, &lifted) in self.probes.iter().zip(&self.lifted) {
            // Behind PUSH_EXC_INFO: the depth before it, and what it pushes.
            let depth = if lifted {
                depths[self.origins[at as usize] as usize - 1] + 1
            } else {
                depths[self.origins[at as usize] as usize]
            };
            if depth == UNREACHED {
                continue;
            }
            if depth >= claim.stacksize {
                return Err(Reason::Verification("co_stacksize is too small"));
            }
            while handlers.next_if(|handler| handler.end <= at).is_some() {}
            if let Some(handler) = handlers.peek()
                && handler.start <= at
                && i64::from(depth) < i64::from(handler.depth)
            {
                return Err(Reason::Verification("a probe is protected too deeply"));
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
