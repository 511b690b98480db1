//! Stores that cannot be written: they are read, and a refused write is an error, not a loss.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use cache::{Access, Counter, Limits, PutError};

use crate::scene::{Scene, child, code, has, is_root, key, open, put, this_binary, write_pack};

const NOBODY: u32 = 65_534;
const READER: &str = "STORE_OF_READER";
const FULL: &str = "STORE_ON_FULL_DISK";

fn assert_refuses_writes(root: &Path, access: Access) {
    let store = open(root, access);
    assert_eq!(store.access(), Access::ReadOnly);
    assert!(matches!(put(&store, 9), Err(PutError::ReadOnly { .. })));
    assert!(matches!(
        store.pack_writer(),
        Err(PutError::ReadOnly { .. })
    ));
    assert!(matches!(
        store.evict(&Limits::default()),
        Err(PutError::ReadOnly { .. })
    ));
    assert_eq!(store.counts().get(Counter::PutFailed), 1);
    assert!((0..5).all(|n| has(&store, n)));
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![dir.to_owned()];
    for entry in std::fs::read_dir(dir).expect("lists") {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn fill(scene: &Scene) {
    let store = scene.open();
    write_pack(&store, 0..4);
    put(&store, 4).expect("stored");
}

#[test]
fn read_only_access_changes_nothing() {
    let scene = Scene::new();
    fill(&scene);
    let before = all_files(&scene.root());
    assert_refuses_writes(&scene.root(), Access::ReadOnly);
    assert_eq!(all_files(&scene.root()), before);
}

#[test]
fn an_absent_store_opened_read_only_is_empty_and_stays_absent() {
    let scene = Scene::new();
    let store = open(&scene.root(), Access::ReadOnly);
    assert!(!has(&store, 1) && store.list().is_empty() && store.damage().is_empty());
    assert!(!scene.root().exists());
}

/// Runs as a user without rights on the store.
#[test]
fn child_reads() {
    let Some(root) = std::env::var_os(READER).map(PathBuf::from) else {
        return;
    };
    assert_refuses_writes(&root, Access::ReadWrite);
}

#[test]
fn a_store_of_root_is_read_by_others() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fill(&scene);
    for path in all_files(&scene.root()) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("sets the mode");
    }
    let binary = scene.path().join("reader");
    std::fs::copy(this_binary(), &binary).expect("copies");
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).expect("sets the mode");
    let mut command = child(&binary, "readonly::child_reads", READER, &scene.root());
    let output = command
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output()
        .expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs where no file may grow beyond one block.
#[test]
fn child_on_a_full_disk() {
    let Some(root) = std::env::var_os(FULL).map(PathBuf::from) else {
        return;
    };
    let store = open(&root, Access::ReadWrite);
    let code = vec![1; 100_000];
    let parts = cache::Parts {
        code: &code,
        sites: &[],
    };
    let stored = store.put(&key(7), parts, &crate::scene::origin(7));
    assert!(matches!(stored, Err(PutError::Io { .. })), "{stored:?}");
    let mut writer = store.pack_writer().expect("an empty file fits");
    let added = writer.add(&key(7), parts, crate::scene::origin(7));
    assert!(added.is_err() || writer.finish().is_err());
    assert!((0..5).all(|n| has(&store, n)));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let scene = Scene::new();
    fill(&scene);
    let before = all_files(&scene.root());
    let inner = child(
        &this_binary(),
        "readonly::child_on_a_full_disk",
        FULL,
        &scene.root(),
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]);
    shell
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(FULL, scene.root());
    let output = shell.output().expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut after = all_files(&scene.root());
    after.retain(|path| !path.is_dir());
    let mut files = before;
    files.retain(|path| !path.is_dir());
    assert_eq!(after, files);
}

#[test]
fn a_store_that_vanished_is_an_error() {
    let scene = Scene::new();
    let store = scene.open();
    write_pack(&store, 0..4);
    let entry = store.get(&key(1)).hit().expect("is stored");
    std::fs::remove_dir_all(scene.root()).expect("removes");
    assert!(matches!(put(&store, 9), Err(PutError::Io { .. })));
    assert_eq!(entry.code(), code(1), "what was handed out stays");
    assert!((0..4).all(|n| !has(&store, n)));
    assert_eq!(store.n_packs(), 0);
    assert!(scene.open().damage().is_empty());
}
