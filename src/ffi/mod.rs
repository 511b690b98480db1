//! The only unsafe code of the project: interpreter internals behind safe functions.
//!
//! Owns the private struct layouts of `CPython` 3.11 to 3.15 ([`layout`]), the PEP 523 eval-frame
//! hook ([`hook`]) with what it finds at a code object ([`extra`]) and does to a frame ([`swap`]),
//! the code that a function holds ([`function`]), the constants of code objects ([`consts`]), the
//! search of the heap ([`heap`]), the trace functions of threads ([`tracing`]), the trace event that
//! is being handled ([`trace_event`]), the local variables of a frame ([`locals`]), the attributes
//! of an object ([`attributes`]) and their names ([`name`]), objects from marshal bytes
//! ([`unmarshal`]), what runs unseen in the middle of the program ([`evaluate`]), how deep calls
//! are ([`depth`]) and the symbols that the stable ABI lacks ([`symbols`]).
//! What runs after the interpreter ([`exit`]), code without callers ([`bottom`]), threads without
//! signals ([`threads`]) and what signals do ([`signals`]), how threads get the interpreter
//! ([`attach`]), descriptors of a fork ([`descriptor`]) and processes that end with this one
//! ([`spawn`]) are here for the same reason.
//! It relies on the layouts only after a start-up self-check has proved them in this process, and
//! imports nothing of the rest of the extension: what to do with a frame is passed in.

pub(crate) mod attach;
pub(crate) mod attributes;
pub(crate) mod bottom;
pub(crate) mod consts;
pub(crate) mod depth;
pub(crate) mod descriptor;
pub(crate) mod evaluate;
pub(crate) mod exit;
pub(crate) mod extra;
pub(crate) mod function;
pub(crate) mod heap;
pub(crate) mod hook;
pub(crate) mod layout;
pub(crate) mod locals;
pub(crate) mod name;
pub(crate) mod prove;
pub(crate) mod rewind;
pub(crate) mod signals;
pub(crate) mod spawn;
pub(crate) mod swap;
pub(crate) mod symbols;
pub(crate) mod threads;
pub(crate) mod trace_event;
pub(crate) mod tracing;
pub(crate) mod unmarshal;
