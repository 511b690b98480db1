//! What an imported file says of the sources that are here, below `--root`.
//!
//! Their hashes are remembered with the state of the files, so that the first run does not have to
//! read what the import has just compared. Paths come from a file that somebody else may have
//! written: only those that stay below the folder are followed, to regular files alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use ::cache::{Origin, SourceHash, Stamp, Store};
use rayon::prelude::*;

use crate::cli::precompile::MAX_SOURCE;

/// The sources of entries, by their paths below a folder.
#[derive(Default)]
pub(super) struct Sources(RefCell<BTreeMap<String, Vec<SourceHash>>>);

/// How the sources below a folder compare with those that entries were made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Compared {
    /// Sources that are the same here.
    pub(super) same: usize,
    /// Sources that are others here.
    pub(super) different: usize,
    /// Sources that are not here, or cannot be read.
    pub(super) absent: usize,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            same,
            different,
            absent,
        } = self;
        write!(
            f,
            "{same} as in the file, {different} others, {absent} not there"
        )
    }
}

impl Sources {
    /// Takes note of where an entry came from, if that is below a folder.
    pub(super) fn note(&self, origin: &Origin) {
        let path = Path::new(&origin.path);
        let stays_below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if stays_below && !origin.path.is_empty() {
            let mut sources = self.0.borrow_mut();
            let hashes = sources.entry(origin.path.clone()).or_default();
            if !hashes.contains(&origin.source) {
                hashes.push(origin.source);
            }
        }
    }

    /// Reads the sources below a folder, which goes by these names, and has the store remember
    /// those that are the same.
    pub(super) fn compare(self, folder: &[PathBuf; 2], store: Option<&Store>) -> Compared {
        // A program may reach the folder by either name.
        let names = &folder[usize::from(folder[0] == folder[1])..];
        let sources: Vec<_> = self.0.into_inner().into_iter().collect();
        let look = |(path, hashes): &(String, Vec<SourceHash>)| {
            let found = state_of(&folder[0].join(path))?;
            Some((found, hashes.contains(&found.1)))
        };
        let found: Vec<_> = sources.par_iter().map(look).collect();
        let mut compared = Compared::default();
        for ((path, _), found) in sources.iter().zip(found) {
            match found {
                None => compared.absent += 1,
                Some((_, false)) => compared.different += 1,
                Some(((stamp, hash), true)) => {
                    compared.same += 1;
                    if let Some(store) = store {
                        for base in names {
                            store.memo_put(&base.join(path), &stamp, &hash);
                        }
                    }
                }
            }
        }
        compared
    }
}

/// The state of a file, and then what it holds.
fn state_of(path: &Path) -> Option<(Stamp, SourceHash)> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SOURCE {
        return None;
    }
    let stamp = Stamp::of(&metadata);
    Some((stamp, SourceHash::of(&fs::read(path).ok()?)))
}
