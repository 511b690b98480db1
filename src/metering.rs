//! The time that conditions take in the line, where breakpoints have an allowance or are measured.
//!
//! A metered line tells where its condition begins and where it ends; some of the passes are
//! timed, by the rule of [`crate::figures`]. Nothing else counts what runs in the line, so
//! elsewhere neither the number nor the time of evaluations is known.

use std::cell::RefCell;
use std::time::Duration;

use crate::allowance;
use crate::breakpoint::Breakpoint;

/// More than are ever open at once.
const LIMIT: usize = 1000;

struct Timed {
    breakpoint: u64,
    began: Duration,
    weight: u32,
}

thread_local! {
    static OPEN: RefCell<Vec<Timed>> = const { RefCell::new(Vec::new()) };
}

/// A condition begins.
pub(crate) fn begin(breakpoint: &Breakpoint) {
    if !breakpoint.is_armed() {
        return;
    }
    breakpoint.figures.count_started();
    let Some(weight) = breakpoint.figures.begin_pass() else {
        return;
    };
    OPEN.with_borrow_mut(|open| {
        // What the program was left in the middle of never ends.
        if open.len() >= LIMIT {
            open.clear();
        }
        open.push(Timed {
            breakpoint: breakpoint.id,
            began: allowance::clock_now(),
            weight,
        });
    });
}

/// A condition has ended, timed or not.
pub(crate) fn end(breakpoint: &Breakpoint) {
    let timed = OPEN.with_borrow_mut(|open| {
        let last = open.last()?;
        (last.breakpoint == breakpoint.id).then(|| open.pop())?
    });
    if let Some(Timed { began, weight, .. }) = timed {
        allowance::settle(breakpoint, began, weight);
    }
}
