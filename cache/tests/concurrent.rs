//! Many threads and processes on one store: an acknowledged entry is there, a torn one never.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cache::{Access, Limits, Store};

use crate::scene::{Scene, child, has, open, put, this_binary, write_pack};

const CHILD: &str = "STORE_OF_CHILD";

#[test]
fn threads_share_a_store() {
    let scene = Scene::new();
    let store = scene.open();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..50 {
                    put(store, number * 4 + thread).expect("stored");
                    assert!(has(store, number * 4 + thread));
                    has(store, number);
                }
                write_pack(store, thread * 1000..thread * 1000 + 50);
            });
        }
    });
    store.refresh();
    assert!(
        (0..200)
            .chain(1000..1050)
            .chain(3000..3050)
            .all(|n| has(&store, n))
    );
    assert!(store.damage().is_empty());
}

/// Runs in children: writes and reads until it is done or killed.
#[test]
fn child_writes_and_reads() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let store = open(&root, Access::ReadWrite);
    let seed = std::process::id();
    for number in 0..120 {
        let number = (number * 7 + seed) % 100;
        put(&store, number).expect("stored");
        assert!(has(&store, number), "an acknowledged entry is there");
        if number.is_multiple_of(20) {
            write_pack(&store, number..number + 30);
        }
        read_all(&store, 0..130);
    }
    assert!(store.damage().is_empty());
}

/// Whatever is found is right; what is found may change at any time.
fn read_all(store: &Store, numbers: std::ops::Range<u32>) -> bool {
    numbers
        .map(|number| has(store, number))
        .fold(true, |all, found| all & found)
}

fn writer(scene: &Scene) -> std::process::Child {
    let test = "concurrent::child_writes_and_reads";
    let mut command = child(&this_binary(), test, CHILD, &scene.root());
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

#[test]
fn processes_share_a_store() {
    let scene = Scene::new();
    let children: Vec<_> = (0..4).map(|_| writer(&scene)).collect();
    for mut child in children {
        assert!(child.wait().expect("waits").success());
    }
    let store = scene.open();
    assert!((0..100).all(|n| has(&store, n)));
    assert!(store.damage().is_empty());
}

#[test]
fn killed_writers_leave_a_sound_store() {
    let scene = Scene::new();
    for round in 0..20 {
        let mut children = [writer(&scene), writer(&scene)];
        std::thread::sleep(Duration::from_millis(3 + round * 4));
        for child in &mut children {
            child.kill().expect("kills");
            child.wait().expect("waits");
        }
        let store = scene.open();
        assert!(store.damage().is_empty(), "{:?}", store.damage());
        read_all(&store, 0..130);
    }
}

#[test]
fn eviction_beside_readers_and_writers() {
    let scene = Scene::new();
    let mut children = [writer(&scene), writer(&scene)];
    let store = scene.open();
    let limits = Limits {
        max_bytes: Some(20_000),
        max_age: None,
    };
    for _ in 0..30 {
        store.evict(&limits).expect("evicts");
        store.refresh();
        read_all(&store, 0..100);
        std::thread::sleep(Duration::from_millis(2));
    }
    // A child may find an entry evicted that it stored, so how it ends says nothing.
    for child in &mut children {
        child.kill().expect("kills");
        child.wait().expect("waits");
    }
    store.refresh();
    assert!(store.damage().is_empty());
}

#[test]
fn no_entry_is_missed_while_packs_are_merged() {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, 0..20);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..150 {
                        assert!(read_all(&scene.open(), 0..20));
                    }
                })
            })
            .collect();
        let mut number = 100;
        while readers.iter().any(|reader| !reader.is_finished()) {
            write_pack(&store, number..number + 2);
            number += 1;
            let merged = store.merge_packs(|_, _| true).expect("merges");
            assert!(merged.is_some_and(|count| count > 20));
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
