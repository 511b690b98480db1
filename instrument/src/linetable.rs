//! `co_linetable`: the source range of every code unit, columns kept.
//!
//! The format is the same from 3.11 to 3.15 (`Objects/locations.md`, now
//! `InternalDocs/code_objects.md`). An entry covers 1 to 8 units; its first byte is
//! `1 kkkk nnn`: kind and units - 1. What differs is how compilers cut the runs, see
//! [`Encoder`].

use crate::error::Reason;
use crate::varint::{read_little, read_signed, write_little, write_signed};

/// A source range: lines from 1, columns from 0, in UTF-8 bytes; -1 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

const SHORT_LAST: u8 = 9;
const ONE_LINE_FIRST: u8 = 10;
const ONE_LINE_LAST: u8 = 12;
const NO_COLUMNS: u8 = 13;
const LONG: u8 = 14;
const NOTHING: u8 = 15;

/// Reads the entries of a line table one after the other.
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    line: i32,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], first_line: i32) -> Self {
        Self {
            bytes,
            at: 0,
            line: first_line,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next entry: code units covered and their location.
    pub(crate) fn entry(&mut self) -> Result<(u32, Location), Reason> {
        self.read().ok_or(Reason::BadLineTable)
    }

    fn byte(&mut self) -> Option<i32> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(i32::from(byte))
    }

    fn read(&mut self) -> Option<(u32, Location)> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        if first & 0x80 == 0 {
            return None;
        }
        let units = u32::from(first & 7) + 1;
        let kind = first >> 3 & 15;
        let location = match kind {
            NOTHING => Location::NONE,
            NO_COLUMNS => {
                self.line = self.line.checked_add(self.signed()?)?;
                self.columns(0, -1, -1)?
            }
            LONG => {
                self.line = self.line.checked_add(self.signed()?)?;
                let lines = self.unsigned()?;
                let column = self.unsigned()?.checked_sub(1)?;
                let end_column = self.unsigned()?.checked_sub(1)?;
                self.columns(lines, column, end_column)?
            }
            ONE_LINE_FIRST..=ONE_LINE_LAST => {
                let delta = i32::from(kind - ONE_LINE_FIRST);
                self.line = self.line.checked_add(delta)?;
                let (column, end_column) = (self.byte()?, self.byte()?);
                self.columns(0, column, end_column)?
            }
            0..=SHORT_LAST => {
                let byte = self.byte()?;
                let column = i32::from(kind) << 3 | byte >> 4;
                self.columns(0, column, column + (byte & 15))?
            }
            16.. => return None,
        };
        Some((units, location))
    }

    fn signed(&mut self) -> Option<i32> {
        read_signed(self.bytes, &mut self.at)
    }

    fn unsigned(&mut self) -> Option<i32> {
        read_little(self.bytes, &mut self.at).and_then(|value| i32::try_from(value).ok())
    }

    /// A location on the current line; a negative line would read as "none" and is refused.
    fn columns(&self, lines: i32, column: i32, end_column: i32) -> Option<Location> {
        (self.line >= 0).then_some(())?;
        Some(Location {
            line: self.line,
            end_line: self.line.checked_add(lines)?,
            column,
            end_column,
        })
    }
}

/// Writes a line table as `Python/assemble.c` (`Python/compile.c` in 3.11) does.
///
/// Up to 3.11 each instruction starts an entry; later compilers merge neighbours with the same
/// location first and then cut at eight units.
pub(crate) struct Encoder {
    out: Vec<u8>,
    line: i32,
    merges: bool,
    run: Option<(Location, u32)>,
}

impl Encoder {
    pub(crate) fn new(first_line: i32, merges: bool, capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
            line: first_line,
            merges,
            run: None,
        }
    }

    /// Appends one instruction of `units` code units.
    pub(crate) fn push(&mut self, location: Location, units: u32) {
        match &mut self.run {
            Some((current, count)) if self.merges && *current == location => *count += units,
            _ => {
                self.flush();
                self.run = Some((location, units));
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        let Some((location, mut units)) = self.run.take() else {
            return;
        };
        while units > 8 {
            self.entry(location, 8);
            units -= 8;
        }
        self.entry(location, units);
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
