//! Fresh and stale `.pyc` files, written by hand as every version would.

use std::time::UNIX_EPOCH;

use super::*;
use pyc::Header;

const SOURCE: &[u8] = b"x = 1\n";
const CODE: &[u8] = b"marshal bytes";
const VERSION: PyVersion = PyVersion::V313;

/// Writes a source of a known age and a `.pyc` that is `younger` than it, and looks.
fn looked(header: &[u8], younger: Duration) -> Result<Vec<u8>, Stale> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (source, compiled) = (folder.path().join("m.py"), folder.path().join("m.pyc"));
    fs::write(&source, SOURCE).expect("writes");
    fs::write(&compiled, [header, CODE].concat()).expect("writes");
    let born = UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
    for (path, time) in [(&source, born), (&compiled, born + younger)] {
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_modified(time).expect("sets the time");
    }
    let metadata = fs::metadata(&source).expect("exists");
    fresh_code(&compiled, VERSION, SOURCE, &metadata)
}

fn stamped(version: PyVersion, mtime: u32, size: u32) -> [u8; 16] {
    pyc::write_header(Header {
        version,
        validation: Validation::Timestamp { mtime, size },
    })
}

fn hashed(checked: bool, of: &[u8]) -> [u8; 16] {
    let hash = pyc::source_hash(VERSION, of);
    pyc::write_header(Header {
        version: VERSION,
        validation: Validation::Hash { checked, hash },
    })
}

const LATER: Duration = Duration::from_secs(1);

#[test]
fn time_and_size_must_match() {
    assert_eq!(
        looked(&stamped(VERSION, 1_700_000_000, 6), LATER).as_deref(),
        Ok(CODE)
    );
    assert_eq!(
        looked(&stamped(VERSION, 1_700_000_001, 6), LATER),
        Err(Stale::Outdated)
    );
    assert_eq!(
        looked(&stamped(VERSION, 1_700_000_000, 7), LATER),
        Err(Stale::Outdated)
    );
}

#[test]
fn an_edit_within_the_second_of_the_compilation_is_not_believed() {
    let header = stamped(VERSION, 1_700_000_000, 6);
    assert_eq!(
        looked(&header, Duration::from_millis(50)),
        Err(Stale::Outdated)
    );
}

#[test]
fn a_hash_is_compared_whether_checked_or_not() {
    for checked in [false, true] {
        assert_eq!(
            looked(&hashed(checked, SOURCE), Duration::ZERO).as_deref(),
            Ok(CODE)
        );
        assert_eq!(
            looked(&hashed(checked, b"y = 1\n"), LATER),
            Err(Stale::Outdated)
        );
    }
}

#[test]
fn other_versions_and_damaged_headers_are_foreign() {
    let other = stamped(PyVersion::V312, 1_700_000_000, 6);
    assert_eq!(looked(&other, LATER), Err(Stale::Foreign));
    assert_eq!(looked(b"short", LATER), Err(Stale::Foreign));
    assert_eq!(looked(b"sixteen bytes or", LATER), Err(Stale::Foreign));
}

#[test]
fn a_file_that_is_not_there_is_absent() {
    let metadata = fs::metadata("/").expect("exists");
    let gone = Path::new("/nonexistent/m.pyc");
    assert_eq!(
        fresh_code(gone, VERSION, SOURCE, &metadata),
        Err(Stale::Absent)
    );
}
