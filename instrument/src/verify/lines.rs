//! The line table of a variant, read beside the original one.
//!
//! Between the places at which code was added the two are the same bytes, read from the same
//! line on, so that they say the same. Where code was added the entries must give the one location
//! to exactly as many units as the code has there: they repeat the bytes of the original's, or are
//! decoded.

use super::Claim;
use super::reader::Broken;
use crate::error::Reason;
use crate::instr::Body;
use crate::linetable::{Decoder, alike};

const MOVED: Broken = Broken(&Reason::Verification("a location changed"));

/// How far the two tables were compared.
pub(super) struct Lines<'a> {
    original: &'a Body,
    first_line: i32,
    /// What was not compared yet, and where that starts in the original.
    theirs: &'a [u8],
    ours: &'a [u8],
    their_byte: usize,
    /// The location that code was added to last, and how many units.
    open: usize,
    more: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(original: &'a Body, claim: &Claim<'a>, linetable: &'a [u8]) -> Self {
        Self {
            original,
            first_line: claim.original.first_line,
            theirs: claim.original.linetable,
            ours: linetable,
            their_byte: 0,
            open: 0,
            more: 0,
        }
    }

    /// Code of so many units was added that must have this location; locations ascend.
    #[inline]
    pub(super) fn add(&mut self, location: u32, units: u32) -> Result<(), Broken> {
        if location as usize != self.open {
            self.settle()?;
            self.open = location as usize;
        }
        self.more += units;
        Ok(())
    }

    /// Whether the unit in front of the original instruction at `unit`, behind everything that
    /// was read so far, still has this location.
    pub(super) fn goes_on(&mut self, location: u32, unit: u32) -> Result<bool, Broken> {
        self.add(location, 0)?;
        let start = self.original.runs[self.open];
        let mut ahead = Self { ..*self };
        ahead.same_until(start.byte as usize)?;
        let mut decoder = ahead.decoder();
        let mut left = unit - start.unit + self.more;
        loop {
            let (units, location) = decoder.entry().ok_or(Broken(&Reason::BadLineTable))?;
            if location != self.original.locations[self.open] {
                return Ok(false);
            }
            if units > left {
                return Ok(true);
            }
            left -= units;
        }
    }

    /// All code was read.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        self.settle()?;
        if self.ours == self.theirs {
            Ok(())
        } else if self.theirs.starts_with(self.ours) {
            Err(Broken(&Reason::BadLineTable))
        } else if self.ours.starts_with(self.theirs) {
            Err(Broken(&Reason::Verification("something follows the code")))
        } else {
            Err(MOVED)
        }
    }

    /// Compares up to the end of the location that is open, if code was added to it.
    #[inline]
    fn settle(&mut self) -> Result<(), Broken> {
        if self.more == 0 {
            return Ok(());
        }
        let &[start, end, ..] = &self.original.runs[self.open..] else {
            return Err(MOVED);
        };
        self.same_until(start.byte as usize)?;
        let units = end.unit - start.unit + self.more;
        self.ours = match alike(self.ours, self.theirs, units) {
            Some(behind) => behind,
            None => self.decoded(units)?,
        };
        self.pass(end.byte as usize - start.byte as usize)?;
        self.more = 0;
        Ok(())
    }

    /// Decodes the entries of the open location, which cover so many units: what is behind them.
    #[inline(never)]
    fn decoded(&self, units: u32) -> Result<&'a [u8], Broken> {
        let location = self.original.locations[self.open];
        let mut decoder = self.decoder();
        let mut left = units;
        while left > 0 {
            let (units, found) = decoder.entry().ok_or(Broken(&Reason::BadLineTable))?;
            if found != location || units > left {
                return Err(MOVED);
            }
            left -= units;
        }
        Ok(&self.ours[decoder.byte()..])
    }

    fn same_until(&mut self, byte: usize) -> Result<(), Broken> {
        let length = byte.checked_sub(self.their_byte).ok_or(MOVED)?;
        if !few_same(self.ours, self.theirs, length) {
            let theirs = self.theirs.get(..length).ok_or(MOVED)?;
            let ours = self.ours.get(..length);
            if ours.ok_or(Broken(&Reason::BadLineTable))? != theirs {
                return Err(MOVED);
            }
        }
        self.ours = &self.ours[length..];
        self.pass(length)
    }

    /// Goes on in the original.
    #[inline]
    fn pass(&mut self, bytes: usize) -> Result<(), Broken> {
        self.theirs = self.theirs.get(bytes..).ok_or(MOVED)?;
        self.their_byte += bytes;
        Ok(())
    }

    /// Reads on from the entries of the open location.
    fn decoder(&self) -> Decoder<'a> {
        let before = &self.original.locations[..self.open];
        // Entries without a line leave it as it was.
        let line = before.iter().rev().map(|location| location.line);
        let line = { line }.find(|&line| line >= 0);
        Decoder::new(self.ours, line.unwrap_or(self.first_line))
    }
}

/// Whether the first `length` bytes are the same, where these are few and others follow.
#[inline]
fn few_same(ours: &[u8], theirs: &[u8], length: usize) -> bool {
    let (Some(ours), Some(theirs)) = (ours.first_chunk(), theirs.first_chunk()) else {
        return false;
    };
    let differs = u128::from_le_bytes(*ours) ^ u128::from_le_bytes(*theirs);
    length <= 16 && differs.trailing_zeros() as usize >= 8 * length
}
