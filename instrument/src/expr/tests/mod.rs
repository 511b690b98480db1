//! Expressions, log messages and hit rules as people write them, and as nobody should.
//!
//! Tables of texts with what must be known of each; round trips of generated messages.

mod expressions;
mod hits;
mod templates;
