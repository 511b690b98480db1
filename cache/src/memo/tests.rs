//! A stamp that still holds is trusted, and merged memos keep the newest row.

use std::path::Path;

use super::{MemoFile, Stamp, merge, row};
use crate::key::SourceHash;

fn stamp(mtime_s: i64, taken_s: i64) -> Stamp {
    let ns = 1_000_000_000;
    Stamp {
        mtime_ns: mtime_s * ns,
        size: 10,
        inode: 7,
        changed_ns: mtime_s * ns,
        taken_ns: taken_s * ns,
    }
}

fn file(rows: Vec<super::Row>) -> MemoFile {
    MemoFile::from_bytes(Box::new(merge(rows))).expect("a memo just written")
}

#[test]
fn the_row_taken_last_answers_for_a_path() {
    let (path, old, new) = (
        Path::new("/a.py"),
        SourceHash::of(b"old"),
        SourceHash::of(b"new"),
    );
    let (before, after) = (stamp(100, 110), stamp(100, 120));
    for rows in [
        vec![row(path, &before, &old), row(path, &after, &new)],
        vec![row(path, &after, &new), row(path, &before, &old)],
    ] {
        let memo = file(rows);
        assert_eq!(memo.len(), 1);
        assert_eq!(memo.get(path, &stamp(100, 500)), Some(new));
    }
}

#[test]
fn any_difference_in_the_stat_is_a_miss() {
    let (path, source) = (Path::new("/a.py"), SourceHash::of(b"x"));
    let seen = stamp(100, 110);
    let memo = file(vec![row(path, &seen, &source)]);
    assert_eq!(memo.get(path, &seen), Some(source));
    assert_eq!(memo.get(Path::new("/b.py"), &seen), None);
    for other in [
        Stamp {
            mtime_ns: seen.mtime_ns + 1,
            ..seen
        },
        Stamp { size: 11, ..seen },
        Stamp { inode: 8, ..seen },
        Stamp {
            changed_ns: seen.changed_ns + 1,
            ..seen
        },
    ] {
        assert_eq!(memo.get(path, &other), None);
    }
}

#[test]
fn a_file_that_was_young_or_from_the_future_is_not_believed() {
    let (path, source) = (Path::new("/a.py"), SourceHash::of(b"x"));
    for (mtime, taken, believed) in [
        (100, 102, true),
        (100, 101, false),
        (100, 100, false),
        (100, 50, false),
    ] {
        let seen = stamp(mtime, taken);
        let memo = file(vec![row(path, &seen, &source)]);
        assert_eq!(memo.get(path, &seen).is_some(), believed, "{mtime} {taken}");
        // A modification time that was set back tells less than the change of the inode.
        let seen = Stamp {
            mtime_ns: 0,
            ..seen
        };
        let memo = file(vec![row(path, &seen, &source)]);
        assert_eq!(memo.get(path, &seen).is_some(), believed, "{mtime} {taken}");
    }
}

#[test]
fn a_flipped_byte_never_changes_an_answer() {
    let paths = ["/a.py", "/b.py", "/c.py"].map(Path::new);
    let seen = stamp(100, 110);
    let source = |path: &Path| SourceHash::of(path.as_os_str().as_encoded_bytes());
    let content = merge(
        paths
            .iter()
            .map(|path| row(path, &seen, &source(path)))
            .collect(),
    );
    for at in 0..content.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = content.clone();
            damaged[at] ^= flip;
            let Ok(memo) = MemoFile::from_bytes(Box::new(damaged)) else {
                continue;
            };
            for path in paths {
                let answer = memo.get(path, &seen);
                assert!(answer.is_none_or(|hash| hash == source(path)), "byte {at}");
            }
        }
    }
    for len in 0..content.len() {
        assert!(
            MemoFile::from_bytes(Box::new(content[..len].to_vec())).is_err(),
            "length {len}"
        );
    }
}

#[test]
fn every_row_is_found_wherever_it_lies() {
    let seen = stamp(100, 110);
    for count in [0_u64, 1, 2, 9, 300, 5000] {
        let path = |number: u64| format!("/{number}.py");
        let source = |number: u64| SourceHash::of(&number.to_le_bytes());
        let rows = (0..count).map(|n| row(Path::new(&path(n)), &seen, &source(n)));
        let memo = file(rows.collect());
        for number in 0..count {
            assert_eq!(
                memo.get(Path::new(&path(number)), &seen),
                Some(source(number))
            );
        }
        for number in count..count + 200 {
            assert_eq!(memo.get(Path::new(&path(number)), &seen), None);
        }
    }
}
