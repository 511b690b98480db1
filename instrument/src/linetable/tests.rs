//! Generated tables come back unit for unit, whichever way runs are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Decoder, Location, alike};
use crate::fuzzing::{self, entries, units, write_linetable};

/// Locations that choose each of the entry kinds, at their edges too.
fn location() -> impl Strategy<Value = Location> {
    let line = prop_oneof![
        8 => 1..60i32,
        1 => 0..1_000_000i32,
        1 => Just(i32::MAX - 1_000_000),
    ];
    let column = prop_oneof![0..6i32, 70..90i32, 120..135i32, 0..100_000i32];
    let width = prop_oneof![0..20i32, 0..200i32, 0..100_000i32];
    let lines = prop_oneof![3 => Just(0), 1 => 0..4i32, 1 => 0..100_000i32];
    prop_oneof![
        1 => Just(Location::NONE),
        2 => (line.clone(), lines.clone()).prop_map(|(line, lines)| Location {
            line,
            end_line: line + lines,
            column: -1,
            end_column: -1,
        }),
        9 => (line, lines, column, width, any::<bool>()).prop_map(
            |(line, lines, column, width, back)| Location {
                line,
                end_line: line + lines,
                column,
                // Where it ends on another line, or in odd code, it may end further left.
                end_column: if back { (column - width).max(0) } else { column + width },
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn entries_that_are_alike_say_the_same(
        (like, other) in (location(), location()),
        same: bool,
        (units, covered) in (1..40u32, 1..20u32),
        first_line in prop_oneof![-5..50i32, Just(1_000_000)],
        change in proptest::option::of((0..12usize, 0..8u8)),
    ) {
        let known = write_linetable(true, first_line, &[(units, like), (8, other)]);
        let other = if same { like } else { other };
        let mut bytes = write_linetable(true, first_line, &[(covered, other), (8, like)]);
        if let Some((at, bit)) = change {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let like = Decoder::new(&known, first_line).entry().expect("an entry").1;
        if let Some(behind) = alike(&bytes, &known, covered) {
            let length = bytes.len() - behind.len();
            let read = entries(&bytes[..length], first_line).expect("it can be read");
            prop_assert_eq!(fuzzing::units(&read), vec![like; covered as usize]);
        }
    }

    #[test]
    fn tables_come_back(
        table in vec((1..40u32, location()), 0..30),
        first_line in prop_oneof![-5..50i32, Just(1_000_000)],
        merges: bool,
    ) {
        let bytes = write_linetable(merges, first_line, &table);
        let read = entries(&bytes, first_line);
        prop_assert!(read.is_some(), "{:x?}", bytes);
        let read = read.unwrap_or_default();
        prop_assert_eq!(units(&read), units(&table));
        prop_assert!(read.iter().all(|&(units, _)| (1..=8).contains(&units)));
    }

    #[test]
    fn any_bytes_hold_the_promise(bytes: Vec<u8>) {
        fuzzing::linetable(&bytes);
    }

    #[test]
    fn any_entries_hold_the_promise(mut bytes in vec(0x80u8.., 0..30), more: Vec<u8>) {
        bytes.extend(more);
        fuzzing::linetable(&bytes);
    }
}

fn on_line(line: i32, column: i32, end_column: i32) -> Location {
    Location {
        line,
        end_line: line,
        column,
        end_column,
    }
}

#[test]
fn each_kind_of_entry() {
    let long = Location {
        line: 3,
        end_line: 5,
        column: 2,
        end_column: 1,
    };
    let cases: [(Location, u32, &[u8]); 8] = [
        (on_line(1, 4, 9), 1, &[0x80, 0x45]),
        (on_line(1, 79, 94), 2, &[0xc9, 0x7f]),
        (on_line(1, 80, 94), 1, &[0xd0, 80, 94]),
        (on_line(2, 4, 9), 1, &[0xd8, 4, 9]),
        (on_line(3, 4, 9), 8, &[0xe7, 4, 9]),
        (on_line(0, -1, -1), 1, &[0xe8, 0x03]),
        (long, 1, &[0xf0, 0x04, 0x02, 0x03, 0x02]),
        (Location::NONE, 3, &[0xfa]),
    ];
    for (location, units, bytes) in cases {
        let written = write_linetable(true, 1, &[(units, location)]);
        assert_eq!(written, bytes, "{location:?}");
        let read = entries(bytes, 1);
        assert_eq!(read, Some(vec![(units, location)]));
    }
}

#[test]
fn runs_are_cut_at_eight_units() {
    let (a, b) = (on_line(1, 0, 3), on_line(2, 0, 3));
    let table = [(6, a), (6, a), (1, b)];
    let merged = write_linetable(true, 1, &table);
    let cut = |bytes: &[u8]| -> Vec<u32> {
        let read = entries(bytes, 1).unwrap_or_default();
        read.iter().map(|&(units, _)| units).collect()
    };
    assert_eq!(cut(&merged), [8, 4, 1]);
    // Up to 3.11 each instruction has an entry.
    let separate = write_linetable(false, 1, &table);
    assert_eq!(cut(&separate), [6, 6, 1]);
}

#[test]
fn what_is_no_table_is_refused() {
    let refused: [&[u8]; 9] = [
        // No first byte, cut short, a line below zero, columns by half, numbers beyond 32 bits.
        &[0x00],
        &[0x80],
        &[0xd0, 1],
        &[0xe8],
        &[0xe8, 0x05],
        &[0xf0, 0x00, 0x00, 0x01],
        &[0xf0, 0x00, 0x00, 0x00, 0x05],
        &[0xf0, 0x00, 0x00, 0x05, 0x00],
        &[0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f],
    ];
    for bytes in refused {
        let mut decoder = Decoder::new(bytes, 1);
        assert_eq!(decoder.entry(), None, "{bytes:x?}");
    }
}
