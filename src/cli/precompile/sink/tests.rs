//! Packs that are put in place while others are written, and what is told when one cannot be.

use std::path::Path;

use cache::{Access, Build, KeyHasher, ProbeDigest, ProbeSet, SourceHash, Trust};

use super::*;
use crate::variant::Placement;

const BUILD: Build<'_> = Build {
    engine: "1.0",
    magic: 3571,
    cache_tag: "cpython-313",
    abi_flags: "",
    optimize: 0,
    debug_ranges: true,
};

fn open(root: &Path) -> Store {
    Store::open(root, &BUILD.tag(), Access::ReadWrite, &Trust::default()).expect("opens")
}

fn stored(number: usize) -> Stored {
    let source = SourceHash::of(&number.to_le_bytes());
    let key = KeyHasher::new(&BUILD).key(&source, &ProbeDigest::of(ProbeSet::EveryLine));
    Stored {
        key,
        variant: Variant {
            code: number.to_le_bytes().repeat(100),
            placement: Placement::default(),
        },
        origin: Origin {
            path: format!("/src/module_{number}.py"),
            source,
            engine: "1.0".to_owned(),
            python: "CPython 3.13.0".to_owned(),
            variant: "every line".to_owned(),
        },
    }
}

#[test]
fn what_went_to_any_of_many_packs_is_in_place_at_the_end() {
    let scene = tempfile::tempdir().expect("temporary directory");
    let store = open(&scene.path().join("store"));
    let sink = Sink::with_packs_of(&store, 3000);
    thread::scope(|scope| {
        for part in 0..2 {
            let sink = &sink;
            scope.spawn(move || {
                for number in (0..50).filter(|number| number % 2 == part) {
                    sink.add(number, vec![stored(number)]);
                }
            });
        }
    });
    assert_eq!(sink.finish(), HashMap::new());
    for number in 0..50 {
        let Stored { key, variant, .. } = stored(number);
        let entry = store.get(&key).hit().expect("is stored");
        assert_eq!(entry.code(), variant.code);
    }
    assert!(store.n_packs() > 5);
}

#[test]
fn files_of_a_pack_that_cannot_be_put_in_place_are_told_and_those_after_it() {
    let scene = tempfile::tempdir().expect("temporary directory");
    let root = scene.path().join("store");
    let store = open(&root);
    let sink = Sink::with_packs_of(&store, 3000);
    sink.add(0, vec![stored(0)]);
    let packs = root.join("v2").join(BUILD.tag().as_str()).join("packs");
    std::fs::remove_dir_all(packs).expect("removes");
    for number in 1..20 {
        sink.add(number, vec![stored(number)]);
    }
    assert!(sink.broken().is_some());
    let lost = sink.finish();
    for number in 0..20 {
        let reason = lost.get(&number).expect("is told");
        assert!(
            reason.contains("was not stored") && reason.contains("--cache-dir"),
            "{reason}"
        );
    }
}
