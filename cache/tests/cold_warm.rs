//! First run, second run, and a tree that moved.

use std::fs::File;
use std::time::{Duration, SystemTime};

use cache::{Counter, Limits, Lookup, MissReason, SourceHash, Stamp};

use crate::scene::{Scene, has, key, later, origin, put, write_pack};

#[test]
fn cold_misses_and_warm_hits() {
    let scene = Scene::new();
    let store = scene.open();
    assert!(matches!(
        store.get(&key(1)),
        Lookup::Miss(MissReason::Absent)
    ));
    assert!(!store.contains(&key(1)));
    write_pack(&store, 0..100);
    put(&store, 200).expect("stored");
    for store in [store, scene.open()] {
        assert!((0..100).all(|n| has(&store, n)) && has(&store, 200));
        assert!(store.contains(&key(5)) && store.contains(&key(200)));
        assert!(!has(&store, 300));
        let counts = store.counts();
        assert_eq!(
            (
                counts.get(Counter::PackHit),
                counts.get(Counter::OverlayHit)
            ),
            (100, 1)
        );
        assert_eq!(counts.hits(), 101);
    }
    let store = scene.open();
    assert_eq!(store.list().len(), 101);
    assert!(
        store
            .list()
            .iter()
            .any(|listed| listed.origin == origin(200))
    );
    assert!(store.damage().is_empty(), "{:?}", store.damage());
}

#[test]
fn a_moved_store_serves_the_same_entries() {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, 0..10);
    put(&store, 10).expect("stored");
    drop(store);
    let elsewhere = scene.path().join("elsewhere");
    std::fs::rename(scene.root(), &elsewhere).expect("moves");
    let store = crate::scene::open(&elsewhere, cache::Access::ReadOnly);
    assert!((0..=10).all(|n| has(&store, n)));
}

#[test]
fn an_entry_outlives_its_store_and_its_file() {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, [1]);
    let entry = store.get(&key(1)).hit().expect("stored");
    drop(store);
    std::fs::remove_dir_all(scene.root()).expect("removes");
    assert_eq!(entry.code(), crate::scene::code(1));
}

#[test]
fn the_store_is_kept_out_of_backups_and_commits() {
    let scene = Scene::new();
    scene.open();
    let version = scene.root().join("v2");
    let marker = std::fs::read_to_string(version.join("CACHEDIR.TAG")).expect("reads");
    assert!(marker.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    assert_eq!(
        std::fs::read_to_string(version.join(".gitignore")).expect("reads"),
        "*\n"
    );
    // The root may be a directory that holds other things.
    assert_eq!(std::fs::read_dir(scene.root()).expect("lists").count(), 1);
}

#[test]
fn a_settled_source_is_remembered_and_an_edit_noticed() {
    let scene = Scene::new();
    let path = scene.path().join("module.py");
    std::fs::write(&path, "x = 1\n").expect("writes");
    let hash = SourceHash::of(b"x = 1\n");
    let now = || Stamp::of(&std::fs::metadata(&path).expect("stat"));
    let stamp = || later(now());

    let store = scene.open();
    store.memo_put(&path, &now(), &hash);
    assert_eq!(store.memo_get(&path, &now()), None, "written just now");

    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let touch = |time| {
        File::open(&path)
            .and_then(|f| f.set_modified(time))
            .expect("touches");
    };
    touch(hour_ago);
    store.memo_put(&path, &now(), &hash);
    assert_eq!(store.memo_get(&path, &now()), None, "changed just now");
    store.memo_put(&path, &stamp(), &hash);
    assert_eq!(store.memo_get(&path, &stamp()), Some(hash));
    drop(store);
    let store = scene.open();
    assert_eq!(store.memo_get(&path, &stamp()), Some(hash));

    // Same size, and an edit in the past: only the time tells.
    std::fs::write(&path, "x = 2\n").expect("writes");
    touch(hour_ago + Duration::from_millis(1));
    assert_eq!(store.memo_get(&path, &stamp()), None);
    // Same size, and the very same time: only the change of the inode tells.
    touch(hour_ago);
    assert_eq!(store.memo_get(&path, &stamp()), None);
    let counts = store.counts();
    assert_eq!(
        (counts.get(Counter::MemoHit), counts.get(Counter::MemoMiss)),
        (1, 2)
    );
}

#[test]
fn eviction_takes_what_was_not_used_for_longest() {
    let scene = Scene::new();
    let store = scene.open();
    for number in 0..20 {
        put(&store, number).expect("stored");
    }
    let age = |number: u32, days: u64| {
        let hex = key(number).to_string();
        let file = scene
            .overlay()
            .join(&hex[..2])
            .join(format!("{}.entry", &hex[2..]));
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        File::open(file)
            .and_then(|f| f.set_modified(time))
            .expect("ages");
    };
    (0..10).for_each(|n| age(n, 60));
    (10..15).for_each(|n| age(n, 30));
    assert!(has(&store, 3), "this use makes it young");

    let none = store.evict(&Limits::default()).expect("evicts");
    assert_eq!((none.files, none.bytes), (0, 0));
    let limits = Limits {
        max_age: Some(Duration::from_secs(40 * 24 * 60 * 60)),
        max_bytes: None,
    };
    assert_eq!(store.evict(&limits).expect("evicts").files, 9);
    let left: Vec<u32> = (0..20).filter(|n| store.contains(&key(*n))).collect();
    assert_eq!(left, [3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);

    let total = none.remaining;
    let limits = Limits {
        max_bytes: Some(total / 4),
        max_age: None,
    };
    let removal = store.evict(&limits).expect("evicts");
    assert!(
        removal.remaining <= total / 4 && removal.remaining > 0,
        "{removal:?}"
    );
    assert!(!store.contains(&key(12)), "the oldest goes first");
    assert!(
        store
            .evict(&Limits {
                max_bytes: Some(0),
                max_age: None
            })
            .is_ok()
    );
    assert!((0..20).all(|n| !has(&store, n)));
}

#[test]
fn eviction_sweeps_what_dead_writers_left() {
    let scene = Scene::new();
    let store = scene.open();
    let old = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    for dir in [scene.packs(), scene.overlay(), scene.root().join("v2")] {
        std::fs::write(dir.join(".tmp-1-00"), "x").expect("writes");
        let file = File::create(dir.join(".tmp-2-00")).expect("creates");
        file.set_modified(old).expect("ages");
    }
    std::fs::write(scene.packs().join("notes.txt"), "x").expect("writes");
    let all = Limits {
        max_bytes: Some(0),
        max_age: Some(Duration::ZERO),
    };
    assert_eq!(store.evict(&all).expect("evicts").files, 3);
    assert!(
        scene.packs().join("notes.txt").exists(),
        "it is not the store's"
    );
    assert!(
        scene.packs().join(".tmp-1-00").exists(),
        "its writer may be alive"
    );
}

#[test]
fn packs_become_one_and_keep_their_entries() {
    let scene = Scene::new();
    let store = scene.open();
    for first in 0..10 {
        write_pack(&store, first..first + 5);
    }
    assert_eq!(store.n_packs(), 10);
    let reader = scene.open();
    assert_eq!(store.merge_packs(|_, _| true).expect("merges"), Some(14));
    for store in [&store, &reader, &scene.open()] {
        assert!((0..14).all(|n| has(store, n)));
    }
    assert_eq!((store.n_packs(), store.list().len()), (1, 14));
    assert!(store.damage().is_empty());

    let wanted = |_: &cache::Key, origin: &cache::Origin| *origin == crate::scene::origin(3);
    assert_eq!(store.merge_packs(wanted).expect("merges"), Some(1));
    assert!(has(&store, 3) && !has(&store, 4));
    assert_eq!(store.merge_packs(|_, _| false).expect("merges"), Some(0));
    assert_eq!(store.n_packs(), 0);
}
