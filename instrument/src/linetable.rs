//! `co_linetable`: the source range of every code unit, columns kept.
//!
//! The format is the same from 3.11 to 3.15 (`Objects/locations.md`, now
//! `InternalDocs/code_objects.md`). An entry covers 1 to 8 units; its first byte is
//! `1 kkkk nnn`: kind and units - 1. What differs is how compilers cut the runs, see
//! [`Encoder`].

mod run;

pub(crate) use self::run::{alike, lengthen};
use crate::instr::Body;
use crate::varint::{MORE, read_little, read_signed, write_little, write_signed};

/// A source range: lines from 1, columns from 0, in UTF-8 bytes; -1 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) line: i32,
    pub(crate) end_line: i32,
    pub(crate) column: i32,
    pub(crate) end_column: i32,
}

impl Location {
    /// Of instructions that no source line stands for.
    pub(crate) const NONE: Self = Self {
        line: -1,
        end_line: -1,
        column: -1,
        end_column: -1,
    };

    /// Whether another one is not the same, without a guess of the processor.
    #[inline]
    pub(crate) const fn differs(self, other: Self) -> bool {
        (self.line ^ other.line)
            | (self.end_line ^ other.end_line)
            | (self.column ^ other.column)
            | (self.end_column ^ other.end_column)
            != 0
    }
}

const SHORT_LAST: u8 = 9;
const ONE_LINE_FIRST: u8 = 10;
const ONE_LINE_LAST: u8 = 12;
const NO_COLUMNS: u8 = 13;
const LONG: u8 = 14;
const NOTHING: u8 = 15;

/// Reads the entries of a line table one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    /// What was not read yet.
    rest: &'a [u8],
    /// Where all of it ends.
    end: usize,
    line: i32,
}

/// An entry of any kind, as it was read.
struct Entry {
    bytes: usize,
    units: u32,
    /// Where the next one starts from.
    line: i32,
    location: Location,
}

impl<'a> Decoder<'a> {
    /// Reads from the start of an entry and from a line on.
    pub(crate) fn new(bytes: &'a [u8], line: i32) -> Self {
        Self {
            rest: bytes,
            end: bytes.len(),
            line,
        }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where the next entry starts.
    #[inline]
    pub(crate) fn byte(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The next entry: code units covered and their location; `None` when it is broken.
    #[expect(clippy::inline_always, reason = "a call costs more than most entries")]
    #[inline(always)]
    pub(crate) fn entry(&mut self) -> Option<(u32, Location)> {
        // Most entries are of the kinds whose size is fixed.
        let Some(&[first, second, third, fourth, fifth]) = self.rest.first_chunk() else {
            return self.other_entry();
        };
        let kind = (first >> 3).wrapping_sub(16);
        let location = if kind <= ONE_LINE_LAST {
            // Both kinds are as frequent: neither is worth a guess of the processor.
            let short = kind <= SHORT_LAST;
            let short_column = i32::from(kind << 3 | second >> 4);
            let short_end = short_column + i32::from(second & 15);
            let column = select(short, short_column, i32::from(second));
            let end_column = select(short, short_end, i32::from(third));
            self.rest = &self.rest[3 - usize::from(short)..];
            let lines = i32::from(kind.saturating_sub(ONE_LINE_FIRST));
            self.line = self.line.wrapping_add(lines);
            Location {
                line: self.line,
                end_line: self.line,
                column,
                end_column,
            }
        } else if kind == LONG && (second | third | fourth | fifth) < MORE {
            // Four integers of one byte each.
            let magnitude = i32::from(second >> 1);
            let delta = select(second & 1 == 0, magnitude, -magnitude);
            if third == 0 && (fourth == 0) != (fifth == 0) {
                return None;
            }
            self.rest = &self.rest[5..];
            self.line = self.line.wrapping_add(delta);
            Location {
                line: self.line,
                end_line: self.line.wrapping_add(i32::from(third)),
                column: i32::from(fourth) - 1,
                end_column: i32::from(fifth) - 1,
            }
        } else {
            return self.other_entry();
        };
        // A negative line would read as "none".
        let is_valid = location.line | location.end_line >= 0;
        is_valid.then_some((u32::from(first & 7) + 1, location))
    }

    /// What is read is handed over as values, so that a loop has its position in registers.
    #[inline]
    fn other_entry(&mut self) -> Option<(u32, Location)> {
        let entry = Entry::read(self.rest, self.line)?;
        self.rest = self.rest.get(entry.bytes..)?;
        self.line = entry.line;
        Some((entry.units, entry.location))
    }
}

impl Entry {
    /// Reads the entry at the start of `bytes`, from a line on.
    #[inline(never)]
    fn read(bytes: &[u8], line: i32) -> Option<Self> {
        let &first = bytes.first()?;
        // Bit 7 marks the first byte, so that kinds are 16 and more here.
        let kind = (first >> 3).wrapping_sub(16);
        let mut at = 1;
        let mut delta = 0;
        let mut lines = 0;
        let (column, end_column);
        match kind {
            0..=SHORT_LAST => {
                let &byte = bytes.get(1)?;
                at = 2;
                column = i32::from(kind << 3 | byte >> 4);
                end_column = column + i32::from(byte & 15);
            }
            ONE_LINE_FIRST..=ONE_LINE_LAST => {
                let (&start, &end) = (bytes.get(1)?, bytes.get(2)?);
                at = 3;
                delta = i32::from(kind - ONE_LINE_FIRST);
                (column, end_column) = (i32::from(start), i32::from(end));
            }
            NO_COLUMNS => {
                delta = read_signed(bytes, &mut at)?;
                (column, end_column) = (-1, -1);
            }
            LONG => {
                delta = read_signed(bytes, &mut at)?;
                lines = read_unsigned(bytes, &mut at)?;
                column = read_unsigned(bytes, &mut at)? - 1;
                end_column = read_unsigned(bytes, &mut at)? - 1;
                // On one line CPython writes both columns or none.
                if lines == 0 && (column < 0) != (end_column < 0) {
                    return None;
                }
            }
            NOTHING => {
                return Some(Self {
                    bytes: 1,
                    units: u32::from(first & 7) + 1,
                    line,
                    location: Location::NONE,
                });
            }
            _ => return None,
        }
        let line = line.checked_add(delta)?;
        // A negative line would read as "none".
        let end_line = line.checked_add(lines).filter(|_| line >= 0)?;
        Some(Self {
            bytes: at,
            units: u32::from(first & 7) + 1,
            line,
            location: Location {
                line,
                end_line,
                column,
                end_column,
            },
        })
    }
}

#[inline]
fn read_unsigned(bytes: &[u8], at: &mut usize) -> Option<i32> {
    read_little(bytes, at).and_then(|value| i32::try_from(value).ok())
}

#[inline]
fn select(first: bool, yes: i32, no: i32) -> i32 {
    let mask = -i32::from(first);
    no ^ ((yes ^ no) & mask)
}

/// Writes a line table as `Python/assemble.c` (`Python/compile.c` in 3.11) does.
///
/// Up to 3.11 each instruction starts an entry; later compilers merge neighbours with the same
/// location first and then cut at eight units.
pub(crate) struct Encoder<'b> {
    out: Vec<u8>,
    line: i32,
    merges: bool,
    locations: &'b [Location],
    /// The location and the code units of the entry that is still open; no units at first.
    current: u32,
    units: u32,
}

impl<'b> Encoder<'b> {
    pub(crate) fn new(merges: bool, first_line: i32, body: &'b Body) -> Self {
        Self {
            out: Vec::with_capacity(body.instrs.len() * 3),
            line: first_line,
            merges,
            locations: &body.locations,
            current: 0,
            units: 0,
        }
    }

    /// Appends one instruction of `units` code units; `location` is an index in the body.
    pub(crate) fn push(&mut self, location: u32, units: u32) {
        if self.merges && self.same(location) {
            self.units += units;
        } else {
            self.flush();
            self.current = location;
            self.units = units;
        }
    }

    fn same(&self, location: u32) -> bool {
        self.current == location
            || self.locations[self.current as usize] == self.locations[location as usize]
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        if self.units == 0 {
            return;
        }
        let location = self.locations[self.current as usize];
        while self.units > 8 {
            self.entry(location, 8);
            self.units -= 8;
        }
        self.entry(location, self.units);
        self.units = 0;
    }

    fn entry(&mut self, location: Location, units: u32) {
        if location.line < 0 {
            self.first_byte(NOTHING, units);
            return;
        }
        let delta = location.line - self.line;
        let (column, end_column) = (location.column, location.end_column);
        let one_line = location.end_line == location.line;
        let has_columns = column >= 0 && end_column >= 0;
        self.line = location.line;
        if one_line && !has_columns {
            self.first_byte(NO_COLUMNS, units);
            write_signed(&mut self.out, delta);
        } else if one_line && delta == 0 && column < 80 && (0..16).contains(&(end_column - column))
        {
            self.first_byte(byte(column >> 3), units);
            self.out
                .push(byte((column & 7) << 4 | (end_column - column)));
        } else if one_line && (0..3).contains(&delta) && column < 128 && end_column < 128 {
            self.first_byte(ONE_LINE_FIRST + byte(delta), units);
            self.out.extend([byte(column), byte(end_column)]);
        } else {
            self.first_byte(LONG, units);
            write_signed(&mut self.out, delta);
            for value in [
                location.end_line - location.line,
                column + 1,
                end_column + 1,
            ] {
                write_little(&mut self.out, value.unsigned_abs());
            }
        }
    }

    fn first_byte(&mut self, kind: u8, units: u32) {
        self.out.push(0x80 | kind << 3 | byte_of(units - 1));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "callers checked 0..=255"
)]
fn byte(value: i32) -> u8 {
    value as u8
}

#[expect(clippy::cast_possible_truncation, reason = "at most eight units")]
fn byte_of(value: u32) -> u8 {
    value as u8
}

#[cfg(test)]
mod tests;
