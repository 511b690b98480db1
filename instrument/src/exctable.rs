//! `co_exceptiontable`: which code units a handler protects.
//!
//! Entries of four integers `start, length, target, depth << 1 | lasti`, in code units, sorted
//! by start and never overlapping (`InternalDocs/exception_handling.md`). On an exception the
//! stack is cut to `depth`, the offset is pushed if `lasti` is set, then the exception, and
//! control goes to `target`.

use crate::error::Reason;
use crate::varint::{read_big, write_big};

/// One protected range; positions are code units in the table and instruction indices in
/// [`crate::instr::Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handler {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) target: u32,
    pub(crate) depth: u32,
    pub(crate) lasti: bool,
}

/// Reads a whole table into `out`; checks order, not whether positions are in the code.
pub(crate) fn decode(bytes: &[u8], out: &mut Vec<Handler>) -> Result<(), Reason> {
    let mut at = 0;
    let mut last_end = 0;
    while at < bytes.len() {
        let handler = entry(bytes, &mut at).ok_or(Reason::BadExceptionTable)?;
        if handler.start < last_end {
            return Err(Reason::BadExceptionTable);
        }
        last_end = handler.end;
        out.push(handler);
    }
    Ok(())
}

fn entry(bytes: &[u8], at: &mut usize) -> Option<Handler> {
    let start = read_big(bytes, at, true)?;
    let length = read_big(bytes, at, false)?;
    let target = read_big(bytes, at, false)?;
    let depth_and_lasti = read_big(bytes, at, false)?;
    Some(Handler {
        start,
        end: start.checked_add(length)?,
        target,
        depth: depth_and_lasti >> 1,
        lasti: depth_and_lasti & 1 != 0,
    })
}

/// How many different handlers a `co_exceptiontable` names; none when it cannot be read.
#[must_use]
pub fn count_handlers(table: &[u8]) -> usize {
    let mut handlers = Vec::new();
    if decode(table, &mut handlers).is_err() {
        return 0;
    }
    let mut targets: Vec<u32> = handlers.iter().map(|handler| handler.target).collect();
    targets.sort_unstable();
    targets.dedup();
    targets.len()
}

/// Where control goes when the instruction at `offset` raises, if a `co_exceptiontable` says so; both
/// in bytes.
#[must_use]
pub fn handler_of(table: &[u8], offset: u32) -> Option<u32> {
    const UNIT: u32 = 2;
    let mut handlers = Vec::new();
    decode(table, &mut handlers).ok()?;
    let unit = offset / UNIT;
    let mut around = handlers.iter();
    let found = around.find(|handler| (handler.start..handler.end).contains(&unit))?;
    found.target.checked_mul(UNIT)
}

/// Appends one entry.
pub(crate) fn encode(handler: Handler, out: &mut Vec<u8>) {
    write_big(out, handler.start, true);
    write_big(out, handler.end - handler.start, false);
    write_big(out, handler.target, false);
    write_big(out, handler.depth << 1 | u32::from(handler.lasti), false);
}

#[cfg(test)]
mod tests;
