//! The only unsafe code of the project: interpreter internals behind safe functions.
//!
//! Owns the private struct layouts of `CPython` 3.11 to 3.15 ([`layout`]), the PEP 523 eval-frame
//! hook ([`eval_frame`]), the trace functions of threads ([`tracing`]), the replacement of constants in a code object that nobody runs yet
//! ([`consts`]) and the symbols that the stable ABI lacks ([`symbols`]).
//! Read-only memory maps ([`map`]) and what runs after the interpreter ([`exit`]) are here for the
//! same reason.
//! It relies on the layouts only after a start-up self-check has proved them in this process, and
//! imports nothing of the rest of the extension: what to do with a frame is passed in.

pub(crate) mod consts;
pub(crate) mod eval_frame;
pub(crate) mod exit;
pub(crate) mod layout;
pub mod map;
mod prove;
pub(crate) mod symbols;
pub(crate) mod tracing;
