//! Any bytes as a pack, as they come and with all checksums made to match.

#![no_main]

use cache::entry::{checksum, write_head};
use cache::pack::salvage;
use cache::{Key, Pack, Parts};
use libfuzzer_sys::fuzz_target;

fn read(bytes: Vec<u8>) {
    let most = bytes.len() / 64;
    let salvaged = salvage(Box::new(bytes.clone()));
    assert!(salvaged.sound.len() <= most);
    let Ok(pack) = Pack::from_bytes(Box::new(bytes)) else {
        return;
    };
    for key in pack.keys() {
        if let Some(Ok(entry)) = pack.get(&key) {
            assert!(entry.code().len() + entry.sites().len() < 1 << 24);
        }
    }
    let _ = pack.origins();
    let _ = pack.damage();
}

/// Points the row to two short parts somewhere in the file.
fn mend_row(bytes: &mut [u8], row: usize) {
    let key: [u8; 32] = std::array::from_fn(|i| bytes[row + i]);
    let at = usize::from(bytes[row + 32]) * 16;
    let (code, sites) = (usize::from(bytes[row + 40]), usize::from(bytes[row + 44]));
    let sites_at = at + code.next_multiple_of(16);
    let parts = (
        bytes.get(at..at + code),
        bytes.get(sites_at..sites_at + sites),
    );
    let (Some(code), Some(sites)) = parts else {
        return;
    };
    let sum = checksum(&Key::from_bytes(key), Parts { code, sites });
    let (code, sites) = (code.len() as u32, sites.len() as u32);
    bytes[row + 32..row + 40].copy_from_slice(&(at as u64).to_le_bytes());
    bytes[row + 40..row + 44].copy_from_slice(&code.to_le_bytes());
    bytes[row + 44..row + 48].copy_from_slice(&sites.to_le_bytes());
    bytes[row + 48..row + 64].copy_from_slice(&sum);
}

/// Lets the input past the checks that random bytes never pass.
fn mend(bytes: &mut [u8]) {
    let len = bytes.len() as u64;
    if len < 64 {
        return;
    }
    bytes[..16].copy_from_slice(&write_head(*b"DPRPACK\0"));
    bytes[20..24].copy_from_slice(&64_u32.to_le_bytes());
    bytes[40..48].copy_from_slice(&len.to_le_bytes());
    let at = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    let table = at(&bytes[24..32]) % len;
    let count = u64::from(bytes[16]) % (len / 64);
    let listing = table + count * 64;
    bytes[16..20].copy_from_slice(&(count as u32).to_le_bytes());
    bytes[24..32].copy_from_slice(&table.to_le_bytes());
    bytes[32..40].copy_from_slice(&listing.to_le_bytes());
    let (table, listing) = (table as usize, listing as usize);
    if table >= 64 && listing <= bytes.len() {
        for row in (table..listing).step_by(64) {
            mend_row(bytes, row);
        }
        let sum = blake3::hash(&bytes[table..listing]);
        bytes[48..56].copy_from_slice(&sum.as_bytes()[..8]);
    }
    if listing + 16 <= bytes.len() {
        let sum = blake3::hash(&bytes[listing + 16..]);
        bytes[listing..listing + 16].copy_from_slice(&sum.as_bytes()[..16]);
    }
    let sum = blake3::hash(&bytes[..56]);
    bytes[56..64].copy_from_slice(&sum.as_bytes()[..8]);
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes.to_vec());
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    read(mended);
});
