//! Any bytes as marshal data (a `.pyc` header in front is skipped).
//!
//! What can be read comes out as long as it went in, and reads the same again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::marshal_read(data));
