//! Runs of entries that give one location, compared and written by their bytes.
//!
//! The first entry of a run may change the line; those that follow it change none, and have the
//! same columns. What is `like` or lengthened is known to be valid.

use super::{LONG, NO_COLUMNS, NOTHING, ONE_LINE_FIRST, ONE_LINE_LAST, SHORT_LAST, byte_of};
use crate::bytes::append;
use crate::varint::MORE;

/// What is behind the first of `entries`, if these give `units` code units the location which the
/// first entry of `like` gives, read from the same line on; `None` where that takes decoding.
#[inline]
pub(crate) fn alike<'a>(entries: &'a [u8], like: &[u8], units: u32) -> Option<&'a [u8]> {
    let &[first, second, third, fourth, fifth] = like.first_chunk()?;
    let kind = (first >> 3).wrapping_sub(16);
    if kind <= SHORT_LAST {
        covered(entries, first, [second], first, [second], units)
    } else if kind <= ONE_LINE_LAST {
        let columns = [second, third];
        covered(
            entries,
            first,
            columns,
            0x80 | ONE_LINE_FIRST << 3,
            columns,
            units,
        )
    } else if kind == LONG && (second | third | fourth | fifth) < MORE {
        let rest = [0, third, fourth, fifth];
        covered(
            entries,
            first,
            [second, third, fourth, fifth],
            first,
            rest,
            units,
        )
    } else if kind == LONG {
        covered_long(entries, like, units)
    } else {
        None
    }
}

/// Likewise where the first entry of `like` is a long one: those that follow repeat all of its
/// integers but the first, which is 0 as they change no line.
#[inline(never)]
fn covered_long<'a>(entries: &'a [u8], like: &[u8], mut units: u32) -> Option<&'a [u8]> {
    let (&first, integers) = like.split_first()?;
    let integers = &integers[..varints(integers, 4)];
    let others = &integers[varints(integers, 1)..];
    let mut left = entries;
    let mut payload = integers;
    let mut delta: &[u8] = &[];
    while units > 0 {
        let (&entry, behind) = left.split_first()?;
        if entry ^ first > 7 {
            return None;
        }
        left = behind.strip_prefix(delta)?.strip_prefix(payload)?;
        units = units.checked_sub(u32::from(entry & 7) + 1)?;
        (delta, payload) = (&[0], others);
    }
    Some(left)
}

/// What is behind the entries that cover so many units, if the first one is of the kind of `first`
/// and has this payload, and those that follow are of the kind and have the payload that change no
/// line.
#[inline]
fn covered<const N: usize>(
    entries: &[u8],
    first: u8,
    payload: [u8; N],
    next: u8,
    next_payload: [u8; N],
    units: u32,
) -> Option<&[u8]> {
    let (mut kind, mut payload) = (first, payload);
    let mut left = entries;
    let mut units = units;
    while units > 0 {
        let (&entry, behind) = left.split_first()?;
        let (found, behind) = behind.split_first_chunk()?;
        if entry ^ kind > 7 || *found != payload {
            return None;
        }
        units = units.checked_sub(u32::from(entry & 7) + 1)?;
        left = behind;
        (kind, payload) = (next, next_payload);
    }
    Some(left)
}

/// Writes entries that give `units` code units the location which `entries` (valid) begin with;
/// the line state before and after stays the same.
pub(crate) fn lengthen(entries: &[u8], mut units: u32, out: &mut Vec<u8>) {
    let first = entries[0] & 0xf8;
    let kind = first >> 3 & 15;
    // From the second entry on the line does not change any more.
    match *entries {
        [_, second, ..] if kind <= SHORT_LAST => {
            let entry = [first, second];
            repeat(entry, entry, units, out);
        }
        [_, second, third, ..] if kind <= ONE_LINE_LAST => {
            let next = 0x80 | ONE_LINE_FIRST << 3;
            repeat([first, second, third], [next, second, third], units, out);
        }
        [_, second, third, fourth, fifth, ..]
            if kind == LONG && (second | third | fourth | fifth) < MORE =>
        {
            let entry = [first, second, third, fourth, fifth];
            repeat(entry, [first, 0, third, fourth, fifth], units, out);
        }
        _ => {
            // The change of the line comes first, if there is one.
            let (lines, integers) = match kind {
                NOTHING => (0, 0),
                NO_COLUMNS => (1, 1),
                _ => (1, 4),
            };
            let end = 1 + varints(&entries[1..], integers);
            let mut from = 1;
            while units > 0 {
                let now = units.min(8);
                out.push(first | byte_of(now - 1));
                if lines > 0 && from > 1 {
                    out.push(0);
                }
                append(out, entries, from, end);
                from = 1 + varints(&entries[1..], lines);
                units -= now;
            }
        }
    }
}

/// Writes an entry, and another one as often as it takes to cover so many units.
#[inline]
fn repeat<const N: usize>(entry: [u8; N], next: [u8; N], mut units: u32, out: &mut Vec<u8>) {
    let mut entry = entry;
    while units > 8 {
        entry[0] |= 7;
        out.extend_from_slice(&entry);
        entry = next;
        units -= 8;
    }
    if units > 0 {
        entry[0] |= byte_of(units - 1);
        out.extend_from_slice(&entry);
    }
}

/// The length of so many integers.
fn varints(bytes: &[u8], count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    if let Some(few) = bytes.first_chunk() {
        // The bytes that end one have a bit here.
        let mut ends = !u64::from_le_bytes(*few) & u64::from_le_bytes([MORE; 8]);
        for _ in 1..count {
            ends &= ends.wrapping_sub(1);
        }
        if ends != 0 {
            return ends.trailing_zeros() as usize / 8 + 1;
        }
    }
    let ends = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & MORE == 0);
    ends.map(|(at, _)| at + 1)
        .nth(count - 1)
        .unwrap_or(bytes.len())
}
