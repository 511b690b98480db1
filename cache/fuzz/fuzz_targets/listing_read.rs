//! Any bytes as a listing: alone in a single-entry file, and after a table of a few rows.

#![no_main]

use cache::Pack;
use cache::entry::{self, write_head};
use libfuzzer_sys::fuzz_target;

fn single(listing: &[u8]) -> Vec<u8> {
    let mut file = write_head(*b"DPRENTRY").to_vec();
    for len in [0, 0, listing.len() as u32, 0] {
        file.extend_from_slice(&len.to_le_bytes());
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&blake3::hash(listing).as_bytes()[..16]);
    file.extend_from_slice(listing);
    file
}

fn pack(rows: u32, listing: &[u8]) -> Vec<u8> {
    let table = vec![0; rows as usize * 64];
    let listing_at = 64 + table.len() as u64;
    let mut file = write_head(*b"DPRPACK\0").to_vec();
    file.extend_from_slice(&rows.to_le_bytes());
    file.extend_from_slice(&64_u32.to_le_bytes());
    for number in [64, listing_at, listing_at + 16 + listing.len() as u64] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(&blake3::hash(&table).as_bytes()[..8]);
    let sum = blake3::hash(&file);
    file.extend_from_slice(&sum.as_bytes()[..8]);
    file.extend_from_slice(&table);
    file.extend_from_slice(&blake3::hash(listing).as_bytes()[..16]);
    file.extend_from_slice(listing);
    file
}

fuzz_target!(|bytes: &[u8]| {
    let Some((rows, listing)) = bytes.split_first() else {
        return;
    };
    let _ = entry::read_origin(&single(listing));
    let rows = u32::from(rows % 5);
    let opened = Pack::from_bytes(Box::new(pack(rows, listing))).expect("the rest is sound");
    if let Ok(origins) = opened.origins() {
        assert_eq!(origins.len(), rows as usize);
    }
});
