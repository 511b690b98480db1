//! The compiled fixtures: `fixtures/pyc/3.N/*.pyc`, made of `fixtures/source/*.py`.

#![expect(clippy::disallowed_methods, reason = "fixtures are files")]

use std::fs;
use std::path::{Path, PathBuf};

use instrument::{PyVersion, pyc};

/// One compiled source.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) version: PyVersion,
    pub(crate) source: Vec<u8>,
    pub(crate) pyc: Vec<u8>,
}

impl Fixture {
    pub(crate) fn header(&self) -> pyc::Header {
        pyc::read(&self.pyc).expect("a fixture is a .pyc").0
    }

    pub(crate) fn marshalled(&self) -> &[u8] {
        pyc::read(&self.pyc).expect("a fixture is a .pyc").1
    }

    /// For messages.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.version, self.name)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(folder().join("source")).expect("fixtures/source can be listed");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 12, "fixtures are missing");
    names
}

/// One fixture by the name of its source.
pub(crate) fn one(version: PyVersion, name: &str) -> Fixture {
    let read = |path: PathBuf| {
        fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    };
    Fixture {
        name: name.to_owned(),
        version,
        source: read(folder().join(format!("source/{name}.py"))),
        pyc: read(folder().join(format!("pyc/{version}/{name}.pyc"))),
    }
}

/// Every fixture of every version.
pub(crate) fn all() -> Vec<Fixture> {
    let names = names();
    let each = |version| names.iter().map(move |name| one(version, name));
    PyVersion::ALL.into_iter().flat_map(each).collect()
}
