//! The store of one interpreter, asked file by file: what a source is, and what is missing of it.
//!
//! Damage counts as missing. Packs are read whole once and then believed until their files
//! change; files of the overlay are read each time, there are few.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use cache::{Entry, Key, KeyHasher, ProbeDigest, SourceHash, Stamp, Store};

use super::wanted::Wanted;
use crate::cli::interpreter::Interpreter;
use crate::cli::walk::Found;
use crate::variant_key::Probes;

/// Sources from this size on are refused: they would not fit a request to a worker.
pub(in crate::cli) const MAX_SOURCE: u64 = 1 << 30;

/// What is stored for one interpreter.
pub(super) struct Shelf<'a> {
    pub(super) store: &'a Store,
    pub(super) keys: KeyHasher,
    pub(super) wanted: &'a Wanted,
    /// Whether nothing was stored when the shelf was made.
    pub(super) is_empty: bool,
    damaged: HashSet<Key>,
    plain: ProbeDigest,
}

/// A source that was looked at.
pub(super) struct Looked {
    pub(super) hash: SourceHash,
    /// What was read, if it had to be.
    pub(super) read: Option<Read>,
}

/// A source that was read.
pub(super) struct Read {
    /// Its state from before.
    pub(super) metadata: Metadata,
    pub(super) content: Vec<u8>,
    pub(super) hash: SourceHash,
}

impl<'a> Shelf<'a> {
    /// Looks for damage first; `again` reads what was found sound before, too.
    pub(super) fn new(
        store: &'a Store,
        interpreter: &Interpreter,
        wanted: &'a Wanted,
        again: bool,
    ) -> Self {
        Self {
            store,
            keys: interpreter.target().keys(),
            wanted,
            is_empty: store.is_empty(),
            damaged: store.damaged_in_packs(again),
            plain: Probes::Plain.digest(),
        }
    }

    /// How many entries of packs are damaged.
    pub(super) fn n_damaged(&self) -> usize {
        self.damaged.len()
    }

    /// Reads a source, unless the state it was found in says what it held then.
    pub(super) fn look(&self, found: &Found) -> Result<Looked, String> {
        let known = |stamp: &Stamp| self.store.memo_get(&found.path, stamp);
        if let Some(hash) = found.stamp.as_ref().and_then(known) {
            return Ok(Looked { hash, read: None });
        }
        let read = self.read(&found.path)?;
        Ok(Looked {
            hash: read.hash,
            read: Some(read),
        })
    }

    /// Reads a source. Its state is asked for just before, as it may have been found long ago.
    pub(super) fn read(&self, path: &Path) -> Result<Read, String> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.len() > MAX_SOURCE {
            return Err("is larger than 1 GiB".to_owned());
        }
        let stamp = Stamp::of(&metadata);
        let content = fs::read(path).map_err(|error| unreadable(&error))?;
        let hash = SourceHash::of(&content);
        self.store.memo_put(path, &stamp, &hash);
        Ok(Read {
            metadata,
            content,
            hash,
        })
    }

    /// The variants of a file that the store does not have, or has damaged.
    pub(super) fn missing(&self, found: &Found, source: &SourceHash) -> Vec<Probes> {
        self.wanted
            .missing(found, source, |digest| self.holds(source, digest))
    }

    fn holds(&self, source: &SourceHash, digest: &ProbeDigest) -> bool {
        let key = self.keys.key(source, digest);
        if self.damaged.contains(&key) {
            // It may have been stored again since.
            return self.store.get(&key).hit().is_some();
        }
        self.store.holds(&key)
    }

    /// Whether what is stored of a variant is damaged.
    pub(super) fn is_damaged(&self, source: &SourceHash, probes: &Probes) -> bool {
        let key = self.keys.key(source, &probes.digest());
        self.damaged.contains(&key) || self.store.contains(&key)
    }

    /// The code of a source without probes.
    pub(super) fn plain(&self, source: &SourceHash) -> Option<Entry> {
        self.store.get(&self.keys.key(source, &self.plain)).hit()
    }
}

pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "cannot be read: permission denied; check its mode and owner".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}
