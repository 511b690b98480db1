//! The only edit: probes in front of the instructions that start a line.
//!
//! ```text
//!         before                                after
//!                                     skip:   JUMP_FORWARD line     (if falling in is silent)
//!                                     enter:  LOAD_CONST <probe>
//!                                             TO_BOOL               (UNARY_NOT up to 3.12)
//!                                             POP_TOP
//! line:   LOAD_NAME x                 line:   LOAD_NAME x
//! ```
//!
//! Jumps that raise a line event go to `enter`, the others stay on `line`; probe instructions
//! carry the location of the line and are protected as it is. A handler that starts with
//! PUSH_EXC_INFO gets its probe behind it, so that the exception is the current one during a
//! stop; where only some of its exceptions raise an event, the silent ones enter through a
//! second PUSH_EXC_INFO.

use std::ops::Range;

use crate::decode::index;
use crate::error::Reason;
use crate::events::{Events, split_by_event};
use crate::exctable::Handler;
use crate::instr::{Body, Instr};
use crate::spec::{Flow, Role, Spec, Target};

/// Instructions of a probe.
pub(crate) const PROBE_LENGTH: usize = 3;

/// Where the pieces of an original instruction went.
#[derive(Clone, Copy)]
struct Place {
    /// The first instruction emitted for it.
    start: u32,
    /// Where control enters with a line event.
    enter: u32,
    /// Where control enters without one.
    line: u32,
}

const NOT_OURS: u32 = u32::MAX;

/// The edit of one code object.
#[derive(Default)]
pub(crate) struct Injection {
    /// The edited code.
    pub(crate) body: Body,
    /// The lines with a probe, ascending; the n-th has constant `first_constant + n`.
    pub(crate) lines: Vec<u32>,
    /// Stack depth that the probes need.
    pub(crate) depth: i32,
    sites: Vec<(usize, u32)>,
    places: Vec<Place>,
    /// For each emitted instruction the original one whose jump it makes.
    origins: Vec<u32>,
}

impl Injection {
    /// Puts a probe on each line that `wanted` accepts. Without any the result has no lines.
    pub(crate) fn inject(
        &mut self,
        spec: &Spec,
        original: &Body,
        events: &Events,
        depths: &[i32],
        first_constant: u32,
        wanted: &dyn Fn(u32) -> bool,
    ) -> Result<(), Reason> {
        self.body.clear();
        self.lines.clear();
        self.places.clear();
        self.origins.clear();
        self.depth = 0;
        self.sites.clear();
        self.sites
            .extend(events.sites().filter(|&(_, line)| wanted(line)));
        self.lines.extend(self.sites.iter().map(|&(_, line)| line));
        self.lines.sort_unstable();
        self.lines.dedup();
        if self.lines.is_empty() {
            return Ok(());
        }
        self.body.locations.extend_from_slice(&original.locations);
        let quiet = quiet_entries(spec, original, events);
        let mut copied = 0;
        for site in 0..self.sites.len() {
            let (position, line) = self.sites[site];
            self.copy_run(original, copied..position);
            copied = position + 1;
            let behind_push = original.op(spec, position).role == Role::PushExcInfo;
            let need = depths[position]
                .checked_add(1 + i32::from(behind_push))
                .ok_or(Reason::StackDepth)?;
            self.depth = self.depth.max(need);
            let ordinal = self.lines.partition_point(|&other| other < line);
            let constant = first_constant
                .checked_add(index(ordinal))
                .ok_or(Reason::TooLarge)?;
            let place = if behind_push {
                let quiet = quiet.contains(&index(position));
                self.handler_entry(spec, original, position, constant, quiet)
            } else {
                let skip = events.falls_quietly(position);
                self.line_start(spec, original, position, constant, skip)
            };
            self.places.push(place);
        }
        self.copy_run(original, copied..original.instrs.len());
        let end = index(self.body.instrs.len());
        self.places.push(Place {
            start: end,
            enter: end,
            line: end,
        });
        self.retarget(spec, original, events);
        for &handler in &original.handlers {
            self.protect(spec, original, events, handler);
        }
        Ok(())
    }

    fn push(&mut self, instr: Instr, origin: u32) -> u32 {
        self.body.instrs.push(instr);
        self.origins.push(origin);
        index(self.body.instrs.len() - 1)
    }

    /// Copies instructions that get no probe.
    fn copy_run(&mut self, original: &Body, range: Range<usize>) {
        let start = index(self.body.instrs.len());
        self.body
            .instrs
            .extend_from_slice(&original.instrs[range.clone()]);
        self.origins.extend(index(range.start)..index(range.end));
        self.places
            .extend((start..).take(range.len()).map(|at| Place {
                start: at,
                enter: at,
                line: at,
            }));
    }

    fn copy(&mut self, original: &Body, position: usize) -> u32 {
        self.push(original.instrs[position], index(position))
    }

    fn probe(&mut self, spec: &Spec, constant: u32, location: u32) -> u32 {
        let [load, ..] = [
            (spec.load_const, constant),
            (spec.to_bool, 0),
            (spec.pop_top, 0),
        ]
        .map(|(op, arg)| {
            let instr = Instr {
                op,
                prefixes: 0,
                arg,
                location,
            };
            self.push(instr, NOT_OURS)
        });
        load
    }

    /// A jump over `count` instructions.
    fn skip(&mut self, spec: &Spec, count: usize, location: u32) -> u32 {
        let instr = Instr {
            op: spec.jump_forward,
            prefixes: 0,
            arg: index(self.body.instrs.len() + 1 + count),
            location,
        };
        self.push(instr, NOT_OURS)
    }

    fn line_start(
        &mut self,
        spec: &Spec,
        original: &Body,
        position: usize,
        constant: u32,
        skip: bool,
    ) -> Place {
        let location = original.instrs[position].location;
        let start = skip.then(|| {
            let before = original.instrs[position - 1].location;
            self.skip(spec, PROBE_LENGTH, before)
        });
        let enter = self.probe(spec, constant, location);
        let line = self.copy(original, position);
        Place {
            start: start.unwrap_or(enter),
            enter,
            line,
        }
    }

    fn handler_entry(
        &mut self,
        spec: &Spec,
        original: &Body,
        position: usize,
        constant: u32,
        quiet: bool,
    ) -> Place {
        let location = original.instrs[position].location;
        let silent = quiet.then(|| {
            let silent = self.copy(original, position);
            self.skip(spec, 1 + PROBE_LENGTH, location);
            silent
        });
        let enter = self.copy(original, position);
        self.probe(spec, constant, location);
        Place {
            start: silent.unwrap_or(enter),
            enter,
            line: silent.unwrap_or(enter),
        }
    }

    fn retarget(&mut self, spec: &Spec, original: &Body, events: &Events) {
        for (instr, &origin) in self.body.instrs.iter_mut().zip(&self.origins) {
            let op = &spec.ops[usize::from(instr.op)];
            if origin == NOT_OURS || op.target == Target::None {
                continue;
            }
            let place = self.places[original.instrs[origin as usize].arg as usize];
            instr.arg = if op.flow == Flow::Next {
                place.start
            } else if events.jump_fires(origin as usize) {
                place.enter
            } else {
                place.line
            };
        }
    }

    fn protect(&mut self, spec: &Spec, original: &Body, events: &Events, handler: Handler) {
        let place = self.places[handler.target as usize];
        let mut protect = |start: u32, end: u32, target: u32| {
            self.body.handlers.push(Handler {
                start: self.places[start as usize].start,
                end: self.places[end as usize].start,
                target,
                ..handler
            });
        };
        if place.enter == place.line {
            protect(handler.start, handler.end, place.enter);
            return;
        }
        for (start, end, fires) in split_by_event(events, spec, original, handler) {
            protect(start, end, if fires { place.enter } else { place.line });
        }
    }
}

/// Handler entries that some exceptions reach without a line event.
fn quiet_entries(spec: &Spec, original: &Body, events: &Events) -> Vec<u32> {
    let mut quiet: Vec<u32> = original
        .handlers
        .iter()
        .filter(|handler| original.op(spec, handler.target as usize).role == Role::PushExcInfo)
        .filter(|&&handler| {
            split_by_event(events, spec, original, handler)
                .iter()
                .any(|&(_, _, fires)| !fires)
        })
        .map(|handler| handler.target)
        .collect();
    quiet.dedup();
    quiet
}
