//! The on-disk store of instrumented code: keys and bytes, no knowledge of bytecode.
