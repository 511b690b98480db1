//! Any text as a condition, a log message, a hit rule and the name of a function.
//!
//! What is accepted is printed and read again as the same; nothing nests too deeply for a stack.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| instrument::fuzzing::user_text(data));
