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
use crate::instr::{Body, room};
use crate::spec::{Flow, LineRule, Role, Spec, Target};
use crate::stack::UNREACHED;

/// The instruction may raise a line event.
const MARKED: u8 = 1;
/// Entering it from the instruction before raises one.
const FALL_FIRES: u8 = 2;
/// The jump made by this instruction raises one at its target.
const JUMP_FIRES: u8 = 8;
/// Some way into the instruction raises one.
const FIRES: u8 = 16;
const FIRES_EIGHT: u64 = u64::from_le_bytes([FIRES; EIGHT]);
const EIGHT: usize = 8;
/// Skipped by an exhausted FOR_ITER.
const SKIPPED: u8 = 32;
/// What enters from before is an exhausted FOR_ITER.
const LANDING: u8 = 64;

/// Neither a line nor the mark of none.
const NO_LINE: i32 = -2;

/// The line events of one code object.
#[derive(Default)]
pub(crate) struct Events {
    /// One for each instruction, and some behind them that are 0: there are whole eights.
    flags: Vec<u8>,
    /// Scratch space for [`find_changes`].
    changes: Vec<Change>,
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
        self.flags
            .resize(body.instrs.len().next_multiple_of(EIGHT), 0);
        self.first = body
            .instrs
            .iter()
            .position(|instr| {
                spec.ops[usize::from(instr.op)].role == Role::Resume
                    && spec.untraced_resume != Some(instr.arg & 7)
            })
            .ok_or(Reason::NoStart)?;
        self.jumps(spec, body, depths);
        self.walk(spec, body, depths);
        for handler in &body.handlers {
            let covered = handler.start as usize..handler.end as usize;
            let target = handler.target as usize;
            if covered
                .into_iter()
                .any(|from| depths[from] != UNREACHED && self.raise_fires(spec, body, from, target))
            {
                self.fire(spec, body, target);
            }
        }
        Ok(())
    }

    /// Calls for each instruction that gets a probe, with its line.
    #[inline]
    pub(crate) fn sites(&self, body: &Body, mut visit: impl FnMut(usize, u32)) {
        // Few instructions fire: eight are passed in one go.
        let (eights, _) = self.flags.as_chunks::<EIGHT>();
        for (eight, flags) in eights.iter().enumerate() {
            let mut firing = u64::from_le_bytes(*flags) & FIRES_EIGHT;
            while firing != 0 {
                let index = EIGHT * eight + firing.trailing_zeros() as usize / 8;
                firing &= firing - 1;
                if index > self.first
                    && self.is_site(index)
                    && let Ok(line) = u32::try_from(body.line(index))
                {
                    visit(index, line);
                }
            }
        }
    }

    /// Whether a probe belongs in front of this instruction.
    pub(crate) fn is_site(&self, index: usize) -> bool {
        self.flags[index] & (MARKED | FIRES | SKIPPED) == MARKED | FIRES
    }

    /// Whether control also comes from the instruction before without an event.
    pub(crate) fn falls_quietly(
        &self,
        spec: &Spec,
        body: &Body,
        depths: &[i32],
        index: usize,
    ) -> bool {
        self.flags[index] & FALL_FIRES == 0
            && (self.flags[index] & LANDING != 0 || self.falls(spec, body, depths, index))
    }

    /// Whether control comes from the instruction before.
    fn falls(&self, spec: &Spec, body: &Body, depths: &[i32], index: usize) -> bool {
        index > self.first
            && depths[index - 1] != UNREACHED
            && matches!(body.op(spec, index - 1).flow, Flow::Next | Flow::Branch)
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

    /// Some way into the instruction raises an event, if it may raise one at all.
    ///
    /// 3.11 asks at every instruction with a line but RESUME, which is the `call` event.
    fn fire(&mut self, spec: &Spec, body: &Body, index: usize) {
        self.flags[index] |= FIRES;
        if spec.line_rule == LineRule::Dynamic
            && index > self.first
            && body.op(spec, index).role != Role::Resume
            && body.line(index) >= 0
        {
            self.flags[index] |= MARKED;
        }
    }

    /// Goes down the code once: marks the instructions that may raise an event, and finds those
    /// that raise one when control falls in from before.
    ///
    /// `initialize_lines` of 3.12 marks a change of line, for which instructions with a quiet
    /// role do not count. So all that matters is where another line begins, and what follows a
    /// quiet instruction.
    fn walk(&mut self, spec: &Spec, body: &Body, depths: &[i32]) {
        // All in code units: what instruction starts at one is asked where it matters.
        let first = body.units[self.first];
        let quiet = body.quiet.iter().map(|&at| body.units[at as usize]);
        let mut quiet = quiet.skip_while(|&at| at < first);
        let mut next_quiet = quiet.next().unwrap_or(u32::MAX);
        let mut current = -1;
        let mut line_before = -1;
        let mut changes = std::mem::take(&mut self.changes);
        let begun = find_changes(body, &mut changes);
        for (change, next) in begun.iter().zip(&begun[1..]) {
            let mut at = change.unit.max(first);
            let (line, end) = (change.line, next.unit);
            while at < end {
                let position = body.starts[at as usize] as usize;
                let silent = next_quiet == at;
                if !silent {
                    if line != current && line >= 0 && spec.line_rule == LineRule::Marked {
                        self.flags[position] |= MARKED;
                    }
                    current = line;
                }
                if (line != line_before || self.resumes(spec, body, position))
                    && self.flags[position] & LANDING == 0
                    && self.falls(spec, body, depths, position)
                {
                    self.flags[position] |= FALL_FIRES;
                    self.fire(spec, body, position);
                }
                line_before = line;
                if next_quiet >= end {
                    break;
                }
                let behind = body.starts[next_quiet as usize] as usize + 1;
                at = body.units[behind];
                next_quiet = quiet.next().unwrap_or(u32::MAX);
            }
        }
        self.changes = changes;
    }

    /// Whether the frame was just resumed: since the start in 3.11, since any RESUME after.
    fn resumes(&self, spec: &Spec, body: &Body, index: usize) -> bool {
        index > self.first
            && match spec.line_rule {
                LineRule::Dynamic => index == self.first + 1,
                LineRule::Marked => body.op(spec, index - 1).role == Role::Resume,
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
                    self.flags[landing] |= LANDING;
                    if self.differs(spec, body, index, landing) {
                        self.flags[landing] |= FALL_FIRES;
                        self.fire(spec, body, landing);
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
                self.fire(spec, body, target);
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

/// Where another line begins.
#[derive(Clone, Copy, Default)]
struct Change {
    unit: u32,
    line: i32,
}

/// Where other lines begin, and behind them where all ends.
/// Nobody could guess at which: what is written does not depend on it.
fn find_changes<'c>(body: &Body, changes: &'c mut Vec<Change>) -> &'c [Change] {
    let found = room(changes, body.locations.len() + 1);
    let mut count = 0;
    let mut line_before = NO_LINE;
    let mut unit = 0;
    for (location, next) in body.locations.iter().zip(&body.runs[1..]) {
        let line = location.line;
        found[count] = Change { unit, line };
        count += usize::from(line != line_before);
        line_before = line;
        unit = next.unit;
    }
    found[count] = Change {
        unit,
        line: NO_LINE,
    };
    &found[..=count]
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
