//! Any bytes as code and exception table of a code object with a fitting line table.
//!
//! Decoding and assembling is the identity; a probe on every line passes the proof.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::decode_assemble(data));
