//! Any bytes as a single-entry file, as they come and with head and listing checksum mended.

#![no_main]

use cache::{Key, entry};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let _ = entry::read_origin(bytes);
    if let Ok(entry) = entry::read_file(Box::new(bytes.to_vec()), &Key::from_bytes([0; 32])) {
        assert!(entry.code().len() + entry.sites().len() <= bytes.len());
    }
}

/// Lets the input past the checks that random bytes never pass.
fn mend(bytes: &mut [u8]) {
    let Some(content) = bytes.len().checked_sub(64) else {
        return;
    };
    bytes[..16].copy_from_slice(b"DPRENTRY\x01\0\x02\x01\0\0\0\0");
    bytes[28..32].fill(0);
    let (code, sites) = (usize::from(bytes[16]), usize::from(bytes[20]));
    let used = code.next_multiple_of(16) + sites;
    let listing = content.saturating_sub(used);
    for (at, len) in [(16, code), (20, sites), (24, listing)] {
        bytes[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    }
    let sum = blake3::hash(&bytes[bytes.len() - listing..]);
    bytes[48..64].copy_from_slice(&sum.as_bytes()[..16]);
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    read(&mended);
});
