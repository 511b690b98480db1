//! Loose entries survive a round trip, and what is damaged is refused.

use proptest::prelude::*;

use super::{Origin, Parts, checksum, read_file, read_origin, write_file};
use crate::error::FormatError;
use crate::key::{Key, SourceHash};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_reads_back(
        key in any::<[u8; 32]>(),
        other in any::<[u8; 32]>(),
        code in proptest::collection::vec(any::<u8>(), 0..300),
        sites in proptest::collection::vec(any::<u8>(), 0..60),
        labels in any::<[String; 4]>(),
        source in any::<[u8; 32]>(),
    ) {
        let key = Key::from_bytes(key);
        let [path, engine, python, variant] = labels;
        let source = SourceHash::from_bytes(source);
        let origin = Origin { path, source, engine, python, variant };
        let parts = Parts { code: &code, sites: &sites };
        let file = write_file(&key, parts, &origin).expect("fits");
        let entry = read_file(Box::new(file.clone()), &key).expect("sound");
        prop_assert_eq!(entry.code(), &code[..]);
        prop_assert_eq!(entry.sites(), &sites[..]);
        prop_assert_eq!(read_origin(&file), Ok(origin));
        if other != *key.as_bytes() {
            let read = read_file(Box::new(file), &Key::from_bytes(other));
            prop_assert_eq!(read.err(), Some(FormatError::Entry));
        }
    }
}

/// When this fails, stored entries would be lost: raise `FORMAT_VERSION` with the change.
#[test]
fn the_checksum_of_a_version_stays_what_it_is() {
    let key = Key::from_bytes([7; 32]);
    let sum = |code, sites| u128::from_le_bytes(checksum(&key, Parts { code, sites }));
    // From another implementation of XXH3.
    assert_eq!(sum(b"", b""), 0x0822_0ffd_8c22_d29e_e8f8_ed95_269a_9968);
    assert_eq!(
        sum(&[1; 1000], b"sites"),
        0xc222_ec5c_85f0_a338_b506_fe70_2e76_af5d
    );
    assert_ne!(sum(b"ab", b""), sum(b"a", b"b"));
}
