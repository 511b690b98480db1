//! Any bytes as an archive, as they come and with header and seal made to match, with and without
//! a key.

#![no_main]

use cache::archive::{Archive, Demand, SigningKey};
use cache::entry::write_head;
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 72;
const LIMIT: u64 = 1 << 22;

fn read(bytes: &[u8], key: Option<&SigningKey>) {
    let demand = Demand {
        digest: None,
        key,
        max_len: LIMIT,
    };
    let Ok(archive) = Archive::open(&bytes, &demand) else {
        return;
    };
    let mut entries = archive.entries().expect("it opened before");
    let mut total = 0;
    while let Ok(Some((row, parts))) = entries.read_next() {
        assert_eq!(
            row.body_len(),
            (parts.code.len() + parts.sites.len()) as u64
        );
        total += row.body_len();
    }
    assert!(total <= LIMIT);
}

/// Lets the input past the checks that random bytes never pass: the first byte splits the rest
/// into the two frames, what follows it are the announced lengths.
fn mend(bytes: &[u8], key: Option<&SigningKey>, secret: &[u8; 32]) -> Vec<u8> {
    let Some((split, rest)) = bytes.split_first() else {
        return Vec::new();
    };
    let (lengths, frames) = rest.split_at(rest.len().min(6));
    let length = |index: usize| {
        let byte = |at: usize| lengths.get(at).copied().unwrap_or_default();
        u64::from(u16::from_le_bytes([byte(index), byte(index + 1)]))
    };
    let bodies = frames.len() * usize::from(*split) / 256;
    let mut file = write_head(*b"DPRARCH\0").to_vec();
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&u32::from(key.is_some()).to_le_bytes());
    let numbers = [
        length(0) % 8,
        bodies as u64,
        length(2),
        (frames.len() - bodies) as u64,
        length(4),
    ];
    for number in numbers {
        file.extend_from_slice(&number.to_le_bytes());
    }
    let sum = blake3::hash(&file);
    file.extend_from_slice(&sum.as_bytes()[..8]);
    assert_eq!(file.len(), HEADER);
    file.extend_from_slice(frames);
    if key.is_some() {
        let signature = blake3::keyed_hash(secret, &file);
        file.extend_from_slice(signature.as_bytes());
    }
    let digest = blake3::hash(&file);
    file.extend_from_slice(digest.as_bytes());
    file
}

fuzz_target!(|bytes: &[u8]| {
    let secret = [0x11; 32];
    let key = SigningKey::from_text("11".repeat(32).as_bytes()).expect("a key");
    for key in [None, Some(&key)] {
        read(bytes, key);
        read(&mend(bytes, key, &secret), key);
        read(&mend(bytes, key, &secret), None);
    }
});
