//! Reads CPython code objects (3.11 to 3.15), compiles probes into them and proves the result.
//!
//! Marshal bytes in, marshal bytes out: no I/O, no clock, no environment, no Python.
//! Every difference between CPython versions is data (`spec`), never a version comparison.
//! What is not fully understood comes out untouched, with a [`Reason`].

pub mod version;

pub use version::PyVersion;
