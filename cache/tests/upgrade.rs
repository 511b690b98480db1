//! Two versions of the engine, of the format and of the interpreter on one store.

use cache::{
    Access, Build, KeyHasher, Lookup, MissReason, ProbeDigest, ProbeSet, SourceHash, Store,
};

use crate::scene::{BUILD, Scene, has, put, write_pack};

#[test]
fn another_engine_finds_nothing_of_ours_and_we_keep_ours() {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, [1]);
    let newer = KeyHasher::new(&Build {
        engine: "1.1",
        ..BUILD
    });
    let source = SourceHash::of(&1_u32.to_le_bytes());
    let key = newer.key(&source, &ProbeDigest::of(ProbeSet::EveryLine));
    assert!(matches!(store.get(&key), Lookup::Miss(MissReason::Absent)));
    assert!(has(&store, 1));
}

#[test]
fn another_interpreter_has_its_own_directory() {
    let scene = Scene::new();
    put(&scene.open(), 1).expect("stored");
    let build = Build {
        magic: 3627,
        cache_tag: "cpython-314",
        ..BUILD
    };
    let open = || {
        Store::open(
            &scene.root(),
            &build.tag(),
            Access::ReadWrite,
            &cache::Trust::default(),
        )
    };
    let other = open().expect("opens");
    assert!(!has(&other, 1));
    put(&other, 2).expect("stored");
    assert!(!has(&scene.open(), 2));
}

#[test]
fn files_of_another_format_are_passed_over() {
    let scene = Scene::new();
    let store = scene.open();
    let name = write_pack(&store, [1]);
    put(&store, 2).expect("stored");
    let path = scene.packs().join(name);
    let mut content = std::fs::read(&path).expect("reads");
    content[8] += 1;
    std::fs::write(&path, content).expect("writes");
    let store = scene.open();
    let refused = store.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].why.slug(), "format");
    let message = refused[0].why.to_string();
    assert!(
        message.contains("format 3") && message.contains("format 2"),
        "{message}"
    );
    assert!(!has(&store, 1) && has(&store, 2));
}

#[test]
fn a_pack_with_rows_of_another_length_is_of_another_format() {
    let scene = Scene::new();
    let path = scene.packs().join(write_pack(&scene.open(), [1]));
    let mut content = std::fs::read(&path).expect("reads");
    content[20] = 72;
    let sum = blake3::hash(&content[..56]);
    content[56..64].copy_from_slice(&sum.as_bytes()[..8]);
    std::fs::write(&path, content).expect("writes");
    let refused = scene.open().refused();
    assert_eq!(refused[0].why.slug(), "format");
    let message = refused[0].to_string();
    assert!(message.contains(&*path.to_string_lossy()), "{message}");
    assert!(message.contains("rows of 72 bytes") && message.contains("remove it"));
}

#[test]
fn newer_formats_are_told_apart_from_what_is_not_ours() {
    let scene = Scene::new();
    let store = scene.open();
    assert!(store.newer_formats().is_empty());
    for name in ["v0", "v3", "v10", "vx", "v", "w3"] {
        std::fs::create_dir(scene.root().join(name)).expect("makes");
    }
    let newer: Vec<_> = ["v10", "v3"].map(|name| scene.root().join(name)).into();
    assert_eq!(store.newer_formats(), newer);
}

#[test]
fn directories_of_other_formats_are_left_alone() {
    let scene = Scene::new();
    let later = scene.root().join("v3").join("anything");
    std::fs::create_dir_all(&later).expect("makes");
    let store = scene.open();
    put(&store, 1).expect("stored");
    let limits = cache::Limits {
        max_bytes: Some(0),
        max_age: None,
    };
    store.evict(&limits).expect("evicts");
    assert!(later.exists() && !has(&store, 1));
}
