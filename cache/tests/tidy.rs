//! Limits that are kept by whoever writes, and times of use that a wrong clock has set.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cache::{Access, Limits};

use crate::scene::{Scene, files, has, open, put, write_pack};

#[test]
fn times_of_use_that_are_yet_to_come_are_brought_back() {
    let scene = Scene::new();
    let store = scene.open();
    let pack = scene.packs().join(write_pack(&store, 0..5));
    (5..10).for_each(|n| put(&store, n).expect("stored"));
    let day = Duration::from_secs(24 * 60 * 60);
    let ahead = SystemTime::now() + 400 * day;
    let set = |path: &Path, time| {
        let file = File::open(path).expect("opens");
        file.set_modified(time).expect("sets");
    };
    let age = |path: &Path| {
        let used = std::fs::metadata(path)
            .and_then(|m| m.modified())
            .expect("stat");
        SystemTime::now().duration_since(used)
    };
    let entries = || {
        let all = files(&scene.overlay());
        all.into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "entry"))
    };
    set(&pack, ahead);
    entries().for_each(|path| set(&path, ahead));
    // A hit does it, and eviction does it.
    let store = scene.open();
    assert!((0..10).all(|n| has(&store, n)));
    assert!(age(&pack).is_ok() && entries().all(|path| age(&path).is_ok()));
    set(&pack, ahead);
    entries().for_each(|path| set(&path, ahead));
    let limits = Limits {
        max_age: Some(day),
        max_bytes: None,
    };
    assert_eq!(
        store.evict(&limits).expect("evicts").files,
        0,
        "their age is not known"
    );
    assert!(age(&pack).is_ok() && entries().all(|path| age(&path).is_ok()));
    // Long unused by the clock as it is now.
    set(&pack, SystemTime::now() - 3 * day);
    assert_eq!(store.evict(&limits).expect("evicts").files, 1);
    assert!((5..10).all(|n| has(&store, n)));
}

#[test]
fn whoever_writes_keeps_the_store_within_its_limits() {
    let scene = Scene::new();
    let old = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    let make_old = || {
        for path in files(&scene.root()) {
            File::open(path)
                .and_then(|f| f.set_modified(old))
                .expect("ages");
        }
    };
    let limits = Limits {
        max_bytes: Some(40_000),
        max_age: None,
    };
    let store = scene.open();
    (0..200).for_each(|n| put(&store, n).expect("stored"));
    assert_eq!(store.tidy(), None, "there is no limit yet");
    store.keep_within(limits);
    make_old();
    let removal = store.tidy().expect("it is due");
    assert!(
        removal.remaining <= 36_000 && removal.files > 50,
        "{removal:?}"
    );
    assert_eq!(store.tidy(), None, "nothing was written since");

    // Written a little: only when nobody has tidied for an hour.
    put(&store, 1).expect("stored");
    assert_eq!(store.tidy(), None);
    make_old();
    assert_eq!(store.tidy().map(|removal| removal.busy), Some(false));

    // Written much: at once, and what is in use stays.
    let writer = scene.open();
    writer.keep_within(limits);
    (300..500).for_each(|n| put(&writer, n).expect("stored"));
    assert!((300..500).all(|n| has(&writer, n)), "used within the hour");
    make_old();
    (500..530).for_each(|n| put(&writer, n).expect("stored"));
    let left = (300..500).filter(|n| has(&writer, *n)).count();
    assert!(left < 150 && (500..530).all(|n| has(&writer, n)), "{left}");

    let reader = open(&scene.root(), Access::ReadOnly);
    reader.keep_within(Limits {
        max_bytes: Some(0),
        max_age: None,
    });
    assert_eq!(reader.tidy(), None, "it may not write");
}
