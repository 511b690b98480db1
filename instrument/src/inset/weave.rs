//! Puts fragments in the place of plain probes.
//!
//! The code object has plain probes already, which were proved; a fragment takes the place of
//! one of them, so that whatever led to the probe leads to the fragment's first step and
//! nothing else moves. Steps have the location of the probe. A range that protected the probe
//! protects the fragment but for its guards.

use crate::decode::index;
use crate::error::Reason;
use crate::exctable::Handler;
use crate::inset::fragment::Fragment;
use crate::instr::{Body, Instr};
use crate::spec::{Spec, Target};

/// Instructions of a plain probe.
pub(super) const PROBE: u32 = 3;

/// A fragment and the plain probe in whose place it goes.
pub(super) struct Insertion {
    /// The instruction that loads the probe's constant.
    pub(super) position: u32,
    /// Stack depth there.
    pub(super) depth: u32,
    pub(super) fragment: Fragment,
}

/// The edited code, and where each fragment starts in it. Insertions ascend.
pub(super) fn weave(
    spec: &Spec,
    body: &Body,
    insertions: &[Insertion],
) -> Result<(Body, Vec<u32>), Reason> {
    let mut moved = Vec::with_capacity(body.instrs.len() + 1);
    let mut starts = Vec::new();
    let mut at = 0u32;
    let mut next = insertions.iter().peekable();
    let mut position = 0;
    while position < index(body.instrs.len()) {
        moved.push(at);
        if let Some(insertion) = next.next_if(|insertion| insertion.position == position) {
            starts.push(at);
            // Nothing leads into a probe.
            moved.extend([at; PROBE as usize - 1]);
            at = at
                .checked_add(index(insertion.fragment.steps.len()))
                .ok_or(Reason::TooLarge)?;
            position += PROBE;
        } else {
            at += 1;
            position += 1;
        }
    }
    moved.push(at);
    let mut edited = Body {
        locations: body.locations.clone(),
        ..Body::default()
    };
    edited.instrs.reserve(at as usize);
    let mut next = insertions.iter().peekable();
    let mut position = 0;
    while let Some(&instr) = body.instrs.get(position) {
        if let Some(insertion) = next.next_if(|insertion| insertion.position as usize == position) {
            let start = moved[position];
            edited
                .instrs
                .extend(insertion.fragment.steps.iter().map(|step| {
                    let jumps = spec.ops[usize::from(step.op)].target != Target::None;
                    Instr {
                        op: step.op,
                        prefixes: 0,
                        arg: if jumps { start + step.arg } else { step.arg },
                        location: instr.location,
                    }
                }));
            position += PROBE as usize;
            continue;
        }
        let arg = match spec.ops[usize::from(instr.op)].target {
            Target::None => instr.arg,
            _ => moved[instr.arg as usize],
        };
        edited.instrs.push(Instr { arg, ..instr });
        position += 1;
    }
    edited.handlers = handlers(body, insertions, &moved, &starts);
    Ok((edited, starts))
}

/// The ranges of the original, with the guards cut out of them and put in between.
fn handlers(body: &Body, insertions: &[Insertion], moved: &[u32], starts: &[u32]) -> Vec<Handler> {
    let mut guards = Vec::new();
    for (insertion, start) in insertions.iter().zip(starts) {
        guards.extend(insertion.fragment.guards.iter().map(|guard| Handler {
            start: start + guard.start,
            end: start + guard.end,
            target: start + guard.target,
            depth: insertion.depth + guard.depth,
            lasti: false,
        }));
    }
    let mut all = guards.clone();
    for handler in &body.handlers {
        let whole = Handler {
            start: moved[handler.start as usize],
            end: moved[handler.end as usize],
            target: moved[handler.target as usize],
            ..*handler
        };
        let mut start = whole.start;
        let inside = guards.partition_point(|guard| guard.start < whole.start);
        for guard in guards[inside..]
            .iter()
            .take_while(|guard| guard.start < whole.end)
        {
            if start < guard.start {
                all.push(Handler {
                    start,
                    end: guard.start,
                    ..whole
                });
            }
            start = guard.end;
        }
        if start < whole.end {
            all.push(Handler { start, ..whole });
        }
    }
    all.sort_unstable_by_key(|handler| handler.start);
    all
}
