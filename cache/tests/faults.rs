//! Faults that come from outside, many times over: what is found is right or nothing, and what was
//! acknowledged is there.
//!
//! `DAPPER_FAULT_ROUNDS` says how often each of them is repeated.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cache::{Access, Build, KeyHasher, Limits, Lookup, ProbeDigest, ProbeSet, Store, Trust};

use crate::scene::{
    BUILD, Scene, child, files, has, key, open, put, source, this_binary, write_pack,
};

const ROLE: &str = "FAULT_ROLE";
const STORE: &str = "FAULT_STORE";
const STOP: &str = "stop";

fn rounds() -> u64 {
    let said = std::env::var("DAPPER_FAULT_ROUNDS").ok();
    said.and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

/// Starts this test binary in a role; it works on the store beside which its notes lie.
fn start(role: &str, scene: &Scene) -> Child {
    child(&this_binary(), "faults::plays_a_role", STORE, &scene.root())
        .env(ROLE, role)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("starts")
}

/// Runs in children.
#[test]
fn plays_a_role() {
    let (Ok(role), Some(root)) = (std::env::var(ROLE), std::env::var_os(STORE)) else {
        return;
    };
    let root = PathBuf::from(root);
    match &*role {
        "writer" => write_until_killed(&root),
        "reader" => read_until_told(&root),
        "evictor" => evict_until_told(&root),
        "full" => fill_the_disk(&root),
        engine => share_as(engine, &root),
    }
}

fn notes(root: &Path) -> PathBuf {
    root.with_file_name("notes")
}

fn is_told_to_stop(root: &Path) -> bool {
    root.with_file_name(STOP).exists()
}

/// The numbers of the entries that writers were told are stored.
fn acknowledged(root: &Path) -> Vec<u32> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(notes(root)) {
        file.read_to_end(&mut bytes).expect("reads");
    }
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|n| u32::from_le_bytes(*n)).collect()
}

fn write_until_killed(root: &Path) {
    let store = open(root, Access::ReadWrite);
    let mut notes = OpenOptions::new()
        .append(true)
        .create(true)
        .open(notes(root))
        .expect("opens");
    let mut note = |numbers: std::ops::Range<u32>| {
        let bytes: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        notes.write_all(&bytes).expect("notes");
    };
    let first = std::process::id() % 1000 * 1000;
    for number in (first..).step_by(10) {
        for number in number..number + 4 {
            put(&store, number).expect("stored");
            note(number..number + 1);
        }
        write_pack(&store, number + 4..number + 10);
        note(number + 4..number + 10);
        if number % 50 == 0 {
            // Another one may be at it.
            let _ = store.merge_packs(|_, _| true).expect("merges");
        }
    }
}

fn read_until_told(root: &Path) {
    while !is_told_to_stop(root) {
        let before = acknowledged(root);
        let store = open(root, Access::ReadOnly);
        for number in before {
            assert!(has(&store, number), "{number} was acknowledged");
        }
        // Beside writers and merging, with what was opened becoming stale.
        for number in acknowledged(root) {
            has(&store, number);
        }
    }
}

fn evict_until_told(root: &Path) {
    let limits = Limits {
        max_bytes: Some(20_000),
        max_age: None,
    };
    let store = open(root, Access::ReadWrite);
    while !is_told_to_stop(root) {
        store.evict(&limits).expect("evicts");
        for number in acknowledged(root) {
            has(&store, number);
        }
    }
}

fn kill(mut children: Vec<Child>) {
    for child in &mut children {
        child.kill().expect("kills");
    }
    for mut child in children {
        child.wait().expect("waits");
    }
}

fn finish(scene: &Scene, children: Vec<Child>) {
    File::create(scene.path().join(STOP)).expect("creates");
    for mut child in children {
        assert!(child.wait().expect("waits").success());
    }
}

#[test]
fn writers_killed_among_readers_lose_nothing_that_was_acknowledged() {
    for round in 0..rounds() {
        let scene = Scene::new();
        scene.open();
        let readers: Vec<_> = (0..8).map(|_| start("reader", &scene)).collect();
        let writers: Vec<_> = (0..4).map(|_| start("writer", &scene)).collect();
        std::thread::sleep(Duration::from_millis(100 + round * 13 % 150));
        kill(writers);
        finish(&scene, readers);
        let (store, numbers) = (scene.open(), acknowledged(&scene.root()));
        assert!(!numbers.is_empty(), "round {round}: nobody came to write");
        for number in numbers {
            assert!(has(&store, number), "round {round}: {number} is lost");
        }
        assert!(store.damage().is_empty(), "{:?}", store.damage());
    }
}

#[test]
fn eviction_beside_readers_and_killed_writers_leaves_a_sound_store() {
    for round in 0..rounds() {
        let scene = Scene::new();
        scene.open();
        let evictors: Vec<_> = (0..2).map(|_| start("evictor", &scene)).collect();
        let writers: Vec<_> = (0..4).map(|_| start("writer", &scene)).collect();
        std::thread::sleep(Duration::from_millis(80 + round * 17 % 100));
        kill(writers);
        finish(&scene, evictors);
        let store = scene.open();
        assert!(store.damage().is_empty(), "{:?}", store.damage());
        assert_eq!(
            store.merge_packs(|_, _| true).ok().map(|n| n.is_some()),
            Some(true)
        );
    }
}

#[test]
fn every_bit_of_every_file_flipped_under_a_live_store() {
    let scene = Scene::new();
    let live = scene.open();
    write_pack(&live, 0..3);
    put(&live, 3).expect("stored");
    assert!((0..4).all(|n| has(&live, n)));
    let content: Vec<_> = files(&scene.root().join("v2"))
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "pack" || e == "entry")
        })
        .map(|path| (std::fs::read(&path).expect("reads"), path))
        .collect();
    assert_eq!(content.len(), 2);
    for (sound, path) in content {
        let file = OpenOptions::new().write(true).open(&path).expect("opens");
        for at in 0..sound.len() {
            for bit in 0..8 {
                let damaged = [sound[at] ^ 1 << bit];
                std::os::unix::fs::FileExt::write_all_at(&file, &damaged, at as u64)
                    .expect("writes");
                for number in 0..4 {
                    has(&live, number);
                }
                if bit == at % 8 {
                    let fresh = open(&scene.root(), Access::ReadOnly);
                    for number in 0..4 {
                        has(&fresh, number);
                    }
                }
            }
            std::os::unix::fs::FileExt::write_all_at(&file, &sound[at..=at], at as u64)
                .expect("writes");
        }
        assert!((0..4).all(|n| has(&live, n)));
    }
}

#[test]
fn files_cut_short_in_use_kill_nobody() {
    let scene = Scene::new();
    let live = scene.open();
    let pack = scene.packs().join(write_pack(&live, 0..3));
    let held: Vec<_> = (0..3)
        .map(|n| live.get(&key(n)).hit().expect("there"))
        .collect();
    let sound = std::fs::read(&pack).expect("reads");
    for len in (0..sound.len()).rev() {
        let file = OpenOptions::new().write(true).open(&pack).expect("opens");
        file.set_len(len as u64).expect("cuts");
        for number in 0..3 {
            has(&live, number);
        }
        assert!(live.list().len() <= 3);
        assert_eq!(live.damage().is_empty(), len == sound.len());
    }
    assert!((0..3).all(|n| !has(&live, n)));
    for (number, entry) in (0..).zip(held) {
        assert_eq!(
            entry.code(),
            crate::scene::code(number),
            "what was handed out stays"
        );
    }
    std::fs::write(&pack, &sound).expect("writes");
    assert!((0..3).all(|n| has(&live, n)));
}

/// Writes until the file system is full; what was acknowledged is there, before and after.
fn fill_the_disk(root: &Path) {
    let store = open(root, Access::ReadWrite);
    let mut stored = Vec::new();
    let mut failed = 0;
    for number in 0..4000 {
        if number % 100 == 50 {
            let Ok(mut writer) = store.pack_writer() else {
                continue;
            };
            let content = vec![7; 9000];
            let parts = cache::Parts {
                code: &content,
                sites: &[],
            };
            let added = writer.add(&key(100_000 + number), parts, crate::scene::origin(number));
            failed += usize::from(added.is_err() || writer.finish().is_err());
        }
        match put(&store, number) {
            Ok(()) => stored.push(number),
            Err(cache::PutError::Io { .. }) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        failed > 0 && !stored.is_empty(),
        "{failed} {}",
        stored.len()
    );
    for store in [store, open(root, Access::ReadWrite)] {
        assert!(stored.iter().all(|n| has(&store, *n)));
        assert!(store.damage().is_empty());
        assert!(store.flush().is_ok());
    }
    let store = open(root, Access::ReadWrite);
    let all = Limits {
        max_bytes: Some(0),
        max_age: None,
    };
    store.evict(&all).expect("evicts on a full disk");
    put(&store, 1).expect("there is room again");
}

/// A shell that mounts a tiny file system over the root of the store and becomes a command.
fn on_a_tiny_disk(scene: &Scene, role: &str) -> Command {
    let inner = child(&this_binary(), "faults::plays_a_role", STORE, &scene.root());
    let mut shell = Command::new("unshare");
    let mount = format!(
        "mount -t tmpfs -o size=256k,mode=700 tmpfs {} && exec \"$@\"",
        scene.root().display()
    );
    shell.args(["--mount", "sh", "-c", &mount, "sh"]);
    shell.arg(inner.get_program()).args(inner.get_args());
    shell.env(STORE, scene.root()).env(ROLE, role);
    shell
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let scene = Scene::new();
    std::fs::create_dir(scene.root()).expect("makes");
    let mounts = Command::new("unshare").args(["--mount", "true"]).output();
    if !mounts.is_ok_and(|tried| tried.status.success()) {
        // Only root mounts; `readonly` limits the length of files in place of it.
        return;
    }
    for _ in 0..rounds() {
        let done = on_a_tiny_disk(&scene, "full").output().expect("runs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}");
    }
}

#[test]
fn a_store_that_vanishes_in_use_gives_nothing_wrong() {
    for _ in 0..rounds() {
        let scene = Scene::new();
        let store = scene.open();
        write_pack(&store, 0..50);
        (50..80).for_each(|n| put(&store, n).expect("stored"));
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::remove_dir_all(scene.root()).expect("removes"));
            for _ in 0..20 {
                for number in 0..80 {
                    has(&store, number);
                }
            }
        });
        assert!(put(&store, 1).is_err());
        assert!((0..80).all(|n| !has(&store, n)));
        let anew = scene.open();
        put(&anew, 1).expect("stored");
        assert!(has(&anew, 1));
    }
}

/// The key of an entry for an engine that calls itself so.
fn key_of(engine: &str, number: u32) -> cache::Key {
    let build = Build { engine, ..BUILD };
    KeyHasher::new(&build).key(&source(number), &ProbeDigest::of(ProbeSet::EveryLine))
}

fn share_as(engine: &str, root: &Path) {
    let store = Store::open(root, &BUILD.tag(), Access::ReadWrite, &Trust::default());
    let store = store.expect("opens");
    let code = |number: u32| format!("{engine} made {number}").into_bytes();
    for number in 0..150 {
        let code = code(number);
        let parts = cache::Parts {
            code: &code,
            sites: &[],
        };
        let origin = crate::scene::origin(number);
        if number % 2 == 0 {
            store
                .put(&key_of(engine, number), parts, &origin)
                .expect("stored");
        } else {
            let mut writer = store.pack_writer().expect("a writer");
            writer
                .add(&key_of(engine, number), parts, origin)
                .expect("adds");
            writer.finish().expect("finishes");
            store.refresh();
        }
        if number % 40 == 0 {
            let _ = store.merge_packs(|_, _| true).expect("merges");
        }
        for number in 0..=number {
            let entry = match store.get(&key_of(engine, number)) {
                Lookup::Hit(entry) => entry,
                Lookup::Miss(why) => panic!("{engine}: {number} is lost: {why}"),
            };
            assert_eq!(entry.code(), format!("{engine} made {number}").as_bytes());
        }
    }
}

#[test]
fn two_versions_of_the_engine_share_a_store() {
    for _ in 0..rounds().min(20) {
        let scene = Scene::new();
        let children = ["2.0", "2.1"].map(|engine| start(engine, &scene));
        for mut child in children {
            assert!(child.wait().expect("waits").success());
        }
        assert!(scene.open().damage().is_empty());
    }
}
