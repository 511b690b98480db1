//! Figures about what is watched, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Code objects that were put under watch, as a whole or for some of their frames.
pub(crate) static WATCHES: AtomicU64 = AtomicU64::new(0);
/// Line events of watched code, whether or not anything stands on the line.
pub(crate) static EVENTS: AtomicU64 = AtomicU64::new(0);
/// Returns that were delivered to a debugger.
pub(crate) static RETURNS: AtomicU64 = AtomicU64::new(0);
/// Exceptions that were delivered to a debugger.
pub(crate) static EXCEPTIONS: AtomicU64 = AtomicU64::new(0);

/// Counts what is delivered to a debugger under the name of its event.
pub(crate) fn deliver(event: &str) {
    match event {
        "return" => RETURNS.fetch_add(1, Ordering::Relaxed),
        "exception" => EXCEPTIONS.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
}
