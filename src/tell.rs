//! Messages about dapper itself, on standard error.
//!
//! Owns what was told already: many a message would come again at every hit. A program whose
//! standard error is gone goes on without them.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

static TOLD: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

fn write_line(text: &str) {
    // Nobody is left to tell what is wrong with it.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Writes a message about dapper itself to standard error.
pub(crate) fn tell(message: &str) {
    write_line(&format!("dapper: {message}"));
}

/// Writes a message about dapper itself, once for each message.
pub(crate) fn tell_once(message: &str) {
    if tell_first(message) {
        tell(message);
    }
}

/// Writes a message about dapper itself, once for each subject.
pub(crate) fn tell_first_of(subject: &str, message: &str) {
    if tell_first(subject) {
        tell(message);
    }
}

/// Whether nothing was told of this subject before.
pub(crate) fn tell_first(subject: &str) -> bool {
    TOLD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(subject.to_owned())
}
