//! Walking real folders: links, loops, repeated and unreadable things.

use std::os::unix::fs::symlink;

use super::*;

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("temporary folder");
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
        fs::write(path, "x = 1\n").expect("writes");
    }
    root
}

fn walked(root: &Path, paths: &[&str], kinds: Kinds, exclude: &[&str]) -> (Walk, Vec<String>) {
    let paths: Vec<PathBuf> = paths.iter().map(|path| root.join(path)).collect();
    let mut globs = globset::GlobSetBuilder::new();
    for glob in exclude {
        globs.add(globset::Glob::new(glob).expect("a glob"));
    }
    let walk = walk(&paths, kinds, &globs.build().expect("globs"));
    let below = |found: &Found| {
        found
            .path
            .strip_prefix(root)
            .expect("below")
            .display()
            .to_string()
    };
    let names = walk.files.iter().map(below).collect();
    (walk, names)
}

#[test]
fn sources_are_found_once_and_in_order() {
    let root = tree(&[
        "b.py",
        "a/x.py",
        "a/data.txt",
        "a/__pycache__/x.pyc",
        ".git/c.py",
        "w.pyw",
    ]);
    let (walk, names) = walked(root.path(), &["", "b.py", "a"], Kinds::Sources, &[]);
    assert_eq!(names, ["a/x.py", "b.py", "w.pyw"]);
    assert_eq!((walk.skipped, walk.failed), (vec![], vec![]));
}

#[test]
fn compiled_files_are_found_when_asked_for() {
    let root = tree(&["b.py", "a/__pycache__/x.cpython-313.pyc"]);
    let (_, names) = walked(root.path(), &[""], Kinds::SourcesAndCompiled, &[]);
    assert_eq!(names, ["a/__pycache__/x.cpython-313.pyc", "b.py"]);
}

#[test]
fn excluded_files_and_folders_are_not_entered() {
    let root = tree(&["b.py", "tests/x.py", "a/tests/deep/y.py", "a/z.py"]);
    let (_, names) = walked(root.path(), &[""], Kinds::Sources, &["**/tests"]);
    assert_eq!(names, ["a/z.py", "b.py"]);
}

#[test]
fn a_directory_loop_is_told_and_the_rest_is_done() {
    let root = tree(&["a/x.py", "a/b/y.py"]);
    symlink("..", root.path().join("a/b/up")).expect("links");
    symlink("itself", root.path().join("a/itself")).expect("links");
    symlink("gone.txt", root.path().join("a/broken.py")).expect("links");
    let (walk, names) = walked(root.path(), &["a"], Kinds::Sources, &[]);
    assert_eq!(names, ["a/b/y.py", "a/x.py"]);
    let reasons: Vec<&str> = walk
        .skipped
        .iter()
        .map(|skipped| &*skipped.reason)
        .collect();
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with("directory loop: leads back to"))
    );
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with("broken symbolic link"))
    );
}

#[test]
fn linked_files_and_folders_count_once() {
    let root = tree(&["real/x.py"]);
    symlink("real", root.path().join("linked")).expect("links");
    symlink("real/x.py", root.path().join("one.py")).expect("links");
    symlink("real/x.py", root.path().join("two.py")).expect("links");
    let (walk, names) = walked(root.path(), &[""], Kinds::Sources, &[]);
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(walk.skipped, []);
}

#[test]
fn paths_that_cannot_be_used_say_why() {
    let root = tree(&["notes.txt", "old.pyc"]);
    fs::write(root.path().join("tool"), "#!/usr/bin/env python3\n").expect("writes");
    let paths = ["gone", "notes.txt", "old.pyc", "tool"];
    let (walk, names) = walked(root.path(), &paths, Kinds::Sources, &[]);
    assert_eq!(names, ["tool"]);
    let reasons: Vec<&str> = walk.failed.iter().map(|failed| &*failed.reason).collect();
    assert!(reasons[0].starts_with("does not exist"));
    assert!(reasons[1].starts_with("is not a Python source"));
    assert!(reasons[2].starts_with("is a compiled file"));
}
