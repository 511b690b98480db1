//! Any bytes as a line table: what can be read survives writing.
//!
//! The first byte chooses the way runs are cut, the next four the first line.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::linetable(data));
