//! Little-endian fields at fixed offsets; a field outside the bytes is `None`, never a panic.

use std::ops::Range;

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The range of `len` bytes from `at`, when it ends at `end` or before.
pub(crate) fn range(at: u64, len: u64, end: u64) -> Option<Range<usize>> {
    let stop = at.checked_add(len).filter(|stop| *stop <= end)?;
    Some(usize::try_from(at).ok()?..usize::try_from(stop).ok()?)
}

/// Rounds up to the next multiple of `unit`, a power of two.
pub(crate) fn align(at: u64, unit: u64) -> Option<u64> {
    at.checked_next_multiple_of(unit)
}
