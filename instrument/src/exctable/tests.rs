//! Generated tables come back; order and marks are checked.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Handler, decode, encode};
use crate::error::Reason;
use crate::fuzzing;

fn decoded(bytes: &[u8]) -> Result<Vec<Handler>, Reason> {
    let mut handlers = Vec::new();
    decode(bytes, &mut handlers).map(|()| handlers)
}

fn encoded(handlers: &[Handler]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &handler in handlers {
        encode(handler, &mut bytes);
    }
    bytes
}

prop_compose! {
    /// Gap to the entry before, length, target, depth, lasti.
    fn table()(parts in vec((0u32..5000, 0u32..5000, any::<u32>(), 0u32..1 << 30, any::<bool>()), 0..20)) -> Vec<Handler> {
        let mut at = 0;
        parts
            .into_iter()
            .map(|(gap, length, target, depth, lasti)| {
                let start = at + gap;
                at = start + length;
                Handler { start, end: at, target, depth, lasti }
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn tables_come_back(table in table()) {
        prop_assert_eq!(decoded(&encoded(&table)), Ok(table));
    }

    #[test]
    fn any_bytes_hold_the_promise(bytes: Vec<u8>) {
        fuzzing::exctable(&bytes);
    }
}

#[test]
fn an_entry_of_cpython() {
    // 3.12, `try: f()`: units 2 to 12 go to 13 with depth 0, and lasti there.
    let handlers = [
        Handler {
            start: 2,
            end: 12,
            target: 13,
            depth: 0,
            lasti: false,
        },
        Handler {
            start: 13,
            end: 200,
            target: 201,
            depth: 1,
            lasti: true,
        },
    ];
    let bytes = [0x82, 10, 13, 0, 0x8d, 0x42, 0x3b, 0x43, 0x09, 3];
    assert_eq!(encoded(&handlers), bytes);
    assert_eq!(decoded(&bytes), Ok(handlers.to_vec()));
}

#[test]
fn what_is_no_table_is_refused() {
    let malformed = Err(Reason::BadExceptionTable);
    let good = [0x82, 10, 13, 0, 0x8d, 5, 20, 3];
    for length in [1, 2, 3, 5, 6, 7] {
        assert_eq!(decoded(&good[..length]), malformed, "{length} bytes");
    }
    let no_mark = [0x02, 10, 13, 0];
    assert_eq!(decoded(&no_mark), malformed);
    let mark_inside = [0x82, 10, 0x8d, 0];
    assert_eq!(decoded(&mark_inside), malformed);
    let overlap = [0x82, 10, 13, 0, 0x8b, 5, 20, 3];
    assert_eq!(decoded(&overlap), malformed);
}
