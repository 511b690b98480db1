//! Hits whose message is being made in the line.
//!
//! A probe says that it wants a message, the line makes it, and the probe gets it: what the first
//! decided is kept here for the thread. Making a message may come to the same line again, so
//! these are stacked. One that never ends (the program was left meanwhile) is dropped with those
//! around it, or when there are too many.

use std::cell::RefCell;

use crate::breakpoint::Breakpoint;

/// More than are ever open at once.
const LIMIT: usize = 1000;

thread_local! {
    /// Breakpoints and the number of the hit.
    static OPEN: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A message of this hit is being made.
pub(crate) fn begin(breakpoint: &Breakpoint, hits: u64) {
    OPEN.with_borrow_mut(|open| {
        if open.len() >= LIMIT {
            open.clear();
        }
        open.push((breakpoint.id, hits));
    });
}

/// The message was made; the number of the hit that it belongs to.
pub(crate) fn end(breakpoint: &Breakpoint) -> u64 {
    OPEN.with_borrow_mut(|open| {
        let found = open.iter().rposition(|(id, _)| *id == breakpoint.id);
        let hits = found.map(|at| open[at].1);
        open.truncate(found.unwrap_or(open.len()));
        hits.unwrap_or_else(|| breakpoint.hits())
    })
}
