//! Where CPython raises `line` events: the rule that decides where probes stand.
//!
//! A `line` event is a property of an *edge*: control enters an instruction from another one,
//! and the event is raised when the lines differ, when the frame (3.12: or generator) just
//! resumed, or when control moved backward. 3.11 asks at every instruction
//! (`maybe_call_line_trace` in `Python/ceval.c`); from 3.12 on only at instructions marked
//! beforehand (`initialize_lines` in `Python/instrumentation.c`), and `sys.settrace` adds
//! backward jumps within a line (`sys_trace_jump_func` in `Python/legacy_tracing.c`).

use crate::error::Reason;
use crate::exctable::Handler;
use crate::instr::Body;
use crate::spec::{Flow, LineRule, Role, Spec, Target};
use crate::stack::UNREACHED;

/// The instruction may raise a line event.
const MARKED: u8 = 1;
/// Entering it from the instruction before raises one.
const FALL_FIRES: u8 = 2;
/// Control does come from the instruction before.
const FALLS: u8 = 4;
/// The jump made by this instruction raises one at its target.
const JUMP_FIRES: u8 = 8;
/// Some way into the instruction raises one.
const FIRES: u8 = 16;
/// Skipped by an exhausted FOR_ITER.
const SKIPPED: u8 = 32;
/// The entry from before is an exhausted FOR_ITER.
const LANDING: u8 = 64;

/// The line events of one code object.
#[derive(Default)]
pub(crate) struct Events {
    flags: Vec<u8>,
    /// The RESUME that starts the frame.
    first: usize,
}

impl Events {
    /// Computes the events of `body`; `depths` says what is reached.
    pub(crate) fn compute(
        &mut self,
        spec: &Spec,
        body: &Body,
        depths: &[i32],
    ) -> Result<(), Reason> {
        self.flags.clear();
        self.flags.resize(body.instrs.len(), 0);
        self.first = body
            .instrs
            .iter()
            .position(|instr| {
                spec.ops[usize::from(instr.op)].role == Role::Resume
                    && spec.untraced_resume != Some(instr.arg & 7)
            })
            .ok_or(Reason::NoStart)?;
        self.jumps(spec, body, depths);
        match spec.line_rule {
            LineRule::Dynamic => self.walk::<true>(spec, body, depths),
            LineRule::Marked => self.walk::<false>(spec, body, depths),
        }
        for handler in &body.handlers {
            let covered = handler.start as usize..handler.end as usize;
            let target = handler.target as usize;
            if covered
                .into_iter()
                .any(|from| depths[from] != UNREACHED && self.raise_fires(spec, body, from, target))
            {
                self.flags[target] |= FIRES;
            }
        }
        Ok(())
    }

    /// The instructions that get a probe, with their lines.
    pub(crate) fn sites(&self, body: &Body) -> impl Iterator<Item = (usize, u32)> {
        (self.first + 1..self.flags.len())
            .filter(|&index| self.is_site(index))
            .filter_map(|index| Some((index, u32::try_from(body.line(index)).ok()?)))
    }

    /// Whether a probe belongs in front of this instruction.
    pub(crate) fn is_site(&self, index: usize) -> bool {
        self.flags[index] & (MARKED | FIRES | SKIPPED) == MARKED | FIRES
    }

    /// Whether control also comes from the instruction before without an event.
    pub(crate) fn falls_quietly(&self, index: usize) -> bool {
        self.flags[index] & (FALLS | FALL_FIRES) == FALLS
    }

    /// Whether the jump made by this instruction raises an event at its target.
    pub(crate) fn jump_fires(&self, index: usize) -> bool {
        self.flags[index] & JUMP_FIRES != 0
    }

    /// Whether an exception raised at `from` raises an event at the handler `target`.
    ///
    /// RERAISE with an argument goes back to where the exception came from before it raises, so
    /// its line is that of the instructions which its own handler protects. Where only some of
    /// those raise an event, it counts as raising one.
    pub(crate) fn raise_fires(&self, spec: &Spec, body: &Body, from: usize, target: usize) -> bool {
        if body.op(spec, from).role != Role::Reraise {
            return self.raised_at(spec, body, from, target);
        }
        let mut sources = vec![from];
        let mut seen = Vec::new();
        let mut origins = 0;
        while let Some(source) = sources.pop() {
            let role = body.op(spec, source).role;
            if role == Role::Reraise && body.instrs[source].arg > 0 {
                let entry = restored_entry(body, source);
                if let Some(entry) = entry
                    && !seen.contains(&entry)
                {
                    seen.push(entry);
                    let entered = body
                        .handlers
                        .iter()
                        .filter(|h| h.target == entry && h.lasti);
                    sources.extend(
                        entered.flat_map(|handler| handler.start as usize..handler.end as usize),
                    );
                    continue;
                }
            }
            let harmless = matches!(role, Role::Harmless | Role::PushExcInfo);
            if harmless && source != from {
                continue;
            }
            origins += 1;
            if self.raised_at(spec, body, source, target) {
                return true;
            }
        }
        origins == 0 && self.raised_at(spec, body, from, target)
    }

    fn raised_at(&self, spec: &Spec, body: &Body, from: usize, target: usize) -> bool {
        match spec.line_rule {
            LineRule::Dynamic => {
                from <= self.first || body.line(from) != body.line(target) || target < from
            }
            LineRule::Marked => {
                let thrown = spec.throws_from_resume && body.op(spec, from).role == Role::Yield;
                thrown || self.differs(spec, body, from, target)
            }
        }
    }

    /// Goes down the code once: marks the instructions that may raise an event, and finds those
    /// that raise one when control falls in from before.
    ///
    /// 3.11 (`DYNAMIC`) asks at every instruction with a line but RESUME, which is the `call`
    /// event; `initialize_lines` of 3.12 marks a change of line.
    fn walk<const DYNAMIC: bool>(&mut self, spec: &Spec, body: &Body, depths: &[i32]) {
        let mut current = -1;
        let mut line_before = -1;
        let mut falls = false;
        let mut resumed = true;
        let mut starts = true;
        let mut location = u32::MAX;
        let mut line = -1;
        let instrs = body.instrs[self.first..].iter();
        let flags = self.flags[self.first..].iter_mut();
        for ((instr, &depth), flags) in instrs.zip(&depths[self.first..]).zip(flags) {
            let op = &spec.ops[usize::from(instr.op)];
            if instr.location != location {
                location = instr.location;
                line = body.locations[location as usize].line;
            }
            let silent = matches!(
                op.role,
                Role::Resume | Role::Silent | Role::EndAsyncFor | Role::PopIter
            );
            if DYNAMIC {
                if op.role != Role::Resume && line >= 0 {
                    *flags |= MARKED;
                }
            } else if !silent {
                if line != current && line >= 0 {
                    *flags |= MARKED;
                }
                current = line;
            }
            if falls && *flags & LANDING == 0 {
                *flags |= FALLS;
                if resumed || line != line_before {
                    *flags |= FALL_FIRES | FIRES;
                }
            }
            falls = depth != UNREACHED && matches!(op.flow, Flow::Next | Flow::Branch);
            // 3.11 forgets the line only when the frame starts.
            resumed = if DYNAMIC {
                std::mem::take(&mut starts)
            } else {
                op.role == Role::Resume
            };
            line_before = line;
        }
    }

    /// 3.12: what is jumped to may raise an event. (3.11 marks everything anyway.)
    fn mark_target(&mut self, spec: &Spec, body: &Body, target: usize) {
        if spec.line_rule == LineRule::Marked
            && target < body.instrs.len()
            && body.line(target) >= 0
            && !matches!(
                body.op(spec, target).role,
                Role::EndAsyncFor | Role::PopIter
            )
        {
            self.flags[target] |= MARKED;
        }
    }

    /// Marks what is led to, and finds the jumps that raise an event.
    fn jumps(&mut self, spec: &Spec, body: &Body, depths: &[i32]) {
        for handler in &body.handlers {
            self.mark_target(spec, body, handler.target as usize);
        }
        for &jump in &body.jumps {
            let index = jump as usize;
            let op = body.op(spec, index);
            if op.flow == Flow::Next {
                continue;
            }
            if index >= self.first {
                let shift = usize::from(matches!(op.role, Role::ForIter | Role::Send));
                self.mark_target(spec, body, body.instrs[index].arg as usize + shift);
            }
            if depths[index] == UNREACHED {
                continue;
            }
            let target = body.instrs[index].arg as usize;
            if op.role == Role::ForIter && spec.exhaustion_skip > 0 {
                let landing = target + spec.exhaustion_skip as usize;
                for skipped in target..landing.min(body.instrs.len()) {
                    self.flags[skipped] |= SKIPPED;
                }
                if landing < body.instrs.len() {
                    self.flags[landing] |= LANDING | FALLS;
                    if self.differs(spec, body, index, landing) {
                        self.flags[landing] |= FALL_FIRES | FIRES;
                    }
                }
                continue;
            }
            let backward = op.target == Target::Backward
                && match spec.line_rule {
                    LineRule::Dynamic => body.op(spec, target).role != Role::Send,
                    LineRule::Marked => op.role != Role::QuietJump,
                };
            if backward || self.differs(spec, body, index, target) {
                self.flags[index] |= JUMP_FIRES;
                self.flags[target] |= FIRES;
            }
        }
    }

    /// Whether the lines differ in the eyes of the tracer, which forgets the line on resuming.
    fn differs(&self, spec: &Spec, body: &Body, from: usize, to: usize) -> bool {
        let resumed = match spec.line_rule {
            LineRule::Dynamic => from <= self.first,
            LineRule::Marked => body.op(spec, from).role == Role::Resume,
        };
        resumed || body.line(from) != body.line(to)
    }
}

/// The handler whose saved offset a RERAISE goes back to: the last one in front of it that
/// saves one.
fn restored_entry(body: &Body, reraise: usize) -> Option<u32> {
    let saving = body.handlers.iter().filter(|handler| handler.lasti);
    saving
        .map(|handler| handler.target)
        .filter(|&target| target as usize <= reraise)
        .max()
}

/// The runs of a protected range that raise an event at the handler, and those that do not:
/// `(start, end, fires)`.
pub(crate) fn split_by_event(
    events: &Events,
    spec: &Spec,
    body: &Body,
    handler: Handler,
) -> Vec<(u32, u32, bool)> {
    let mut runs: Vec<(u32, u32, bool)> = Vec::new();
    for from in handler.start..handler.end {
        let fires = events.raise_fires(spec, body, from as usize, handler.target as usize);
        match runs.last_mut() {
            Some((_, end, last)) if *last == fires => *end = from + 1,
            _ => runs.push((from, from + 1, fires)),
        }
    }
    runs
}
