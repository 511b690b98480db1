//! Any bytes as the code of a host and of an expression.
//!
//! Whatever the expression is, the host comes out with it compiled in and proved, or with its
//! plain probes; nothing panics, and what comes out can be read.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::inset(data));
