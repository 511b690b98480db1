//! A key changes with each of its inputs and with nothing else.

use std::collections::HashSet;

use super::{Build, Key, KeyHasher, ProbeDigest, ProbeSet, SourceHash, Tag};

const BUILD: Build<'_> = Build {
    engine: "1.2.3",
    magic: 3571,
    cache_tag: "cpython-313",
    abi_flags: "",
    optimize: 0,
    debug_ranges: true,
};

fn key(build: &Build<'_>, source: &[u8], probes: ProbeSet<'_>) -> Key {
    KeyHasher::new(build).key(&SourceHash::of(source), &ProbeDigest::of(probes))
}

#[test]
fn every_input_changes_the_key() {
    let other = [
        Build {
            engine: "1.2.4",
            ..BUILD
        },
        Build {
            magic: 3572,
            ..BUILD
        },
        Build {
            cache_tag: "cpython-314",
            ..BUILD
        },
        Build {
            abi_flags: "t",
            ..BUILD
        },
        Build {
            optimize: 1,
            ..BUILD
        },
        Build {
            debug_ranges: false,
            ..BUILD
        },
    ];
    let mut keys: Vec<Key> = other
        .iter()
        .map(|build| key(build, b"x = 1", ProbeSet::EveryLine))
        .collect();
    keys.push(key(&BUILD, b"x = 1", ProbeSet::EveryLine));
    keys.push(key(&BUILD, b"x = 2", ProbeSet::EveryLine));
    for probes in [
        ProbeSet::Plain,
        ProbeSet::Lines(&[]),
        ProbeSet::Lines(&[1]),
        ProbeSet::Lines(&[1, 2]),
        ProbeSet::Described(b""),
        ProbeSet::Described(&[1, 0, 0, 0]),
    ] {
        keys.push(key(&BUILD, b"x = 1", probes));
    }
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
}

#[test]
fn neighbouring_inputs_do_not_run_together() {
    let a = Build {
        cache_tag: "cpython-313",
        abi_flags: "t",
        ..BUILD
    };
    let b = Build {
        cache_tag: "cpython-313t",
        abi_flags: "",
        ..BUILD
    };
    assert_ne!(key(&a, b"", ProbeSet::Plain), key(&b, b"", ProbeSet::Plain));
}

#[test]
fn order_and_repetition_of_lines_do_not_matter() {
    let digest = |lines| ProbeDigest::of(ProbeSet::Lines(lines));
    assert_eq!(digest(&[3, 1, 3, 2]), digest(&[1, 2, 3]));
}

/// When this fails, stored entries would be lost: raise `FORMAT_VERSION` with the change.
#[test]
fn the_key_of_a_version_stays_what_it_is() {
    let found = key(&BUILD, b"x = 1\n", ProbeSet::Lines(&[1])).to_string();
    assert_eq!(
        found,
        "c6d69721516e274392cf6116c3cafe7963b38d5e1029f82e1ba7bf3015a91c39"
    );
}

#[test]
fn hexadecimal_reads_back() {
    let key = key(&BUILD, b"", ProbeSet::Plain);
    assert_eq!(Key::from_hex(&key.to_string()), Some(key));
    let upper = key.to_string().to_uppercase();
    for text in ["", "00", upper.as_str(), &"g".repeat(64), &"0".repeat(65)] {
        assert_eq!(Key::from_hex(text), None, "{text}");
    }
}

#[test]
fn tags_are_plain_directory_names() {
    assert_eq!(BUILD.tag().as_str(), "cpython-313-3571");
    for hostile in ["../../etc", "a/b", "\0", "..", "é"] {
        let name = Tag::new(hostile, 1);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(name.as_str().chars().all(plain), "{name}");
    }
}

#[test]
fn names_of_directories_are_read_as_they_are_written() {
    for (cache_tag, magic) in [("cpython-313", 3571), ("odd tag!", 0), ("a-b-c", u16::MAX)] {
        let tag = Tag::new(cache_tag, magic);
        assert_eq!(Tag::from_name(tag.as_str()), Some(tag.clone()));
        assert_eq!(tag.magic(), Some(magic));
    }
    for name in [
        "",
        "memo",
        "-1",
        "cpython-313-",
        "cpython-313-03571",
        "cpython-313-+571",
        "cpython-313-99999",
        "cpython/313-1",
        "..-1",
    ] {
        assert_eq!(Tag::from_name(name), None, "{name}");
    }
}
