//! Stores carried elsewhere in one file: everything arrives, or nothing and the reason.

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use cache::archive::{
    Archive, ArchiveDigest, ArchiveError, Demand, Export, Exported, Import, Imported, Signature,
    SigningKey, export,
};
use cache::{Access, Build, Entry, Store, Tag, Trust};
use proptest::prelude::*;

use crate::scene::{BUILD, Scene, has, key, open, origin, put, tag, write_pack};

/// Trusts nobody else.
static NOBODY: LazyLock<Trust> = LazyLock::new(Trust::default);

const OTHER: Build<'static> = Build {
    magic: 3627,
    cache_tag: "cpython-314",
    ..BUILD
};

fn signing_key(text: &str) -> SigningKey {
    SigningKey::from_text(text.as_bytes()).expect("a key")
}

fn export_stores(stores: &[Store], to: &Path, key: Option<&SigningKey>) -> Option<Exported> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(to);
    let options = Export {
        engine: BUILD.engine,
        wanted: &|_| true,
        path: &|path| path.trim_start_matches("/src/").to_owned(),
        key,
    };
    export(stores, file.expect("creates"), &options, &mut |_| {}).expect("exports")
}

fn import_bytes(root: &Path, bytes: &[u8], demand: &Demand<'_>) -> Result<Imported, ArchiveError> {
    let archive = Archive::open(&bytes, demand)?;
    import(root).run(&archive, &mut |_| {})
}

fn import(root: &Path) -> Import<'_> {
    Import {
        root,
        trust: &NOBODY,
        engine: BUILD.engine,
        known: &|tag| [BUILD.tag(), OTHER.tag()].contains(tag),
        known_in_words: "cpython-313-3571",
        wanted: &|_| true,
        path: &|path| format!("/there/{path}"),
        met: &|_| (),
        dry_run: false,
    }
}

fn demand(key: Option<&SigningKey>) -> Demand<'_> {
    Demand {
        digest: None,
        key,
        max_len: 1 << 30,
    }
}

/// The bytes of an archive with these entries.
fn archive_of(numbers: impl IntoIterator<Item = u32>, key: Option<&SigningKey>) -> Vec<u8> {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, numbers);
    let to = scene.path().join("archive");
    export_stores(&[store], &to, key).expect("has entries");
    std::fs::read(to).expect("reads")
}

fn files_below(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.expect("lists").path());
    paths
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[test]
fn everything_arrives() {
    let (from, to) = (Scene::new(), Scene::new());
    let store = from.open();
    write_pack(&store, 0..20);
    put(&store, 20).expect("stored");
    let other = Store::open(
        &from.root(),
        &OTHER.tag(),
        Access::ReadWrite,
        &Trust::default(),
    );
    let other = other.expect("opens");
    put(&other, 1).expect("stored");
    let file = from.path().join("archive");
    let exported = export_stores(&[other, store], &file, None).expect("has entries");
    assert_eq!((exported.entries, exported.builds.len()), (22, 2));
    let bytes = std::fs::read(&file).expect("reads");
    assert_eq!(exported.archive_bytes, bytes.len() as u64);
    let digest = format!("blake3:{}", blake3::hash(&bytes));
    assert_eq!(exported.digest.to_string(), digest);

    let opened = File::open(&file).expect("opens");
    let archive = Archive::open(&opened, &demand(None)).expect("opens");
    assert_eq!(archive.signature(), Signature::Absent);
    let mut manifest = archive.manifest().expect("opens");
    let first = manifest.read_next().expect("reads").expect("a row");
    assert_eq!(
        (first.tag.as_str(), first.magic),
        ("cpython-313-3571", 3571)
    );
    assert_eq!(first.origin.path, "module_0.py");
    assert_eq!(first.origin.source, origin(0).source);
    let imported = import(&to.root())
        .run(&archive, &mut |_| {})
        .expect("imports");
    assert_eq!((imported.added, imported.present), (22, 0));
    let store = to.open();
    assert!((0..21).all(|n| has(&store, n)));
    assert!(store.damage().is_empty());
    let mut paths: Vec<String> = store.list().into_iter().map(|l| l.origin.path).collect();
    paths.sort();
    assert_eq!(paths[0], "/there/module_0.py");
    assert_eq!((paths.len(), store.n_packs()), (21, 1));
    // Once more: all is there.
    let again = import(&to.root())
        .run(&archive, &mut |_| {})
        .expect("imports");
    assert_eq!((again.added, again.present), (0, 22));
    assert_eq!(to.open().n_packs(), 1);
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    let expected = archive_of(0..30, None);
    for scattered in [false, true] {
        let scene = Scene::new();
        let store = scene.open();
        for number in (0..30).rev() {
            if scattered && number % 3 == 0 {
                put(&store, number).expect("stored");
            } else {
                write_pack(&store, [number]);
            }
        }
        let to = scene.path().join("archive");
        export_stores(&[store], &to, None).expect("has entries");
        assert_eq!(std::fs::read(to).expect("reads"), expected);
    }
}

#[test]
fn every_byte_flipped_and_every_length_is_refused() {
    let key = signing_key("secret");
    for signed in [None, Some(&key)] {
        let sound = archive_of(0..3, signed);
        let scene = Scene::new();
        let refuse = |bytes: &[u8], what: &str| {
            for demanded in [None, signed] {
                let refused = import_bytes(&scene.root(), bytes, &demand(demanded));
                assert!(refused.is_err(), "{what}");
            }
            assert_eq!(files_below(scene.path()), 0, "{what}");
        };
        for at in 0..sound.len() {
            for bit in [0, 3, 7] {
                let mut damaged = sound.clone();
                damaged[at] ^= 1 << bit;
                refuse(&damaged, &format!("flip {at}"));
            }
            refuse(&sound[..at], &format!("cut {at}"));
        }
        refuse(&[&sound[..], b"\0"].concat(), "trailing");
        refuse(&[&sound[..], &sound[..]].concat(), "twice");
        let imported = import_bytes(&scene.root(), &sound, &demand(signed)).expect("imports");
        assert_eq!(imported.added, 3);
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_what_is_needed() {
    let scene = Scene::new();
    let bytes: &[u8] = &archive_of([1], None);
    let archive = Archive::open(&bytes, &demand(None)).expect("opens");
    let complain = |import: Import<'_>| {
        let refused = import.run(&archive, &mut |_| {}).expect_err("refused");
        assert_eq!(files_below(scene.path()), 0);
        refused.to_string()
    };
    let root = &scene.root();
    let newer = complain(Import {
        engine: "1.1",
        ..import(root)
    });
    assert!(
        newer.contains("engine 1.0") && newer.contains("engine 1.1"),
        "{newer}"
    );
    let unknown = complain(Import {
        known: &|_| false,
        ..import(root)
    });
    assert!(
        unknown.contains("holds code for cpython-313-3571") && unknown.contains("is needed"),
        "{unknown}"
    );
    let unwanted = complain(Import {
        wanted: &|_| false,
        ..import(root)
    });
    assert!(unwanted.contains("cpython-313-3571"), "{unwanted}");
    let mut later = bytes.to_vec();
    later[8] = 9;
    let refused = import_bytes(root, &later, &demand(None))
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains("store format 9") && refused.contains("needs format 2"),
        "{refused}"
    );
    later = bytes.to_vec();
    later[16] = 7;
    let refused = import_bytes(root, &later, &demand(None))
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains("version 7") && refused.contains("version 1"),
        "{refused}"
    );
    let other = import_bytes(root, b"PK\x03\x04", &demand(None)).expect_err("refused");
    assert!(matches!(other, ArchiveError::NotAnArchive), "{other}");
    let demanded = "blake3:".to_owned() + &"0".repeat(64);
    let pinned = Demand {
        digest: Some(demanded.parse().expect("a digest")),
        ..demand(None)
    };
    let refused = import_bytes(root, bytes, &pinned)
        .expect_err("refused")
        .to_string();
    assert!(refused.contains(&demanded), "{refused}");
    let right: ArchiveDigest = archive.digest();
    let pinned = Demand {
        digest: Some(right),
        ..demand(None)
    };
    assert_eq!(
        import_bytes(root, bytes, &pinned).expect("imports").added,
        1
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let scene = Scene::new();
    let bytes: &[u8] = &archive_of(0..4, None);
    let archive = Archive::open(&bytes, &demand(None)).expect("opens");
    let root = &scene.root();
    let told = Import {
        dry_run: true,
        ..import(root)
    };
    assert_eq!(told.run(&archive, &mut |_| {}).expect("reads").added, 4);
    assert!(!scene.root().exists());
}

#[test]
fn a_damaged_entry_is_imported_again_and_a_sound_one_stays() {
    let scene = Scene::new();
    let store = scene.open();
    let name = write_pack(&store, 0..3);
    let path = scene.packs().join(name);
    let mut content = std::fs::read(&path).expect("reads");
    content[64] ^= 1;
    std::fs::write(&path, content).expect("writes");
    let store = open(&scene.root(), Access::ReadOnly);
    assert_eq!((0..3).filter(|n| has(&store, *n)).count(), 2);
    let bytes = archive_of(0..3, None);
    let imported = import_bytes(&scene.root(), &bytes, &demand(None)).expect("imports");
    assert_eq!((imported.added, imported.present), (1, 2));
    assert!((0..3).all(|n| has(&scene.open(), n)));
}

#[test]
fn only_the_wanted_interpreters_are_taken() {
    let (from, to) = (Scene::new(), Scene::new());
    let stores: Vec<Store> = [BUILD.tag(), OTHER.tag()]
        .iter()
        .map(|tag| {
            Store::open(&from.root(), tag, Access::ReadWrite, &Trust::default()).expect("opens")
        })
        .collect();
    for store in &stores {
        put(store, 1).expect("stored");
    }
    let file = from.path().join("archive");
    export_stores(&stores, &file, None).expect("has entries");
    let opened = File::open(file).expect("opens");
    let archive = Archive::open(&opened, &demand(None)).expect("opens");
    let root = &to.root();
    // What is not wanted need not be known.
    let imported = Import {
        wanted: &|wanted: &Tag| *wanted == tag(),
        known: &|known: &Tag| *known == tag(),
        ..import(root)
    };
    let imported = imported.run(&archive, &mut |_| {}).expect("imports");
    assert_eq!((imported.added, imported.unwanted), (1, 1));
    assert!(!root.join("v2").join(OTHER.tag().as_str()).exists());
}

#[test]
fn entries_of_other_engines_are_left_out() {
    let scene = Scene::new();
    let store = scene.open();
    let mut foreign = origin(1);
    foreign.engine = "0.9".to_owned();
    let parts = cache::Parts {
        code: b"c",
        sites: b"",
    };
    store.put(&key(1), parts, &foreign).expect("stored");
    let file = scene.path().join("archive");
    assert!(export_stores(&[store], &file, None).is_none());
    let store = scene.open();
    put(&store, 2).expect("stored");
    let exported = export_stores(&[store], &file, None).expect("has entries");
    assert_eq!((exported.entries, exported.other_engines), (1, 1));
}

#[test]
fn an_archive_that_changes_while_it_is_read_is_noticed() {
    let scene = Scene::new();
    let file = scene.path().join("archive");
    std::fs::write(&file, archive_of(0..50, None)).expect("writes");
    let opened = File::open(&file).expect("opens");
    let archive = Archive::open(&opened, &demand(None)).expect("opens");
    std::fs::write(&file, archive_of(50..100, None)).expect("writes");
    import(&scene.root())
        .run(&archive, &mut |_| {})
        .expect_err("refused");
    assert_eq!(files_below(&scene.packs()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_entries_arrive(
        entries in proptest::collection::btree_map(
            any::<u32>(),
            (
                proptest::collection::vec(any::<u8>(), 0..300),
                proptest::collection::vec(any::<u8>(), 0..60),
                "\\PC{0,12}",
            ),
            1..12,
        ),
        signed in any::<bool>(),
    ) {
        let (from, to) = (Scene::new(), Scene::new());
        let store = from.open();
        for (number, (code, sites, path)) in &entries {
            let mut origin = origin(*number);
            origin.path.clone_from(path);
            store.put(&key(*number), cache::Parts { code, sites }, &origin).expect("stored");
        }
        let signature = signed.then(|| signing_key("k"));
        let file = from.path().join("archive");
        export_stores(&[store], &file, signature.as_ref()).expect("has entries");
        let bytes = std::fs::read(&file).expect("reads");
        let imported = import_bytes(&to.root(), &bytes, &demand(signature.as_ref()));
        prop_assert_eq!(imported.expect("imports").added, entries.len() as u64);
        let store = to.open();
        for (number, (code, sites, _)) in &entries {
            let entry: Entry = store.get(&key(*number)).hit().expect("arrived");
            prop_assert_eq!(entry.code(), &code[..]);
            prop_assert_eq!(entry.sites(), &sites[..]);
        }
    }
}
