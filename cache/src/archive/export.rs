//! From stores to an archive: which entries go into it, in which order, under which path.

use std::fs::File;

use super::row::fits;
use super::write::ArchiveWriter;
use super::{ArchiveDigest, ArchiveError, BuildSummary, MAX_PART, ManifestRow, SigningKey};
use crate::entry::{Origin, Parts, checksum};
use crate::key::Key;
use crate::progress::Step;
use crate::store::{Lookup, Store};

/// What is exported, and how.
pub struct Export<'a> {
    /// Entries of this engine are exported; those of others nobody would find.
    pub engine: &'a str,
    /// Chooses entries by where they came from.
    pub wanted: &'a dyn Fn(&Origin) -> bool,
    /// The path that the manifest gives for the path of a source.
    pub path: &'a dyn Fn(String) -> String,
    /// Signs the archive.
    pub key: Option<&'a SigningKey>,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// How many bytes of code and sites.
    pub bytes: u64,
    /// Length of the archive.
    pub archive_bytes: u64,
    /// Digest of the archive, which an import can demand.
    pub digest: ArchiveDigest,
    /// The kinds of interpreters.
    pub builds: Vec<BuildSummary>,
    /// Entries of other engines, and such that came from nobody knows where.
    pub other_engines: u64,
    /// Paths of entries that are damaged or too large, and were left out.
    pub left_out: Vec<String>,
}

/// Writes the sound entries of stores to an empty file; nothing at all when there are none.
///
/// `progress` is told entries.
pub fn export(
    stores: &[Store],
    file: File,
    options: &Export<'_>,
    progress: &mut dyn FnMut(Step),
) -> Result<Option<Exported>, ArchiveError> {
    let mut sorted: Vec<&Store> = stores.iter().collect();
    sorted.sort_by(|a, b| a.tag().as_str().cmp(b.tag().as_str()));
    sorted.dedup_by(|a, b| a.tag() == b.tag());
    let mut other_engines = 0;
    let mut chosen = Vec::with_capacity(sorted.len());
    for store in sorted {
        let mut entries = Vec::new();
        for listed in store.list() {
            if listed.origin.engine != options.engine {
                other_engines += 1;
            } else if (options.wanted)(&listed.origin) {
                let mut origin = listed.origin;
                origin.path = (options.path)(origin.path);
                entries.push((listed.key, origin));
            }
        }
        chosen.push((store, in_order(entries)));
    }
    let total: usize = chosen.iter().map(|(_, entries)| entries.len()).sum();
    progress(Step::Total(total as u64));
    let mut writer = ArchiveWriter::create(file, options.engine)?;
    let mut builds: Vec<BuildSummary> = Vec::new();
    let mut left_out = Vec::new();
    for (store, entries) in chosen {
        let (before, bytes_before) = (writer.entries(), writer.bodies_len());
        for (key, origin) in entries {
            progress(Step::Done(1));
            let path = origin.path.clone();
            if !add(&mut writer, store, key, origin)? {
                left_out.push(path);
            }
        }
        if writer.entries() > before {
            builds.push(BuildSummary {
                tag: store.tag().clone(),
                entries: writer.entries() - before,
                bytes: writer.bodies_len() - bytes_before,
            });
        }
    }
    if writer.entries() == 0 {
        return Ok(None);
    }
    let (entries, bytes) = (writer.entries(), writer.bodies_len());
    let written = writer.finish(options.key)?;
    Ok(Some(Exported {
        entries,
        bytes,
        archive_bytes: written.len,
        digest: written.digest,
        builds,
        other_engines,
        left_out,
    }))
}

/// One entry for each key, in the order of the manifest.
fn in_order(mut entries: Vec<(Key, Origin)>) -> Vec<(Key, Origin)> {
    fn order((key, origin): &(Key, Origin)) -> (&str, &str, &Key, &str) {
        (&origin.path, &origin.variant, key, &origin.python)
    }
    // A key that is listed twice stays where its first path is.
    entries.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(a).cmp(&order(b))));
    entries.dedup_by(|a, b| a.0 == b.0);
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    entries
}

/// Writes one entry; false when it is damaged or too large for an archive.
fn add(
    writer: &mut ArchiveWriter,
    store: &Store,
    key: Key,
    origin: Origin,
) -> Result<bool, ArchiveError> {
    let Lookup::Hit(entry) = store.get(&key) else {
        return Ok(false);
    };
    let parts = Parts {
        code: entry.code(),
        sites: entry.sites(),
    };
    let part_len = |part: &[u8]| {
        u32::try_from(part.len())
            .ok()
            .filter(|len| *len <= MAX_PART)
    };
    let texts = [&origin.path, &origin.variant, &origin.python];
    let (Some(code_len), Some(sites_len), Some(magic), true) = (
        part_len(parts.code),
        part_len(parts.sites),
        store.tag().magic(),
        texts.iter().all(|text| fits(text)),
    ) else {
        return Ok(false);
    };
    let row = ManifestRow {
        tag: store.tag().clone(),
        magic,
        key,
        origin,
        code_len,
        sites_len,
        checksum: checksum(&key, parts),
    };
    writer.add(&row, parts)?;
    Ok(true)
}
