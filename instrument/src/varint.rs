//! The two variable-length integers of code objects: six bits a byte, bit 6 means "more".
//!
//! The line table writes the low bits first, the exception table the high bits first
//! (`InternalDocs/code_objects.md`, `InternalDocs/exception_handling.md` in CPython).
//! Example: 200 is `48 03` in the line table and `43 08` in the exception table.

/// Set in every byte but the last one of an integer.
pub(crate) const MORE: u8 = 0x40;
const BITS: u8 = 0x3f;

/// Reads a line table integer at `*at`; `None` when cut short or beyond 32 bits.
#[inline]
pub(crate) fn read_little(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let &byte = bytes.get(*at)?;
    if byte < MORE {
        *at += 1;
        return Some(u32::from(byte));
    }
    if let Some(&second) = bytes.get(*at + 1)
        && byte < 0x80
        && second < MORE
    {
        *at += 2;
        return Some(u32::from(byte & BITS) | u32::from(second) << 6);
    }
    read_long(bytes, at)
}

fn read_long(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0u32;
    let mut shift = 0;
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let group = u32::from(byte & BITS);
        if byte & 0x80 != 0 || shift > 30 || group << shift >> shift != group {
            return None;
        }
        value |= group << shift;
        if byte & MORE == 0 {
            return Some(value);
        }
        shift += 6;
    }
}

/// Reads a signed line table integer: the sign is the lowest bit.
#[inline]
pub(crate) fn read_signed(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let value = read_little(bytes, at)?;
    let magnitude = i32::try_from(value >> 1).ok()?;
    Some(if value & 1 == 0 {
        magnitude
    } else {
        -magnitude
    })
}

/// Appends a line table integer.
pub(crate) fn write_little(out: &mut Vec<u8>, mut value: u32) {
    while value >= u32::from(MORE) {
        out.push(low_bits(value) | MORE);
        value >>= 6;
    }
    out.push(low_bits(value));
}

/// Appends a signed line table integer.
pub(crate) fn write_signed(out: &mut Vec<u8>, value: i32) {
    let sign = u32::from(value < 0);
    write_little(out, value.unsigned_abs() << 1 | sign);
}

/// Reads an exception table integer at `*at`. `first` says whether it starts an entry,
/// which alone has bit 7 set.
pub(crate) fn read_big(bytes: &[u8], at: &mut usize, first: bool) -> Option<u32> {
    let mut value = 0u32;
    let mut start = first;
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if (byte & 0x80 != 0) != start || value >> 26 != 0 {
            return None;
        }
        start = false;
        value = value << 6 | u32::from(byte & BITS);
        if byte & MORE == 0 {
            return Some(value);
        }
    }
}

/// Appends an exception table integer.
pub(crate) fn write_big(out: &mut Vec<u8>, value: u32, first: bool) {
    let groups = (u32::BITS - value.leading_zeros()).div_ceil(6).max(1);
    let mut mark = if first { 0x80 } else { 0 };
    for group in (0..groups).rev() {
        let more = if group > 0 { MORE } else { 0 };
        out.push(low_bits(value >> (6 * group)) | more | mark);
        mark = 0;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "masked to six bits")]
fn low_bits(value: u32) -> u8 {
    (value & u32::from(BITS)) as u8
}

#[cfg(test)]
mod tests;
