//! Damage anywhere: the right bytes or a miss, nothing else, and storing again mends it.

use std::path::{Path, PathBuf};

use cache::{Access, Lookup, MissReason};

use crate::scene::{Scene, has, key, later, open, put, write_pack};

const NUMBERS: [u32; 3] = [0, 1, 2];

fn only_file(dir: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(dir)
        .expect("lists")
        .map(|f| f.expect("lists").path());
    let first = files.next().expect("one file");
    if first.is_dir() {
        only_file(&first)
    } else {
        first
    }
}

/// Opens the store and asks for everything; returns how many entries were found.
fn ask(scene: &Scene) -> usize {
    let store = open(&scene.root(), Access::ReadOnly);
    assert!(store.list().len() <= NUMBERS.len());
    NUMBERS.into_iter().filter(|n| has(&store, *n)).count()
}

fn damages_of(scene: &Scene) -> usize {
    open(&scene.root(), Access::ReadOnly).damage().len()
}

#[test]
fn every_byte_of_a_pack_flipped() {
    let scene = Scene::new();
    write_pack(&scene.open(), NUMBERS);
    let file = only_file(&scene.packs());
    let sound = std::fs::read(&file).expect("reads");
    let mut unnoticed = Vec::new();
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&file, &damaged).expect("writes");
        ask(&scene);
        if damages_of(&scene) == 0 {
            unnoticed.push(at);
        }
    }
    // Between the parts stand zeros that nobody reads.
    assert!(unnoticed.iter().all(|at| sound[*at] == 0), "{unnoticed:?}");
    std::fs::write(&file, &sound).expect("writes");
    assert_eq!((ask(&scene), damages_of(&scene)), (3, 0));
}

#[test]
fn every_length_of_a_pack_cut_short() {
    let scene = Scene::new();
    write_pack(&scene.open(), NUMBERS);
    let file = only_file(&scene.packs());
    let sound = std::fs::read(&file).expect("reads");
    for len in 0..sound.len() {
        std::fs::write(&file, &sound[..len]).expect("writes");
        assert_eq!(ask(&scene), 0, "length {len}");
        assert_eq!(damages_of(&scene), 1, "length {len}");
    }
    std::fs::write(&file, [&sound[..], b"\0"].concat()).expect("writes");
    assert_eq!(ask(&scene), 0, "one byte more");
}

#[test]
fn every_byte_of_an_overlay_file_flipped_or_cut() {
    let scene = Scene::new();
    put(&scene.open(), 1).expect("stored");
    let file = only_file(&scene.overlay());
    let sound = std::fs::read(&file).expect("reads");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&file, &damaged).expect("writes");
        ask(&scene);
        std::fs::write(&file, &sound[..at]).expect("writes");
        assert_eq!(ask(&scene), 0, "length {at}");
        assert_eq!(damages_of(&scene), 1, "length {at}");
    }
}

#[test]
fn an_entry_under_the_name_of_another_is_a_miss() {
    let scene = Scene::new();
    let store = scene.open();
    put(&store, 1).expect("stored");
    put(&store, 2).expect("stored");
    let file = |number| {
        let hex = key(number).to_string();
        scene
            .overlay()
            .join(&hex[..2])
            .join(format!("{}.entry", &hex[2..]))
    };
    std::fs::copy(file(1), file(2)).expect("copies");
    assert!(has(&store, 1));
    let reason = store.get(&key(2));
    assert!(
        matches!(reason, Lookup::Miss(MissReason::Corrupt(_))),
        "{reason:?}"
    );
}

#[test]
fn storing_again_mends_a_damaged_entry() {
    let scene = Scene::new();
    write_pack(&scene.open(), NUMBERS);
    let file = only_file(&scene.packs());
    let mut content = std::fs::read(&file).expect("reads");
    content[64] ^= 0xff;
    std::fs::write(&file, &content).expect("writes");
    let store = scene.open();
    let broken: Vec<u32> = NUMBERS.into_iter().filter(|n| !has(&store, *n)).collect();
    assert_eq!(broken.len(), 1);
    assert!(store.contains(&key(broken[0])), "the table lists it still");
    put(&store, broken[0]).expect("stored");
    assert!(NUMBERS.into_iter().all(|n| has(&store, n)));
}

#[test]
fn a_damaged_memo_is_forgotten() {
    let scene = Scene::new();
    scene.open();
    let memo = scene.root().join("v2").join("memo");
    std::fs::write(&memo, b"not a memo").expect("writes");
    let path = scene.path().join("module.py");
    std::fs::write(&path, "").expect("writes");
    let stamp = later(cache::Stamp::of(&path.metadata().expect("stat")));
    let hash = cache::SourceHash::of(b"");
    let store = scene.open();
    assert_eq!(store.memo_get(&path, &stamp), None);
    store.memo_put(&path, &stamp, &hash);
    store.flush().expect("writes");
    assert_eq!(scene.open().memo_get(&path, &stamp), Some(hash));
}
