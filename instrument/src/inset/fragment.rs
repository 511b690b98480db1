//! Instructions to be put into a code object, with labels in place of positions.
//!
//! A [`Builder`] takes steps in their order and becomes a [`Fragment`], in which a jump's
//! argument is the index of a step; the number of steps stands for what follows the fragment.
//! Guards are ranges of steps with a handler in the fragment itself. An inner guard cuts its
//! range out of the outer ones, as the exception table has no overlapping entries.

use crate::decode::index;
use crate::spec::{Spec, Target};

/// A place in a fragment that need not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(u32);

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: u8,
    /// The argument; for jumps the index of a step.
    pub(crate) arg: u32,
}

/// Steps whose exceptions a step of the fragment handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) target: u32,
    /// Stack depth that is kept, above that at the start of the fragment.
    pub(crate) depth: u32,
}

/// What is put in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) steps: Vec<Step>,
    /// Ascending, without overlap.
    pub(crate) guards: Vec<Guard>,
}

impl Fragment {
    /// Puts another fragment behind this one.
    pub(super) fn append(&mut self, spec: &Spec, other: &Self) {
        let shift = index(self.steps.len());
        self.steps.extend(other.steps.iter().map(|step| {
            let jumps = spec.ops[usize::from(step.op)].target != Target::None;
            Step {
                arg: step.arg + if jumps { shift } else { 0 },
                ..*step
            }
        }));
        self.guards.extend(other.guards.iter().map(|guard| Guard {
            start: guard.start + shift,
            end: guard.end + shift,
            target: guard.target + shift,
            ..*guard
        }));
    }
}

/// A fragment that grows.
pub(super) struct Builder<'s> {
    pub(super) spec: &'s Spec,
    steps: Vec<Step>,
    /// The step that each label stands at.
    labels: Vec<u32>,
    /// Inner ones before those around them; targets are labels.
    guards: Vec<Guard>,
}

const UNPLACED: u32 = u32::MAX;

impl<'s> Builder<'s> {
    pub(super) fn new(spec: &'s Spec) -> Self {
        Self {
            spec,
            steps: Vec::new(),
            labels: Vec::new(),
            guards: Vec::new(),
        }
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(UNPLACED);
        Label(index(self.labels.len() - 1))
    }

    /// Lets a label stand for what comes next.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.here();
    }

    pub(super) fn here(&self) -> u32 {
        index(self.steps.len())
    }

    pub(super) fn push(&mut self, op: u8, arg: u32) {
        self.steps.push(Step { op, arg });
    }

    /// Loads a fast local that is bound; two in a row are one instruction, as the compiler
    /// has it, unless control may come in between.
    pub(super) fn load_fast(&mut self, variable: u32) {
        let ops = &self.spec.expressions;
        let here = self.here();
        let entered = self.labels.contains(&here);
        if let (Some(both), Some(last)) = (ops.load_two_fast, self.steps.last_mut())
            && last.op == ops.load_fast
            && last.arg.max(variable) < 16
            && !entered
        {
            *last = Step {
                op: both,
                arg: last.arg << 4 | variable,
            };
        } else {
            self.push(ops.load_fast, variable);
        }
    }

    pub(super) fn jump(&mut self, op: u8, label: Label) {
        self.push(op, label.0);
    }

    /// Takes back a jump to what comes right behind it.
    pub(super) fn drop_jump_to(&mut self, label: Label) {
        let idle = Step {
            op: self.spec.jump_forward,
            arg: label.0,
        };
        if self.steps.last() == Some(&idle) {
            self.steps.pop();
            let end = self.here();
            for place in &mut self.labels {
                if *place != UNPLACED {
                    *place = end.min(*place);
                }
            }
        }
    }

    /// Protects the steps from `start` up to here, but for those that are protected already.
    pub(super) fn guard(&mut self, start: u32, target: Label, depth: u32) {
        self.guards.push(Guard {
            start,
            end: self.here(),
            target: target.0,
            depth,
        });
    }

    /// The finished fragment; every label that was used has been placed.
    pub(super) fn finish(mut self) -> Fragment {
        for step in &mut self.steps {
            if self.spec.ops[usize::from(step.op)].target != Target::None {
                step.arg = self.labels[step.arg as usize];
            }
        }
        let mut guards: Vec<Guard> = Vec::new();
        for guard in &self.guards {
            let target = self.labels[guard.target as usize];
            let mut start = guard.start;
            guards.sort_unstable_by_key(|inner| inner.start);
            let inner: Vec<Guard> = guards
                .iter()
                .filter(|inner| guard.start <= inner.start && inner.end <= guard.end)
                .copied()
                .collect();
            for inner in &inner {
                if start < inner.start {
                    let end = inner.start;
                    guards.push(Guard {
                        start,
                        end,
                        target,
                        ..*guard
                    });
                }
                start = inner.end;
            }
            if start < guard.end {
                guards.push(Guard {
                    start,
                    target,
                    ..*guard
                });
            }
        }
        guards.sort_unstable_by_key(|guard| guard.start);
        Fragment {
            steps: self.steps,
            guards,
        }
    }
}
