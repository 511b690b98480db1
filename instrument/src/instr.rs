//! The model that is edited: instructions with jump targets as indices.
//!
//! There are no EXTENDED_ARG, no inline caches and no offsets here. `decode` makes a [`Body`]
//! from the three byte strings of a code object, `assemble` makes them again; unchanged, they
//! come out byte for byte.

use crate::exctable::Handler;
use crate::linetable::Location;
use crate::spec::{Op, Spec};

/// One instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instr {
    pub(crate) op: u8,
    /// EXTENDED_ARG prefixes that it has at least (compilers leave needless ones).
    pub(crate) prefixes: u8,
    /// The argument; for jumps the index of the target instruction.
    pub(crate) arg: u32,
    /// Index in [`Body::locations`].
    pub(crate) location: u32,
}

/// In [`Body::starts`]: a code unit that starts no instruction.
pub(crate) const INSIDE: u32 = u32::MAX;

/// The decoded code, line table and exception table of one code object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) instrs: Vec<Instr>,
    pub(crate) locations: Vec<Location>,
    /// Ranges in instruction indices, `end` exclusive.
    pub(crate) handlers: Vec<Handler>,
    /// The code unit at which each instruction starts, and the end. Of decoded code only.
    pub(crate) units: Vec<u32>,
    /// The instruction that starts at each code unit and at the end, or [`INSIDE`]. Of decoded
    /// code only.
    pub(crate) starts: Vec<u32>,
    /// The instructions that have a target, ascending. Of decoded code only.
    pub(crate) jumps: Vec<u32>,
    /// Those whose role is quiet, likewise.
    pub(crate) quiet: Vec<u32>,
    /// Where the entries of each location start in the line table, and the end. Of decoded
    /// code only.
    pub(crate) runs: Vec<Run>,
    pub(crate) room: Room,
}

/// Where decoding writes, so that a vector need not be filled for it every time: nobody knows
/// beforehand how many items there are, only how many there are at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    pub(crate) instrs: Vec<Instr>,
    pub(crate) locations: Vec<Location>,
    pub(crate) units: Vec<u32>,
    pub(crate) runs: Vec<Run>,
    pub(crate) depths: Vec<i32>,
}

/// Room for so many items; until they are written, they are any.
pub(crate) fn room<T: Copy + Default>(items: &mut Vec<T>, count: usize) -> &mut [T] {
    if items.len() < count {
        items.resize(count, T::default());
    }
    &mut items[..count]
}

/// Replaces what is in a vector.
pub(crate) fn replace<T: Copy>(items: &mut Vec<T>, new: &[T]) {
    items.clear();
    items.extend_from_slice(new);
}

/// The start of the line table entries of one location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Byte in the line table.
    pub(crate) byte: u32,
    /// Code unit.
    pub(crate) unit: u32,
}

impl Body {
    pub(crate) fn op<'s>(&self, spec: &'s Spec, index: usize) -> &'s Op {
        &spec.ops[usize::from(self.instrs[index].op)]
    }

    pub(crate) fn line(&self, index: usize) -> i32 {
        self.locations[self.instrs[index].location as usize].line
    }
}
