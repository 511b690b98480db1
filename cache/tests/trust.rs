//! Who could have written a store decides whether it is used.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use cache::{Access, Distrust, Lookup, MissReason, OpenError, Store, Trust};

use crate::scene::{Scene, files, has, is_root, key, put, tag, write_pack};

fn refusal(root: &Path) -> Distrust {
    for access in [Access::ReadOnly, Access::ReadWrite] {
        match Store::open(root, &tag(), access, &cache::Trust::default()) {
            Err(OpenError::Untrusted { why, .. }) if access == Access::ReadWrite => return why,
            Err(OpenError::Untrusted { .. }) => {}
            other => panic!("not refused: {other:?}"),
        }
    }
    unreachable!("both accesses are tried")
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("sets the mode");
}

#[test]
fn what_the_store_makes_is_private() {
    let scene = Scene::new();
    let store = scene.open();
    put(&store, 1).expect("stored");
    let pack = scene.packs().join(write_pack(&store, [2]));
    let mode = |path: &Path| std::fs::metadata(path).expect("stat").mode() & 0o7777;
    for dir in [
        &scene.root(),
        &scene.root().join("v2"),
        &scene.packs(),
        &scene.overlay(),
    ] {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
    }
    assert_eq!(mode(&pack), 0o600);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let scene = Scene::new();
    scene.open();
    let inner = scene.packs();
    for dir in [scene.root(), scene.root().join("v2"), inner] {
        for mode in [0o777, 0o770, 0o1777] {
            set_mode(&dir, mode);
            assert_eq!(refusal(&scene.root()), Distrust::WritableByOthers { mode });
        }
        set_mode(&dir, 0o700);
    }
    assert!(!has(&scene.open(), 1));
}

#[test]
fn a_link_is_not_followed() {
    let scene = Scene::new();
    scene.open();
    let link = scene.path().join("link");
    symlink(scene.root(), &link).expect("links");
    assert_eq!(refusal(&link), Distrust::SymbolicLink);
    std::fs::rename(scene.packs(), scene.path().join("packs")).expect("moves");
    symlink(scene.path().join("packs"), scene.packs()).expect("links");
    assert_eq!(refusal(&scene.root()), Distrust::SymbolicLink);
}

#[test]
fn a_link_in_the_overlay_is_not_followed() {
    let scene = Scene::new();
    let store = scene.open();
    put(&store, 1).expect("stored");
    let group = scene.overlay().join(&key(1).to_string()[..2]);
    let outside = scene.path().join("outside");
    std::fs::rename(&group, &outside).expect("moves");
    symlink(&outside, &group).expect("links");
    let miss = store.get(&key(1));
    let link = MissReason::Untrusted(Distrust::SymbolicLink);
    assert!(matches!(miss, Lookup::Miss(why) if why == link), "{miss:?}");
    assert!(!store.contains(&key(1)));
    let refused = put(&store, 1).expect_err("is refused").to_string();
    assert!(refused.contains("it is a symbolic link"), "{refused}");
}

#[test]
fn a_file_is_no_store() {
    let scene = Scene::new();
    std::fs::write(scene.root(), "x").expect("writes");
    assert_eq!(refusal(&scene.root()), Distrust::NotADirectory);
    assert_eq!(std::fs::read(scene.root()).expect("reads"), b"x");
}

#[test]
fn a_store_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    scene.open();
    chown(scene.root(), Some(65_534), None).expect("changes the owner");
    let expected = Distrust::ForeignOwner {
        owner: 65_534,
        user: 0,
    };
    assert_eq!(refusal(&scene.root()), expected);
}

#[test]
fn a_store_of_another_user_is_read_by_explicit_trust_and_never_written() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, [1]);
    put(&store, 2).expect("stored");
    let open = |trusted: &Path, access| {
        let trust = Trust::of([trusted.to_owned()]);
        Store::open(&scene.root(), &tag(), access, &trust)
    };
    for path in [vec![scene.root()], files(&scene.root())].concat() {
        chown(path, Some(65_534), None).expect("changes the owner");
    }
    for dir in [scene.root().join("v2"), scene.packs(), scene.overlay()] {
        chown(&dir, Some(65_534), None).expect("changes the owner");
        chown(dir.parent().expect("is below the root"), Some(65_534), None).expect("changes");
    }
    assert!(open(&scene.root().join("v2"), Access::ReadOnly).is_err());
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let store = open(&scene.root(), access).expect("is trusted");
        assert!(has(&store, 1) && has(&store, 2));
        assert_eq!(store.access(), Access::ReadOnly);
        assert!(put(&store, 3).is_err());
    }
    // Trust is in the owner of the root alone.
    chown(scene.packs(), Some(65_533), None).expect("changes the owner");
    assert!(open(&scene.root(), Access::ReadOnly).is_err());
}

#[test]
fn files_are_judged_one_by_one() {
    let scene = Scene::new();
    let store = scene.open();
    let loose = scene.packs().join(write_pack(&store, [1]));
    let linked = scene.packs().join(write_pack(&store, [2]));
    write_pack(&store, [3]);
    put(&store, 4).expect("stored");
    put(&store, 5).expect("stored");
    set_mode(&loose, 0o666);
    let outside = scene.path().join("outside.pack");
    std::fs::rename(&linked, &outside).expect("moves");
    symlink(&outside, &linked).expect("links");
    std::fs::create_dir(scene.packs().join("directory.pack")).expect("makes");
    let hex = key(4).to_string();
    set_mode(
        &scene
            .overlay()
            .join(&hex[..2])
            .join(format!("{}.entry", &hex[2..])),
        0o602,
    );

    let store = scene.open();
    assert_eq!(store.refused().len(), 3, "{:?}", store.refused());
    let found: Vec<u32> = (1..=5).filter(|n| has(&store, *n)).collect();
    assert_eq!(found, [3, 5]);
    let miss = store.get(&key(4));
    assert!(
        matches!(miss, Lookup::Miss(MissReason::Untrusted(_))),
        "{miss:?}"
    );
    assert_eq!(store.damage().len(), 4);
}

#[test]
fn a_named_pipe_does_not_hold_the_reader_up() {
    let scene = Scene::new();
    scene.open();
    let pipe = scene.packs().join("pipe.pack");
    let status = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .expect("runs");
    assert!(status.success());
    let store = scene.open();
    let why = store.refused().first().map(|refused| refused.why);
    assert_eq!(why, Some(MissReason::Untrusted(Distrust::NotAFile)));
}

#[test]
fn messages_say_what_to_do() {
    let scene = Scene::new();
    scene.open();
    set_mode(&scene.root(), 0o777);
    let error = Store::open(
        &scene.root(),
        &tag(),
        Access::ReadOnly,
        &cache::Trust::default(),
    )
    .expect_err("is refused")
    .to_string();
    assert!(
        error.contains(&scene.root().display().to_string()),
        "{error}"
    );
    assert!(
        error.contains("0777") && error.contains("chmod -R go-w"),
        "{error}"
    );
}
