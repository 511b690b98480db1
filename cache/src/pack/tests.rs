//! Packs give back what was put in, in any order, and refuse what is damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Pack, PackWriter};
use crate::dir::Dir;
use crate::entry::{Origin, Parts};
use crate::key::{Key, SourceHash};
use crate::trust::Trust;

fn origin(path: &str) -> Origin {
    Origin {
        path: path.to_owned(),
        source: SourceHash::of(path.as_bytes()),
        engine: "1.0".to_owned(),
        python: "CPython 3.13.0".to_owned(),
        variant: "every line".to_owned(),
    }
}

fn write(entries: &[(Key, Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = Dir::open(&root.path().join("packs"), true, &Trust::default())
        .expect("opens")
        .expect("is there");
    let mut writer = PackWriter::create(dir, Arc::default()).expect("creates");
    for (key, code, sites) in entries {
        writer
            .add(key, Parts { code, sites }, origin(&key.to_string()))
            .expect("adds");
    }
    let name = writer.finish().expect("finishes")?;
    let packs = root.path().join("packs");
    let names: Vec<_> = std::fs::read_dir(&packs).expect("lists").collect();
    assert_eq!(names.len(), 1, "only the pack stays");
    Some(std::fs::read(packs.join(name)).expect("reads"))
}

fn key(seed: u8) -> Key {
    Key::from_bytes(*blake3::hash(&[seed]).as_bytes())
}

#[test]
fn a_pack_without_entries_is_not_written() {
    assert_eq!(write(&[]), None);
}

#[test]
fn the_first_of_equal_keys_stays() {
    let content = write(&[
        (key(1), b"first".to_vec(), vec![]),
        (key(2), b"other".to_vec(), vec![]),
        (key(1), b"second".to_vec(), vec![]),
    ]);
    let pack = Pack::from_bytes(Box::new(content.expect("a pack"))).expect("opens");
    assert_eq!(pack.len(), 2);
    let entry = pack.get(&key(1)).expect("listed").expect("sound");
    assert_eq!(entry.code(), b"first");
    assert_eq!(pack.damage(), []);
}

#[test]
fn parts_stand_at_multiples_of_sixteen() {
    let content = write(&[(key(1), vec![1; 17], vec![2; 5]), (key(2), vec![3], vec![])]);
    let bytes = content.expect("a pack");
    let pack = Pack::from_bytes(Box::new(bytes.clone())).expect("opens");
    for seed in [1, 2] {
        let entry = pack.get(&key(seed)).expect("listed").expect("sound");
        let at = bytes
            .windows(entry.code().len())
            .position(|w| w == entry.code());
        assert_eq!(at.map(|at| at % 16), Some(0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_reads_back(
        entries in proptest::collection::btree_map(
            any::<[u8; 32]>(),
            (proptest::collection::vec(any::<u8>(), 0..200), proptest::collection::vec(any::<u8>(), 0..60)),
            1..20,
        ),
        absent in any::<[u8; 32]>(),
    ) {
        let listed: Vec<_> = entries
            .iter()
            .rev()
            .map(|(key, (code, sites))| (Key::from_bytes(*key), code.clone(), sites.clone()))
            .collect();
        let pack = Pack::from_bytes(Box::new(write(&listed).expect("a pack"))).expect("opens");
        prop_assert_eq!(pack.damage(), vec![]);
        for (key, code, sites) in &listed {
            let entry = pack.get(key).expect("listed").expect("sound");
            prop_assert_eq!(entry.code(), &code[..]);
            prop_assert_eq!(entry.sites(), &sites[..]);
        }
        let origins: BTreeMap<_, _> = pack.keys().zip(pack.origins().expect("decodes")).collect();
        for key in entries.keys().map(|key| Key::from_bytes(*key)) {
            prop_assert_eq!(origins.get(&key), Some(&origin(&key.to_string())));
        }
        if !entries.contains_key(&absent) {
            prop_assert!(pack.get(&Key::from_bytes(absent)).is_none());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(pack) = Pack::from_bytes(Box::new(bytes)) {
            let _ = pack.damage();
        }
    }
}
