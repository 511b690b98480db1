//! Any bytes as a `.pyc`: a probe on every line, and what comes out is examined again.
//!
//! The variant must read, verify without a panic, and hold `None` where its sites point.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::instrument_roundtrip(data));
