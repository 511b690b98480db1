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
fn a_name_without_links_comes_before_one_with_them() {
    let root = tree(&["real/deep/x.py", "real/y.py"]);
    symlink("real/deep", root.path().join("a")).expect("links");
    symlink("..", root.path().join("real/deep/up")).expect("links");
    let (walk, names) = walked(root.path(), &[""], Kinds::Sources, &[]);
    assert_eq!(names, ["real/deep/x.py", "real/y.py"]);
    assert_eq!(walk.skipped.len(), 1, "{:?}", walk.skipped);
}

#[test]
fn what_only_links_lead_to_is_found_by_them() {
    let root = tree(&["in/x.py", "out/y.py", "out/more/z.py", "out/w.py"]);
    symlink("../out", root.path().join("in/first")).expect("links");
    symlink("../out", root.path().join("in/second")).expect("links");
    symlink("../../in", root.path().join("out/more/back")).expect("links");
    symlink("../out/w.py", root.path().join("in/w.py")).expect("links");
    let (walk, names) = walked(root.path(), &["in"], Kinds::Sources, &[]);
    let expected = ["in/first/more/z.py", "in/first/y.py", "in/w.py", "in/x.py"];
    assert_eq!(names, expected);
    assert!(
        walk.files
            .iter()
            .all(|found| found.linked != found.path.ends_with("x.py"))
    );
    let loops: Vec<_> = walk.skipped.iter().map(|skipped| &skipped.file).collect();
    assert_eq!(loops.len(), 1, "{loops:?}");
}

#[test]
fn a_link_out_of_the_tree_and_back_into_it_is_a_loop() {
    let root = tree(&["top/in/x.py", "top/y.py"]);
    symlink("..", root.path().join("top/in/up")).expect("links");
    let (walk, names) = walked(root.path(), &["top/in"], Kinds::Sources, &[]);
    assert_eq!(names, ["top/in/up/y.py", "top/in/x.py"]);
    assert_eq!(walk.skipped.len(), 1, "{:?}", walk.skipped);
}

#[test]
fn a_file_comes_with_its_state_whatever_led_to_it() {
    let root = tree(&["in/x.py", "out/y.py", "given.py"]);
    symlink("../out/y.py", root.path().join("in/y.py")).expect("links");
    let (walk, names) = walked(root.path(), &["in", "given.py"], Kinds::Sources, &[]);
    assert_eq!(names, ["given.py", "in/x.py", "in/y.py"]);
    for found in walk.files {
        let found_in = found.stamp.expect("could be asked for");
        let now = Stamp::of(&fs::metadata(&found.path).expect("exists"));
        let taken_ns = found_in.taken_ns;
        assert_eq!(found_in, Stamp { taken_ns, ..now });
    }
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
