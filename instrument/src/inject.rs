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
use crate::events::Events;
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
    /// Index in `co_consts`. (While it is planned, the line.)
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
        wanted: impl Fn(u32) -> bool,
    ) -> Result<(), Reason> {
        self.placements.clear();
        self.lines.clear();
        let mut deepest = 0;
        let (mut ascend, mut sorted) = (true, true);
        events.sites(original, |position, line| {
            if !wanted(line) {
                return;
            }
            // Mostly they ascend, but for one that comes again.
            if self.lines.last().is_some_and(|&last| line <= last) {
                ascend = false;
                sorted = sorted && self.lines.binary_search(&line).is_ok();
                if !sorted {
                    self.lines.push(line);
                }
            } else {
                self.lines.push(line);
            }
            let behind = original.op(spec, position).role == Role::PushExcInfo;
            deepest = deepest.max(i64::from(depths[position]) + 1 + i64::from(behind));
            self.placements.push(Placement {
                position: index(position),
                constant: line,
                stand: if behind {
                    Stand::Behind {
                        doubled: is_doubled(spec, original, events, position),
                    }
                } else {
                    Stand::InFront {
                        skipped: events.falls_quietly(spec, original, depths, position),
                    }
                },
            });
        });
        if !sorted {
            self.lines.sort_unstable();
            self.lines.dedup();
        }
        let Some(last) = self.lines.len().checked_sub(1) else {
            return Ok(());
        };
        first_constant
            .checked_add(index(last))
            .ok_or(Reason::TooLarge)?;
        self.depth = i32::try_from(deepest).map_err(|_| Reason::StackDepth)?;
        if ascend {
            for (ordinal, placement) in self.placements.iter_mut().enumerate() {
                placement.constant = first_constant + index(ordinal);
            }
            return Ok(());
        }
        // Lines mostly ascend: the next one is the first guess.
        let mut next = 0;
        for placement in &mut self.placements {
            let line = placement.constant;
            let mut ordinal = next;
            if self.lines.get(next) != Some(&line) {
                ordinal = self.lines.partition_point(|&other| other < line);
            }
            placement.constant = first_constant + index(ordinal);
            // Behind a line that came again, those go on that ascend.
            if ordinal == next || !sorted {
                next = ordinal + 1;
            }
        }
        Ok(())
    }
}

/// Whether some exceptions reach a handler entry without a line event.
fn is_doubled(spec: &Spec, original: &Body, events: &Events, entry: usize) -> bool {
    let mut handlers = original.handlers.iter();
    handlers.any(|handler| {
        handler.target as usize == entry
            && (handler.start..handler.end)
                .any(|from| !events.raise_fires(spec, original, from as usize, entry))
    })
}
