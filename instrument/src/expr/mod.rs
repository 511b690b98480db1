//! Conditions, log messages and hit rules as a user writes them: what is known of them before
//! anything is compiled.
//!
//! CPython's compiler has the last word on whether an expression is valid. This module says
//! what a compiler does not: which names it reads, whether it can stand in the middle of
//! another function, and whether evaluating it could change the program. The parser is
//! rustpython-parser, which does not know the newest syntax; what it refuses is *unknown*, not
//! wrong. Everything here reads text that users typed: the time taken grows with its length
//! alone, and no nesting exhausts a stack.

mod expression;
mod hits;
mod purity;
mod scan;
mod template;
#[cfg(test)]
mod tests;
mod walk;

pub use expression::{ExprError, Expression, NotSpliced, Purity};
pub use hits::{HitRule, HitRuleError};
pub use template::{Conversion, Field, Piece, Template, TemplateError, TemplateErrorKind};
