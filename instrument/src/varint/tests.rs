//! Both integers: known bytes, every value back, and what is refused.

use proptest::prelude::*;

use super::{read_big, read_little, read_signed, write_big, write_little, write_signed};

const EDGES: [u32; 10] = [
    0,
    1,
    63,
    64,
    4095,
    4096,
    (1 << 24) - 1,
    1 << 24,
    1 << 30,
    u32::MAX,
];

fn little(value: u32) -> Option<u32> {
    let mut bytes = Vec::new();
    write_little(&mut bytes, value);
    let mut at = 0;
    let read = read_little(&bytes, &mut at);
    assert_eq!(at, bytes.len());
    read
}

fn signed(value: i32) -> Option<i32> {
    let mut bytes = Vec::new();
    write_signed(&mut bytes, value);
    read_signed(&bytes, &mut 0)
}

fn big(value: u32, first: bool) -> Option<u32> {
    let mut bytes = Vec::new();
    write_big(&mut bytes, value, first);
    assert_eq!(bytes[0] & 0x80 != 0, first);
    assert!(bytes[1..].iter().all(|byte| byte & 0x80 == 0));
    let mut at = 0;
    let read = read_big(&bytes, &mut at, first);
    assert_eq!(at, bytes.len());
    read
}

#[test]
fn known_bytes() {
    let mut bytes = Vec::new();
    write_little(&mut bytes, 200);
    assert_eq!(bytes, [0x48, 0x03]);
    bytes.clear();
    write_big(&mut bytes, 200, false);
    assert_eq!(bytes, [0x43, 0x08]);
    bytes.clear();
    write_big(&mut bytes, 200, true);
    assert_eq!(bytes, [0xc3, 0x08]);
    bytes.clear();
    write_signed(&mut bytes, -3);
    assert_eq!(bytes, [0x07]);
}

#[test]
fn edges_come_back() {
    for value in EDGES {
        assert_eq!(little(value), Some(value));
        assert_eq!(big(value, false), Some(value));
        assert_eq!(big(value, true), Some(value));
    }
    for value in [0, 1, -1, 31, -32, i32::MAX, -i32::MAX] {
        assert_eq!(signed(value), Some(value));
    }
}

#[test]
fn what_is_no_integer_is_refused() {
    // Cut short, beyond 32 bits, the mark of an entry inside one.
    for bytes in [&[][..], &[0x40], &[0x7f; 6], &[0x40, 0x80], &[0x80]] {
        assert_eq!(read_little(bytes, &mut 0), None, "{bytes:?}");
    }
    for bytes in [&[][..], &[0x40], &[0x7f; 6], &[0x40, 0x80], &[0x80]] {
        assert_eq!(read_big(bytes, &mut 0, false), None, "{bytes:?}");
    }
    assert_eq!(read_big(&[0x01], &mut 0, true), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_value_comes_back(value: u32, first: bool) {
        prop_assert_eq!(little(value), Some(value));
        prop_assert_eq!(big(value, first), Some(value));
    }

    #[test]
    fn every_signed_value_comes_back(value in -i32::MAX..=i32::MAX) {
        prop_assert_eq!(signed(value), Some(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, first: bool) {
        let _ = read_little(&bytes, &mut 0);
        let _ = read_signed(&bytes, &mut 0);
        let _ = read_big(&bytes, &mut 0, first);
    }
}
