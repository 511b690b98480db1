//! What differs between CPython versions, as data named by behaviour.
//!
//! The opcode tables (`v311` to `v315`) are generated inside each interpreter by
//! `instrument/tables/dump.py`; the behaviours below are stated here, each with the change in
//! CPython that caused it. Nothing outside this module and `version` compares versions.

mod expression;
mod v311;
mod v312;
mod v313;
mod v314;
mod v315;

use std::sync::LazyLock;

use crate::PyVersion;

pub(crate) use self::expression::{ClassLookup, Expressions, FastUse, Operand};

/// What control does after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Falls through.
    Next,
    /// Falls through or jumps.
    Branch,
    /// Always jumps.
    Jump,
    /// Leaves the frame, or raises.
    Stop,
}

/// How an argument names another instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    Forward,
    Backward,
}

/// A stack effect as a function of the argument `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Fixed(i32),
    /// `a + b * n`
    Linear(i32, i32),
    /// `a + b` when that bit of `n` is set, else `a`
    Bit(i32, i32, u8),
    /// `a + b *` the number of low four bits set in `n`
    LowBits(i32, i32),
    /// `a + b * (low byte + the rest)`
    UnpackEx(i32, i32),
    /// `a + b` when `n` is 3, else `a`
    Three(i32, i32),
}

impl Effect {
    fn fixed(self) -> Option<i8> {
        match self {
            Self::Fixed(effect) => i8::try_from(effect).ok(),
            _ => None,
        }
    }

    /// Base, slope and the bits of the argument that count, where that is the whole effect.
    fn linear(self) -> Option<(i8, i8, u8)> {
        let (base, slope, bits) = match self {
            Self::Fixed(base) => (base, 0, 0),
            Self::Linear(base, slope) => (base, slope, u8::MAX),
            Self::Bit(base, slope, 0) => (base, slope, 1),
            _ => return None,
        };
        Some((i8::try_from(base).ok()?, i8::try_from(slope).ok()?, bits))
    }

    /// The change of stack depth for this argument; `None` when it leaves 32 bits.
    #[inline]
    pub(crate) fn of(self, arg: u32) -> Option<i32> {
        let (base, slope, factor) = match self {
            Self::Fixed(base) => return Some(base),
            Self::Linear(base, slope) => (base, slope, arg),
            Self::Bit(base, slope, bit) => (base, slope, arg >> bit & 1),
            Self::LowBits(base, slope) => (base, slope, (arg & 15).count_ones()),
            Self::UnpackEx(base, slope) => (base, slope, (arg & 255) + (arg >> 8)),
            Self::Three(base, slope) => (base, slope, u32::from(arg == 3)),
        };
        let factor = i32::try_from(factor).ok()?;
        slope.checked_mul(factor)?.checked_add(base)
    }
}

/// One row of a generated table.
struct OpRow(u8, &'static str, u8, bool, Flow, Target, Effect, Effect);

/// What every pass asks of an opcode; small, so that the table stays in the first-level cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct Op {
    /// Inline cache units that follow the instruction.
    pub(crate) caches: u8,
    pub(crate) flow: Flow,
    pub(crate) target: Target,
    /// How the instruction takes part in line events.
    pub(crate) role: Role,
    /// See [`Op::is_plain`].
    plain: bool,
    /// Stack effect of a plain instruction: `base + slope * (argument & bits)`. As it has no
    /// EXTENDED_ARG, the argument is a byte.
    base: i8,
    slope: i8,
    bits: u8,
    /// Stack effect when control jumps, where it does not depend on the argument.
    jump_effect: Option<i8>,
}

impl Op {
    /// Control just goes on, the stack effect is simple, and there is nothing else to note.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.plain
    }

    /// The stack depth behind a plain instruction.
    #[inline]
    pub(crate) fn depth_after(self, depth: i64, arg: u32) -> i64 {
        let factor = i64::from(arg & u32::from(self.bits));
        let effect = i64::from(self.base) + i64::from(self.slope) * factor;
        depth.wrapping_add(effect)
    }

    /// The change of stack depth when control jumps, where it does not depend on the argument.
    #[inline]
    pub(crate) fn fixed_jump_effect(self) -> Option<i32> {
        self.jump_effect.map(i32::from)
    }
}

/// The rest of what is known of an opcode; `name` is empty for numbers that are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpDetail {
    pub(crate) name: &'static str,
    pub(crate) has_arg: bool,
    effect: Effect,
    jump_effect: Effect,
}

/// Instructions that the rules of line events and of injection name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    Resume,
    /// END_FOR and END_SEND: no change of line; but as a jump target they start one.
    Silent,
    /// END_ASYNC_FOR: no change of line, and a handler entry that starts none.
    EndAsyncFor,
    /// POP_ITER: never starts a line.
    PopIter,
    ForIter,
    Send,
    /// A backward jump that raises no event on its own.
    QuietJump,
    PushExcInfo,
    Reraise,
    /// Cannot raise and is no line event's source of interest.
    Harmless,
    Yield,
    ExtendedArg,
    /// No instruction that may stand in a code object.
    Unknown,
}

impl Role {
    /// Whether a change of line at the instruction is none in the eyes of `initialize_lines`.
    pub(crate) fn is_quiet(self) -> bool {
        matches!(
            self,
            Self::Resume | Self::Silent | Self::EndAsyncFor | Self::PopIter
        )
    }
}

/// How CPython decides that a line starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineRule {
    /// Up to 3.11: `maybe_call_line_trace` compares with the line last executed.
    Dynamic,
    /// From 3.12 (PEP 669): `initialize_lines` marks instructions, then lines are compared.
    Marked,
}

/// One CPython version.
pub(crate) struct Spec {
    pub(crate) ops: [Op; 256],
    pub(crate) details: [OpDetail; 256],
    pub(crate) expressions: Expressions,
    pub(crate) line_rule: LineRule,
    /// Neighbours with one location share line table entries (3.12, `assemble.c`).
    pub(crate) merges_locations: bool,
    /// Units that an exhausted FOR_ITER skips at its target: END_FOR (3.12), END_FOR and
    /// POP_TOP (3.13), END_FOR before POP_ITER (3.14).
    pub(crate) exhaustion_skip: u32,
    /// RESUME arguments (masked) before which a frame is not yet started: the prologue of a
    /// generator expression (3.15).
    pub(crate) untraced_resume: Option<u32>,
    /// A suspended frame points at the RESUME behind YIELD_VALUE, so that an exception thrown
    /// in comes from there in the eyes of a tracer (3.13).
    pub(crate) throws_from_resume: bool,
    /// The probe: load the constant, ask for its truth, drop it. The code with constant 0, in
    /// the first so many units.
    pub(crate) probe: [u8; 16],
    pub(crate) probe_units: u8,
    pub(crate) load_const: u8,
    pub(crate) to_bool: u8,
    pub(crate) pop_top: u8,
    pub(crate) jump_forward: u8,
    pub(crate) extended_arg: u8,
}

impl Spec {
    /// The change of stack depth when control falls through.
    #[inline]
    pub(crate) fn effect(&self, op: u8, arg: u32) -> Option<i32> {
        self.details[usize::from(op)].effect.of(arg)
    }

    /// The change of stack depth when control jumps.
    #[inline]
    pub(crate) fn jump_effect(&self, op: u8, arg: u32) -> Option<i32> {
        self.details[usize::from(op)].jump_effect.of(arg)
    }
}

/// The record of one version.
pub(crate) fn spec(version: PyVersion) -> &'static Spec {
    static SPECS: LazyLock<[Spec; 5]> = LazyLock::new(|| PyVersion::ALL.map(build));
    &SPECS[version as usize]
}

fn rows(version: PyVersion) -> &'static [OpRow] {
    match version {
        PyVersion::V311 => v311::ROWS,
        PyVersion::V312 => v312::ROWS,
        PyVersion::V313 => v313::ROWS,
        PyVersion::V314 => v314::ROWS,
        PyVersion::V315 => v315::ROWS,
    }
}

fn build(version: PyVersion) -> Spec {
    let mut ops = [Op {
        caches: 0,
        flow: Flow::Next,
        target: Target::None,
        role: Role::Unknown,
        plain: false,
        base: 0,
        slope: 0,
        bits: 0,
        jump_effect: None,
    }; 256];
    let mut details = [OpDetail {
        name: "",
        has_arg: false,
        effect: Effect::Fixed(0),
        jump_effect: Effect::Fixed(0),
    }; 256];
    for &OpRow(number, name, caches, has_arg, flow, target, effect, jump_effect) in rows(version) {
        // The value that resuming pushes; `dis` counts it from 3.13 on.
        let effect = match name {
            "RETURN_GENERATOR" => Effect::Fixed(1),
            _ => effect,
        };
        let role = role(name);
        let linear = effect.linear();
        let noted = role.is_quiet() || matches!(role, Role::ExtendedArg | Role::Unknown);
        let goes_on = flow == Flow::Next && target == Target::None;
        let (base, slope, bits) = linear.unwrap_or_default();
        ops[usize::from(number)] = Op {
            caches,
            flow,
            target,
            role,
            plain: linear.is_some() && goes_on && !noted,
            base,
            slope,
            bits,
            jump_effect: jump_effect.fixed(),
        };
        details[usize::from(number)] = OpDetail {
            name,
            has_arg,
            effect,
            jump_effect,
        };
    }
    debug_assert!(ops[0].role == Role::Unknown, "0 is an instruction");
    let number = |name: &str| {
        let found = details.iter().position(|op| op.name == name);
        u8::try_from(found.unwrap_or_default()).unwrap_or_default()
    };
    let load_const = number("LOAD_CONST");
    // Conditional jumps take an exact bool from 3.13 on, and TO_BOOL is what asks for it.
    let to_bool = if version >= PyVersion::V313 {
        number("TO_BOOL")
    } else {
        number("UNARY_NOT")
    };
    let pop_top = number("POP_TOP");
    let caches = ops[usize::from(to_bool)].caches;
    let mut probe = [0; 16];
    probe[0] = load_const;
    probe[2] = to_bool;
    probe[4 + 2 * usize::from(caches)] = pop_top;
    Spec {
        // CALL wants NULL over the callable since 3.13.
        expressions: Expressions::new(&details, version < PyVersion::V313),
        probe,
        probe_units: 3 + caches,
        line_rule: if version >= PyVersion::V312 {
            LineRule::Marked
        } else {
            LineRule::Dynamic
        },
        merges_locations: version >= PyVersion::V312,
        exhaustion_skip: match version {
            PyVersion::V311 => 0,
            PyVersion::V312 | PyVersion::V314 | PyVersion::V315 => 1,
            PyVersion::V313 => 2,
        },
        untraced_resume: (version >= PyVersion::V315).then_some(4),
        throws_from_resume: version >= PyVersion::V313,
        load_const,
        to_bool,
        pop_top,
        jump_forward: number("JUMP_FORWARD"),
        extended_arg: number("EXTENDED_ARG"),
        ops,
        details,
    }
}

fn role(name: &str) -> Role {
    match name {
        "RESUME" => Role::Resume,
        "END_FOR" | "END_SEND" => Role::Silent,
        "POP_ITER" => Role::PopIter,
        "END_ASYNC_FOR" => Role::EndAsyncFor,
        "FOR_ITER" => Role::ForIter,
        "SEND" => Role::Send,
        "JUMP_BACKWARD_NO_INTERRUPT" => Role::QuietJump,
        "PUSH_EXC_INFO" => Role::PushExcInfo,
        "RERAISE" => Role::Reraise,
        "COPY" | "SWAP" | "NOP" | "NOT_TAKEN" | "POP_TOP" | "POP_EXCEPT" | "PUSH_NULL"
        | "LOAD_CONST" | "JUMP_FORWARD" => Role::Harmless,
        "YIELD_VALUE" => Role::Yield,
        "EXTENDED_ARG" => Role::ExtendedArg,
        // Never an instruction of its own.
        "CACHE" => Role::Unknown,
        _ => Role::Plain,
    }
}
