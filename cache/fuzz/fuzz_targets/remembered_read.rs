//! Any bytes as remembered lines, as they come and with head and digest made to match.

#![no_main]

use cache::entry::write_head;
use cache::remembered::decode;
use libfuzzer_sys::fuzz_target;

const HEADER_LEN: usize = 32;

/// Lets the input past the checks that random bytes never pass.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    bytes[..16].copy_from_slice(&write_head(*b"DPRLINES"));
    let sum = blake3::hash(&bytes[HEADER_LEN..]);
    bytes[16..HEADER_LEN].copy_from_slice(&sum.as_bytes()[..16]);
}

fuzz_target!(|bytes: &[u8]| {
    assert!(
        decode(bytes).is_err(),
        "no random body has a matching digest"
    );
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    if let Ok(sets) = decode(&mended) {
        let lines: usize = sets.iter().map(|set| set.lines.len()).sum();
        assert!(lines <= bytes.len(), "more lines than bytes");
    }
});
