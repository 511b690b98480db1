//! What one interpreter's part of a store holds, and what in it is not used.

use super::Root;
use crate::dir::{self, Dir};
use crate::error::OpenError;
use crate::key::Tag;
use crate::store::{Access, ENTRY_SUFFIX, OVERLAY, PACK_SUFFIX, PACKS, Refused, Store, n_entries};

/// Files, entries and bytes of one interpreter.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Packs that are used.
    pub packs: u64,
    /// Entries in them.
    pub pack_entries: u64,
    /// Bytes of all packs.
    pub pack_bytes: u64,
    /// Single-entry files.
    pub overlay_files: u64,
    /// Bytes of them.
    pub overlay_bytes: u64,
    /// Files that are being written, or that a writer left behind.
    pub temporary_files: u64,
    /// Bytes of them.
    pub temporary_bytes: u64,
    /// Files that are passed over, and why.
    pub refused: Vec<Refused>,
    /// Directories that are not trusted, with the reason.
    pub untrusted: Vec<String>,
}

impl Usage {
    /// Bytes of packs and overlay.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pack_bytes + self.overlay_bytes
    }
}

impl Root {
    /// Counts what one interpreter's part holds; no entry is read.
    pub fn usage(&self, tag: &Tag) -> Result<Usage, OpenError> {
        let mut usage = Usage::default();
        let store = Store::open(&self.path, tag, Access::ReadOnly, &self.trust)?;
        usage.refused = store.refused();
        (usage.packs, usage.pack_entries) = n_entries(&store);
        let part = match &self.version {
            Some(version) => version.child(tag.as_str(), false)?,
            None => None,
        };
        let Some(part) = part else { return Ok(usage) };
        if let Some(packs) = part.child(PACKS, false)? {
            count(&packs, &mut usage, |usage, name, len| {
                if name.ends_with(PACK_SUFFIX) {
                    usage.pack_bytes += len;
                }
            });
        }
        if let Some(overlay) = part.child(OVERLAY, false)? {
            let ignore = |_: &mut Usage, _: &str, _| {};
            count(&overlay, &mut usage, ignore);
            for name in overlay.names().unwrap_or_default() {
                if name.len() != 2 {
                    continue;
                }
                match overlay.child(&name, false) {
                    Ok(Some(group)) => count(&group, &mut usage, |usage, name, len| {
                        if name.ends_with(ENTRY_SUFFIX) {
                            usage.overlay_files += 1;
                            usage.overlay_bytes += len;
                        }
                    }),
                    Ok(None) => {}
                    Err(error) => usage.untrusted.push(error.to_string()),
                }
            }
        }
        Ok(usage)
    }
}

/// Counts the temporary files of a directory, and has the others counted.
fn count(dir: &Dir, usage: &mut Usage, mut other: impl FnMut(&mut Usage, &str, u64)) {
    for name in dir.names().unwrap_or_default() {
        let Ok(stat) = dir.stat(&name) else { continue };
        if dir::is_temp(&name) {
            usage.temporary_files += 1;
            usage.temporary_bytes += stat.len;
        } else {
            other(usage, &name, stat.len);
        }
    }
}
