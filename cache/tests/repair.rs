//! Repairs: what is damaged goes, what is sound stays, and what is lost is told by its path.

use std::path::{Path, PathBuf};

use cache::{Access, Limits, Repair, Root, Trust};

use crate::scene::{Scene, has, key, open, origin, put, tag, write_pack};

const NUMBERS: [u32; 4] = [0, 1, 2, 3];

fn repair(scene: &Scene) -> Repair {
    let store = scene.open();
    let repair = store.repair().expect("repairs").expect("not locked");
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    repair
}

fn found(scene: &Scene) -> Vec<u32> {
    let store = open(&scene.root(), Access::ReadOnly);
    NUMBERS.into_iter().filter(|n| has(&store, *n)).collect()
}

fn lost_paths(repair: &Repair) -> Vec<String> {
    let origins = repair.lost.iter();
    origins.map(|origin| origin.path.clone()).collect()
}

fn pack_of(scene: &Scene) -> (PathBuf, Vec<u8>) {
    let path = scene.packs().join(write_pack(&scene.open(), NUMBERS));
    let content = std::fs::read(&path).expect("reads");
    (path, content)
}

fn reset(scene: &Scene, path: &Path, content: &[u8]) {
    std::fs::remove_dir_all(scene.packs()).expect("removes");
    std::fs::create_dir(scene.packs()).expect("makes");
    std::fs::write(path, content).expect("writes");
}

#[test]
fn a_sound_store_is_left_as_it_is() {
    let scene = Scene::new();
    let (path, content) = pack_of(&scene);
    put(&scene.open(), 9).expect("stored");
    let repair = repair(&scene);
    assert_eq!((repair.files, repair.kept, repair.lost.len()), (0, 0, 0));
    assert_eq!(std::fs::read(path).expect("reads"), content);
}

#[test]
fn no_flipped_byte_costs_more_than_the_entry_it_is_in() {
    let scene = Scene::new();
    let (path, sound) = pack_of(&scene);
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        reset(&scene, &path, &damaged);
        let before = found(&scene);
        let repair = repair(&scene);
        let after = found(&scene);
        assert!(before.iter().all(|n| after.contains(n)), "byte {at}");
        assert!(after.len() >= 3, "byte {at}: {after:?}");
        let gone = NUMBERS.into_iter().filter(|n| !after.contains(n));
        let gone: Vec<_> = gone.map(|n| origin(n).path).collect();
        assert_eq!(lost_paths(&repair), gone, "byte {at}");
    }
}

#[test]
fn what_stands_before_a_cut_is_kept_with_its_rows() {
    let scene = Scene::new();
    let (path, sound) = pack_of(&scene);
    let table = usize::try_from(u64::from_le_bytes(
        sound[24..32].try_into().expect("eight bytes"),
    ))
    .expect("small");
    for len in 0..sound.len() {
        reset(&scene, &path, &sound[..len]);
        let repair = repair(&scene);
        let rows = len.saturating_sub(table) / 64;
        let expected = rows.min(NUMBERS.len());
        assert_eq!(found(&scene).len(), expected, "length {len}");
        let told = if len < 64 {
            0
        } else {
            NUMBERS.len() - expected
        };
        assert_eq!(repair.lost_nameless, told as u64, "length {len}");
    }
}

#[test]
fn an_entry_that_stands_elsewhere_is_not_lost() {
    let scene = Scene::new();
    let (path, mut content) = pack_of(&scene);
    content[64] ^= 1;
    std::fs::write(&path, &content).expect("writes");
    for number in NUMBERS {
        put(&scene.open(), number).expect("stored");
    }
    let repair = repair(&scene);
    assert_eq!((repair.kept, repair.lost.len()), (3, 0));
    assert_eq!(found(&scene), NUMBERS);
}

#[test]
fn every_byte_of_an_overlay_file() {
    let scene = Scene::new();
    put(&scene.open(), 1).expect("stored");
    let hex = key(1).to_string();
    let group = scene.overlay().join(&hex[..2]);
    let path = group.join(format!("{}.entry", &hex[2..]));
    let sound = std::fs::read(&path).expect("reads");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).expect("writes");
        let repair = repair(&scene);
        let lost = repair.lost.len() as u64 + repair.lost_nameless;
        assert_eq!(found(&scene).len() as u64 + lost, 1, "byte {at}");
        assert!(
            lost_paths(&repair)
                .iter()
                .all(|path| *path == origin(1).path)
        );
    }
}

#[test]
fn untrusted_files_and_later_formats_are_left() {
    let scene = Scene::new();
    let (path, mut content) = pack_of(&scene);
    content[8] += 1;
    let sum = blake3::hash(&content[..56]);
    content[56..64].copy_from_slice(&sum.as_bytes()[..8]);
    std::fs::write(&path, &content).expect("writes");
    std::os::unix::fs::symlink("elsewhere", scene.packs().join("link.pack")).expect("links");
    let repair = scene.open().repair().expect("repairs").expect("not locked");
    let mut slugs: Vec<_> = repair.left.iter().map(|left| left.why.slug()).collect();
    slugs.sort_unstable();
    assert_eq!(slugs, ["format", "untrusted"]);
    assert_eq!(std::fs::read(path).expect("reads"), content);
}

#[test]
fn a_memo_keeps_its_sound_rows() {
    let scene = Scene::new();
    let store = scene.open();
    let mut sources = Vec::new();
    for number in 0..3 {
        let path = scene.path().join(format!("{number}.py"));
        std::fs::write(&path, "").expect("writes");
        let mut stamp = cache::Stamp::of(&path.metadata().expect("stat"));
        stamp.taken_ns += 10_000_000_000;
        store.memo_put(&path, &stamp, &cache::SourceHash::of(b""));
        sources.push((path, stamp));
    }
    store.flush().expect("writes");
    let root = || Root::open(&scene.root(), &Trust::default()).expect("opens");
    assert_eq!((root().memo().rows, root().memo().damage), (3, None));
    let memo = scene.root().join("v2").join("memo");
    let sound = std::fs::read(&memo).expect("reads");
    let mut unnoticed = 0;
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&memo, damaged).expect("writes");
        let damage = root().memo().damage;
        unnoticed += usize::from(damage.is_none());
        let kept = root().repair_memo().expect("repairs");
        assert!(kept >= 2, "byte {at}");
        assert_eq!((root().memo().rows, root().memo().damage), (kept, None));
        let store = open(&scene.root(), Access::ReadOnly);
        let known = sources.iter();
        let known = known.filter(|(path, stamp)| store.memo_get(path, stamp).is_some());
        assert_eq!(known.count() as u64, kept, "byte {at}");
    }
    assert_eq!(unnoticed, 0);
}

#[test]
fn the_whole_store_is_counted_and_cleared() {
    let scene = Scene::new();
    let absent = Root::open(&scene.root(), &Trust::default()).expect("opens");
    assert!(!absent.exists() && absent.tags().is_empty());
    assert_eq!(
        absent.clear(None).expect("clears"),
        cache::Cleared::default()
    );
    assert!(!scene.root().exists());
    let store = scene.open();
    write_pack(&store, NUMBERS);
    put(&store, 9).expect("stored");
    let foreign = scene.packs().join("notes.txt");
    std::fs::write(&foreign, "mine").expect("writes");
    std::fs::create_dir(scene.root().join("v7")).expect("makes");
    let root = Root::open(&scene.root(), &Trust::default()).expect("opens");
    assert_eq!((root.tags(), root.other_formats()), (vec![tag()], vec![7]));
    let writer = store.pack_writer().expect("a writer");
    let usage = root.usage(&tag()).expect("counts");
    assert_eq!(
        (usage.packs, usage.pack_entries, usage.overlay_files),
        (1, 4, 1)
    );
    assert_eq!(usage.temporary_files, 1);
    let cleared = root.clear(None).expect("clears");
    assert_eq!((cleared.files, cleared.in_use), (2, 1));
    assert_eq!(cleared.bytes, usage.bytes());
    assert!(foreign.exists());
    drop(writer);
    let usage = root.usage(&tag()).expect("counts");
    assert_eq!((usage.bytes(), usage.temporary_files), (0, 0));
    // A process that had it open goes on.
    put(&store, 5).expect("stored");
    let all = Limits {
        max_bytes: Some(0),
        max_age: None,
    };
    assert_eq!(root.evict(&all).expect("evicts").files, 1);
    assert!(found(&scene).is_empty());
}

#[test]
fn interpreters_are_cleared_one_by_one() {
    let scene = Scene::new();
    put(&scene.open(), 1).expect("stored");
    let root = Root::open(&scene.root(), &Trust::default()).expect("opens");
    let other = cache::Tag::new("cpython-399", 1);
    assert_eq!(root.clear(Some(&[other])).expect("clears").files, 0);
    assert_eq!(root.clear(Some(&[tag()])).expect("clears").files, 1);
}
