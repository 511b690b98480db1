//! The opcodes that compiled expressions consist of, and what their arguments name.
//!
//! An expression is compiled by CPython as module-level code, so that all its names are
//! LOAD_NAME; `inset` moves it into the code object that is to evaluate it. What may occur is
//! listed here by name, for all versions in one list: an opcode that is not listed (stores,
//! own scopes, suspension) keeps the expression out of the line.

use super::{Effect, OpDetail};

/// What the argument of an instruction of an expression means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// The instruction may not stand in an expression that moves.
    Foreign,
    /// Nothing of the code object it stands in.
    Own,
    /// A constant.
    Constant,
    /// A name, shifted by so many bits of something else.
    Name(u8),
    /// A name that is looked up where the expression goes.
    Load,
    /// What a code object begins with.
    Start,
    /// Ends the expression with the value on the stack.
    Return,
    /// Ends the expression with a constant.
    ReturnConstant,
    /// NULL, under or over a callable.
    Null,
}

/// How a class body reads a variable of an enclosing function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassLookup {
    /// LOAD_CLASSDEREF (3.11).
    One(u8),
    /// LOAD_LOCALS, LOAD_FROM_DICT_OR_DEREF.
    Two(u8, u8),
}

/// What an instruction does to a fast local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastUse {
    None,
    /// Behind it the local is bound.
    Binds,
    /// Binds two locals, one in each half of a byte.
    BindsTwo,
    /// Behind it the local is unbound.
    Unbinds,
    /// It is taken away and put back later, bound or not.
    Borrows,
}

/// The opcodes of one version.
pub(crate) struct Expressions {
    pub(crate) operands: [Operand; 256],
    pub(crate) fast: [FastUse; 256],
    /// Borrows from the local where that is possible (3.14). `optimize_load_fast` of
    /// `flowgraph.c` names the conditions: the local is not replaced while the value is on the
    /// stack, and the value does not become another local. An expression that moves stores
    /// nothing and leaves nothing, and writing through `f_locals` keeps what was there.
    pub(crate) load_fast: u8,
    /// Two of those at once, where both numbers are below 16 (3.13).
    pub(crate) load_two_fast: Option<u8>,
    /// Raises when the local is unbound.
    pub(crate) load_fast_checked: u8,
    pub(crate) load_deref: u8,
    pub(crate) load_global: u8,
    pub(crate) load_name: u8,
    pub(crate) class_lookup: ClassLookup,
    /// NULL is under the callable (up to 3.12), not over it.
    pub(crate) null_first: bool,
    /// Jumps when the value on the stack is false.
    pub(crate) jump_if_false: u8,
    /// That takes any object (up to 3.12), not only a bool.
    pub(crate) jump_asks: bool,
    /// Stands behind a conditional jump that was not taken (3.14).
    pub(crate) not_taken: Option<u8>,
    pub(crate) contains: u8,
    pub(crate) swap: u8,
    pub(crate) subscript: (u8, u32),
    pub(crate) build_string: u8,
}

const OWN: &[&str] = &[
    "BINARY_OP",
    "BINARY_SLICE",
    "BINARY_SUBSCR",
    "BUILD_CONST_KEY_MAP",
    "BUILD_INTERPOLATION",
    "BUILD_LIST",
    "BUILD_MAP",
    "BUILD_SET",
    "BUILD_SLICE",
    "BUILD_STRING",
    "BUILD_TEMPLATE",
    "BUILD_TUPLE",
    "CALL",
    "CALL_FUNCTION_EX",
    "CALL_INTRINSIC_1",
    "CALL_KW",
    "COMPARE_OP",
    "CONTAINS_OP",
    "CONVERT_VALUE",
    "COPY",
    "DICT_MERGE",
    "DICT_UPDATE",
    "FORMAT_SIMPLE",
    "FORMAT_VALUE",
    "FORMAT_WITH_SPEC",
    "IS_OP",
    "JUMP_FORWARD",
    "JUMP_IF_FALSE_OR_POP",
    "JUMP_IF_TRUE_OR_POP",
    "LIST_APPEND",
    "LIST_EXTEND",
    "LIST_TO_TUPLE",
    "LOAD_COMMON_CONSTANT",
    "LOAD_SMALL_INT",
    "MAP_ADD",
    "NOP",
    "NOT_TAKEN",
    "POP_JUMP_FORWARD_IF_FALSE",
    "POP_JUMP_FORWARD_IF_NONE",
    "POP_JUMP_FORWARD_IF_NOT_NONE",
    "POP_JUMP_FORWARD_IF_TRUE",
    "POP_JUMP_IF_FALSE",
    "POP_JUMP_IF_NONE",
    "POP_JUMP_IF_NOT_NONE",
    "POP_JUMP_IF_TRUE",
    "POP_TOP",
    "PRECALL",
    "SET_ADD",
    "SET_UPDATE",
    "SWAP",
    "TO_BOOL",
    "UNARY_INVERT",
    "UNARY_NEGATIVE",
    "UNARY_NOT",
    "UNARY_POSITIVE",
];

fn operand(detail: &OpDetail) -> Operand {
    match detail.name {
        "LOAD_CONST" | "KW_NAMES" => Operand::Constant,
        "LOAD_METHOD" => Operand::Name(0),
        "LOAD_ATTR" => match detail.effect {
            Effect::Bit(..) => Operand::Name(1),
            _ => Operand::Name(0),
        },
        "LOAD_NAME" => Operand::Load,
        "RESUME" => Operand::Start,
        "RETURN_VALUE" => Operand::Return,
        "RETURN_CONST" => Operand::ReturnConstant,
        "PUSH_NULL" => Operand::Null,
        name if OWN.contains(&name) => Operand::Own,
        _ => Operand::Foreign,
    }
}

fn fast(name: &str) -> FastUse {
    match name {
        // Where it does not raise, the local is bound behind a load too.
        "STORE_FAST" | "LOAD_FAST" | "LOAD_FAST_CHECK" | "LOAD_FAST_BORROW" => FastUse::Binds,
        "LOAD_FAST_LOAD_FAST"
        | "LOAD_FAST_BORROW_LOAD_FAST_BORROW"
        | "STORE_FAST_LOAD_FAST"
        | "STORE_FAST_STORE_FAST" => FastUse::BindsTwo,
        "DELETE_FAST" => FastUse::Unbinds,
        "LOAD_FAST_AND_CLEAR" => FastUse::Borrows,
        _ => FastUse::None,
    }
}

impl Expressions {
    pub(super) fn new(details: &[OpDetail; 256], null_first: bool) -> Self {
        let find = |name: &str| {
            let found = details.iter().position(|op| op.name == name);
            found.and_then(|number| u8::try_from(number).ok())
        };
        let first = |names: &[&str]| names.iter().find_map(|name| find(name)).unwrap_or_default();
        let class_lookup = match find("LOAD_CLASSDEREF") {
            Some(op) => ClassLookup::One(op),
            None => ClassLookup::Two(first(&["LOAD_LOCALS"]), first(&["LOAD_FROM_DICT_OR_DEREF"])),
        };
        // `NB_SUBSCR` of BINARY_OP took the place of BINARY_SUBSCR in 3.14.
        let subscript = match find("BINARY_SUBSCR") {
            Some(op) => (op, 0),
            None => (first(&["BINARY_OP"]), 26),
        };
        Self {
            operands: details.each_ref().map(operand),
            fast: details.each_ref().map(|detail| fast(detail.name)),
            load_fast: first(&["LOAD_FAST_BORROW", "LOAD_FAST"]),
            load_two_fast: find("LOAD_FAST_BORROW_LOAD_FAST_BORROW")
                .or_else(|| find("LOAD_FAST_LOAD_FAST")),
            load_fast_checked: first(&["LOAD_FAST_CHECK", "LOAD_FAST"]),
            load_deref: first(&["LOAD_DEREF"]),
            load_global: first(&["LOAD_GLOBAL"]),
            load_name: first(&["LOAD_NAME"]),
            class_lookup,
            null_first,
            jump_if_false: first(&["POP_JUMP_IF_FALSE", "POP_JUMP_FORWARD_IF_FALSE"]),
            jump_asks: find("TO_BOOL").is_none(),
            not_taken: find("NOT_TAKEN"),
            contains: first(&["CONTAINS_OP"]),
            swap: first(&["SWAP"]),
            subscript,
            build_string: first(&["BUILD_STRING"]),
        }
    }
}
