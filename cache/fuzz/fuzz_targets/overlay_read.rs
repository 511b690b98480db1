//! Any bytes as a single-entry file, as they come and with head and checksums mended.

#![no_main]

use cache::entry::{self, checksum, write_head};
use cache::{Key, Parts};
use libfuzzer_sys::fuzz_target;

const KEY: Key = Key::from_bytes([0; 32]);

fn read(bytes: &[u8]) {
    let _ = entry::read_origin(bytes);
    if let Ok(entry) = entry::read_file(Box::new(bytes.to_vec()), &KEY) {
        assert!(entry.code().len() + entry.sites().len() <= bytes.len());
    }
}

/// Lets the input past the checks that random bytes never pass.
fn mend(bytes: &mut [u8]) {
    let Some(content) = bytes.len().checked_sub(64) else {
        return;
    };
    bytes[..16].copy_from_slice(&write_head(*b"DPRENTRY"));
    bytes[28..32].fill(0);
    let (code, sites) = (usize::from(bytes[16]), usize::from(bytes[20]));
    let used = code.next_multiple_of(16) + sites;
    let listing = content.saturating_sub(used);
    for (at, len) in [(16, code), (20, sites), (24, listing)] {
        bytes[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    }
    let sum = blake3::hash(&bytes[bytes.len() - listing..]);
    bytes[48..64].copy_from_slice(&sum.as_bytes()[..16]);
    let sites_at = 64 + code.next_multiple_of(16);
    if let (Some(code), Some(sites)) = (
        bytes.get(64..64 + code),
        bytes.get(sites_at..sites_at + sites),
    ) {
        let sum = checksum(&KEY, Parts { code, sites });
        bytes[32..48].copy_from_slice(&sum);
    }
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    read(&mended);
});
