//! Reads CPython code objects (3.11 to 3.15), compiles probes into them and proves the result.
//!
//! ```text
//! marshal bytes -> Module -> Body -> depths, line events -> injection -> Body -> bytes, proved
//!                  marshal   decode  stack   events         inject       assemble    verify
//! ```
//!
//! Marshal bytes in, marshal bytes out: no I/O, no clock, no environment, no Python.
//! Every difference between CPython versions is data (`spec`), never a version comparison.
//! What is not fully understood comes out untouched, with a [`Reason`].

#![forbid(unsafe_code)]
#![allow(
    clippy::doc_markdown,
    reason = "opcode names stand in prose as CPython writes them"
)]

mod analysis;
mod assemble;
mod bytes;
mod decode;
mod disasm;
mod error;
mod events;
mod exctable;
pub mod expr;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod inject;
pub mod inset;
mod instr;
mod linemap;
mod linetable;
mod marshal;
mod nearest;
mod pattern;
mod positions;
mod prove;
pub mod pyc;
pub mod source;
mod spec;
mod splice;
mod stack;
mod variant;
mod varint;
mod verify;
mod version;

pub use decode::constant_at;
pub use disasm::disassemble;
pub use error::{Error, ErrorKind, Reason};
pub use exctable::{count_handlers, handler_of};
pub use linemap::{FunctionLines, LineMap, check_module, line_map};
pub use pattern::{FunctionPattern, FunctionPatternError};
pub use positions::{Entry, Position, Span};
pub use prove::{Failure, Verification, verify};
pub use variant::{ProbedCode, Role, Site, Snapped, Spot, Untouched, Variant, Wanted, instrument};
pub use version::PyVersion;
