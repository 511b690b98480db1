//! Copies of a few bytes, of which instrumentation makes very many.

/// Copies of up to so many bytes have a fixed size.
const FEW: usize = 32;

/// Appends `source[from..to]`. A few bytes are copied as [`FEW`] where there are as many, and
/// what is too much is cut off again: that is cheaper than to call for a copy of any size.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, source: &[u8], from: usize, to: usize) {
    let length = to - from;
    let few = source
        .get(from..)
        .and_then(|rest| rest.first_chunk::<FEW>());
    match few {
        Some(few) if length <= FEW => {
            let end = out.len() + length;
            out.extend_from_slice(few);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&source[from..to]),
    }
}
