//! Damage that is looked for: in packs once for each state of their files, or always.

use std::collections::HashSet;
use std::fs;

use cache::{Access, LineSet};

use crate::scene::{self, Scene, has, key, put, write_pack};

/// Changes a byte of an entry's code, in place.
fn damage(scene: &Scene, name: &str, number: u32) {
    let path = scene.packs().join(name);
    let mut content = fs::read(&path).expect("reads");
    let code = scene::code(number);
    let at = content.windows(code.len()).position(|part| part == code);
    content[at.expect("holds the code")] ^= 1;
    fs::write(&path, content).expect("writes");
}

#[test]
fn a_pack_is_read_again_when_its_file_changed() {
    let scene = Scene::new();
    let store = scene.open();
    let name = write_pack(&store, 50..60);
    assert_eq!(store.damaged_in_packs(false), HashSet::new());
    let record = fs::read(scene.packs().join("verified")).expect("recorded");
    assert_eq!(store.damaged_in_packs(false), HashSet::new());
    damage(&scene, &name, 55);
    drop(store);
    let store = scene.open();
    for again in [false, true, false] {
        assert_eq!(store.damaged_in_packs(again), HashSet::from([key(55)]));
    }
    assert_ne!(
        fs::read(scene.packs().join("verified")).expect("recorded"),
        record,
        "what is damaged does not count as sound"
    );
    assert!(store.holds(&key(55)), "the table lists it all the same");
    put(&store, 55).expect("stores");
    assert!(has(&store, 55));
}

#[test]
fn what_the_state_of_the_file_does_not_show_is_found_when_asked_for() {
    let scene = Scene::new();
    let store = scene.open();
    let name = write_pack(&store, 50..60);
    damage(&scene, &name, 51);
    // As if the medium had changed the byte and no program.
    store.vouch_for(&[name]);
    drop(store);
    let store = scene.open();
    assert_eq!(store.damaged_in_packs(false), HashSet::new());
    assert_eq!(store.damaged_in_packs(true), HashSet::from([key(51)]));
    assert_eq!(store.damaged_in_packs(false), HashSet::from([key(51)]));
}

#[test]
fn a_record_that_is_damaged_has_packs_read_again() {
    let scene = Scene::new();
    let store = scene.open();
    let name = write_pack(&store, 50..60);
    store.vouch_for(std::slice::from_ref(&name));
    damage(&scene, &name, 52);
    store.vouch_for(&[name]);
    let record = scene.packs().join("verified");
    for content in [&b""[..], b"DPRSOUND", &[0xff; 4096]] {
        fs::write(&record, content).expect("writes");
        let store = scene::open(&scene.root(), Access::ReadOnly);
        assert_eq!(store.damaged_in_packs(false), HashSet::from([key(52)]));
        assert_eq!(fs::read(&record).expect("reads"), content);
    }
}

#[test]
fn an_overlay_file_that_is_damaged_is_not_held() {
    let scene = Scene::new();
    let store = scene.open();
    put(&store, 3).expect("stores");
    assert!(store.holds(&key(3)));
    assert!(!store.holds(&key(4)));
    let hex = key(3).to_string();
    let path = scene
        .overlay()
        .join(&hex[..2])
        .join(format!("{}.entry", &hex[2..]));
    let mut content = fs::read(&path).expect("reads");
    content[64] ^= 1;
    fs::write(&path, content).expect("writes");
    assert!(!store.holds(&key(3)));
}

#[test]
fn a_store_is_empty_until_an_entry_is_anywhere_in_it() {
    let (overlaid, packed) = (Scene::new(), Scene::new());
    assert!(overlaid.open().is_empty() && packed.open().is_empty());
    put(&overlaid.open(), 3).expect("stores");
    write_pack(&packed.open(), [3]);
    assert!(!overlaid.open().is_empty());
    assert!(!packed.open().is_empty());
}

#[test]
fn sets_of_lines_are_remembered_for_all_interpreters() {
    let scene = Scene::new();
    let set = |path: &str, lines: &[u32]| LineSet {
        path: path.to_owned(),
        source: [1; 32],
        used: 9,
        lines: lines.to_vec(),
    };
    let sets = [set("/a.py", &[1, 2]), set("/b.py", &[7])];
    scene.open().remember(&sets).expect("writes");
    assert_eq!(scene.open().remembered(), sets);
    let reader = scene::open(&scene.root(), Access::ReadOnly);
    reader.remember(&[set("/c.py", &[1])]).expect("keeps none");
    assert_eq!(reader.remembered(), sets);
    fs::write(scene.root().join("v2").join("remembered"), b"x").expect("writes");
    assert_eq!(reader.remembered(), []);
    scene.open().remember(&sets[..1]).expect("writes");
    assert_eq!(scene.open().remembered(), sets[..1]);
}
