//! Any bytes as an exception table: what can be read survives writing.
//!
//! Non-canonical integers may be read; what is written from them is canonical.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::exctable(data));
