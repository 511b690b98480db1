//! What the crate promises, tried on the fixtures of every CPython version.
//!
//! Only the public interface is used; `object` is a reader of marshal data of its own, so that
//! what the crate writes is judged by something else.

#![allow(
    clippy::doc_markdown,
    reason = "opcode names stand in prose as CPython writes them"
)]

mod extended;
mod fixtures;
mod headers;
mod linemap;
mod lines;
mod malformed;
mod object;
mod positions;
mod probes;
mod roundtrip;
mod sites;
mod snapshot;
