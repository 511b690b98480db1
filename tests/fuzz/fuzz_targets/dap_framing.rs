//! The decoder of what a client sends: any stream, arriving in any pieces.
//!
//! The pieces make no difference, what was encoded is decoded, and a stream that is refused stays
//! refused whatever follows.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/dap/framing.rs"]
#[allow(dead_code, reason = "a target uses a part of it")]
mod framing;

use framing::{Decoder, FramingError, encode};

fn all<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<FramingError>) {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&step, stream)) = data.split_first() else {
        return;
    };
    let step = usize::from(step).max(1);
    let whole = all(std::iter::once(stream));
    let pieces = all(stream.chunks(step));
    assert_eq!(whole.0, pieces.0, "in pieces of {step}");
    // A header that is too long may be known to be none before its end is.
    assert_eq!(whole.1.is_some(), pieces.1.is_some(), "in pieces of {step}");
    let (mut again, error) = all(std::iter::once(encode(stream).as_slice()));
    assert_eq!((again.pop().as_deref(), again.len(), error), (Some(stream), 0, None));
});
