//! Stores in temporary directories, entries that can be told from their number, and children.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::{
    Access, Build, Key, KeyHasher, Lookup, Origin, Parts, ProbeDigest, ProbeSet, SourceHash, Stamp,
    Store, Tag,
};

pub(crate) const BUILD: Build<'static> = Build {
    engine: "1.0",
    magic: 3571,
    cache_tag: "cpython-313",
    abi_flags: "",
    optimize: 0,
    debug_ranges: true,
};

/// A directory that holds a store at `root()` and is removed in the end.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Children of another user have to reach the store in it.
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).expect("sets the mode");
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub(crate) fn open(&self) -> Store {
        open(&self.root(), Access::ReadWrite)
    }

    pub(crate) fn packs(&self) -> PathBuf {
        self.root()
            .join("v2")
            .join(BUILD.tag().as_str())
            .join("packs")
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.root()
            .join("v2")
            .join(BUILD.tag().as_str())
            .join("overlay")
    }
}

pub(crate) fn tag() -> Tag {
    BUILD.tag()
}

pub(crate) fn open(root: &Path, access: Access) -> Store {
    Store::open(root, &tag(), access, &cache::Trust::default()).expect("the store opens")
}

/// The stamp as it would be if it had been taken a few seconds later.
pub(crate) fn later(stamp: Stamp) -> Stamp {
    Stamp {
        taken_ns: stamp.taken_ns + 5_000_000_000,
        ..stamp
    }
}

pub(crate) fn source(number: u32) -> SourceHash {
    SourceHash::of(&number.to_le_bytes())
}

pub(crate) fn key(number: u32) -> Key {
    KeyHasher::new(&BUILD).key(&source(number), &ProbeDigest::of(ProbeSet::EveryLine))
}

pub(crate) fn code(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(1 + number as usize % 97)
}

pub(crate) fn sites(number: u32) -> Vec<u8> {
    format!("sites of {number}").into_bytes()
}

pub(crate) fn origin(number: u32) -> Origin {
    Origin {
        path: format!("/src/module_{number}.py"),
        source: source(number),
        engine: "1.0".to_owned(),
        python: "CPython 3.13.0".to_owned(),
        variant: "every line".to_owned(),
    }
}

pub(crate) fn put(store: &Store, number: u32) -> Result<(), cache::PutError> {
    let (code, sites) = (code(number), sites(number));
    let parts = Parts {
        code: &code,
        sites: &sites,
    };
    store.put(&key(number), parts, &origin(number))
}

pub(crate) fn write_pack(store: &Store, numbers: impl IntoIterator<Item = u32>) -> String {
    let mut writer = store.pack_writer().expect("a writer");
    for number in numbers {
        let (code, sites) = (code(number), sites(number));
        let parts = Parts {
            code: &code,
            sites: &sites,
        };
        writer
            .add(&key(number), parts, origin(number))
            .expect("adds");
    }
    let name = writer.finish().expect("finishes").expect("has entries");
    store.refresh();
    name
}

/// True for a hit; a hit with other bytes than were stored fails the test.
pub(crate) fn has(store: &Store, number: u32) -> bool {
    match store.get(&key(number)) {
        Lookup::Hit(entry) => {
            assert_eq!(entry.code(), code(number), "wrong code under {number}");
            assert_eq!(entry.sites(), sites(number), "wrong sites under {number}");
            true
        }
        Lookup::Miss(_) => false,
    }
}

/// This test binary again, with one test and one variable for it.
pub(crate) fn child(binary: &Path, test: &str, variable: &str, value: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .args([test, "--exact", "--nocapture"])
        .env(variable, value);
    command
}

pub(crate) fn this_binary() -> PathBuf {
    std::env::current_exe().expect("the test binary")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).expect("lists");
    let mut all: Vec<PathBuf> = found
        .map(|entry| entry.expect("lists").path())
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    all.sort();
    all
}
