//! The only edit: probes in front of the instructions that start a line.
//!
//! ```text
//!         before                                after
//!                                     start:  JUMP_FORWARD line     (if falling in is silent)
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
//! second PUSH_EXC_INFO in front. This module decides, `splice` writes.

use crate::decode::index;
use crate::error::Reason;
use crate::events::{Events, split_by_event};
use crate::instr::Body;
use crate::spec::{Role, Spec};

/// Where a probe stands with respect to its instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// In front; `skipped` when falling in from before raises no event.
    InFront { skipped: bool },
    /// Behind a PUSH_EXC_INFO; `doubled` when some exceptions raise no event.
    Behind { doubled: bool },
}

/// A probe to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// Index of the instruction that starts the line.
    pub(crate) position: u32,
    /// Index in `co_consts`.
    pub(crate) constant: u32,
    pub(crate) stand: Stand,
}

/// The edit of one code object.
#[derive(Default)]
pub(crate) struct Injection {
    /// Ascending by position.
    pub(crate) placements: Vec<Placement>,
    /// The lines with a probe, ascending; the n-th has constant `first_constant + n`.
    pub(crate) lines: Vec<u32>,
    /// Stack depth that the probes need.
    pub(crate) depth: i32,
    /// Instructions with their lines; scratch space.
    sites: Vec<(usize, u32)>,
}

impl Injection {
    /// Plans a probe on each line that `wanted` accepts. Without any the result has no lines.
    pub(crate) fn plan(
        &mut self,
        spec: &Spec,
        original: &Body,
        events: &Events,
        depths: &[i32],
        first_constant: u32,
        wanted: &dyn Fn(u32) -> bool,
    ) -> Result<(), Reason> {
        self.placements.clear();
        self.lines.clear();
        self.depth = 0;
        self.sites.clear();
        events.sites(original, |index, line| {
            if wanted(line) {
                self.sites.push((index, line));
                self.lines.push(line);
            }
        });
        if !self.lines.is_sorted_by(|line, next| line < next) {
            self.lines.sort_unstable();
            self.lines.dedup();
        }
        if self.lines.is_empty() {
            return Ok(());
        }
        let last = index(self.lines.len() - 1);
        first_constant.checked_add(last).ok_or(Reason::TooLarge)?;
        let doubled = doubled_entries(spec, original, events);
        // Lines mostly ascend: the next one is the first guess.
        let mut ordinal = 0;
        for &(position, line) in &self.sites {
            if self.lines.get(ordinal) != Some(&line) {
                ordinal = self.lines.partition_point(|&other| other < line);
            }
            let behind = original.op(spec, position).role == Role::PushExcInfo;
            let need = depths[position]
                .checked_add(1 + i32::from(behind))
                .ok_or(Reason::StackDepth)?;
            self.depth = self.depth.max(need);
            self.placements.push(Placement {
                position: index(position),
                constant: first_constant + index(ordinal),
                stand: if behind {
                    Stand::Behind {
                        doubled: doubled.contains(&index(position)),
                    }
                } else {
                    Stand::InFront {
                        skipped: events.falls_quietly(spec, original, depths, position),
                    }
                },
            });
            ordinal += 1;
        }
        Ok(())
    }
}

/// Handler entries that some exceptions reach without a line event.
fn doubled_entries(spec: &Spec, original: &Body, events: &Events) -> Vec<u32> {
    let mut doubled: Vec<u32> = original
        .handlers
        .iter()
        .filter(|handler| original.op(spec, handler.target as usize).role == Role::PushExcInfo)
        .filter(|&&handler| {
            events.is_site(handler.target as usize)
                && split_by_event(events, spec, original, handler)
                    .iter()
                    .any(|&(_, _, fires)| !fires)
        })
        .map(|handler| handler.target)
        .collect();
    doubled.dedup();
    doubled
}
