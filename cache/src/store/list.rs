//! What a store holds and what is damaged in it: for listings and repairs, never at import.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{ENTRY_SUFFIX, GONE, MissReason, Store};
use crate::dir::{self, Dir};
use crate::entry::{self, Origin};
use crate::key::{FORMAT_VERSION, Key};
use crate::source::{self, Bytes};

/// One entry of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The file that holds it.
    pub file: PathBuf,
    /// Its key.
    pub key: Key,
    /// Where it came from.
    pub origin: Origin,
    /// Bytes of its code and sites.
    pub bytes: u64,
    /// When its file was last used, to the day, or written.
    pub used: SystemTime,
}

/// A damaged file, or one damaged entry in it.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The entry; `None` stands for the file as a whole.
    pub key: Option<Key>,
    /// What is wrong.
    pub why: MissReason,
}

impl Store {
    /// All entries whose origin can be read, those of packs first.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        if let Some(dir) = &self.packs {
            for open in &self.opened().packs {
                let file = dir.path().join(&open.name);
                let origins = open.pack.origins().unwrap_or_default();
                let rows = open.pack.keys().zip(open.pack.body_lens());
                listed.extend(rows.zip(origins).map(|((key, bytes), origin)| Listed {
                    file: file.clone(),
                    key,
                    origin,
                    bytes,
                    used: open.mtime,
                }));
            }
        }
        self.each_overlay_file(|found| {
            let bytes = found.content.as_ref().map(|bytes| (**bytes).as_ref());
            let read = bytes.ok().and_then(|bytes| {
                let len = entry::body_len(bytes).ok()?;
                Some((entry::read_origin(bytes).ok()?, len))
            });
            if let Some((origin, bytes)) = read {
                listed.push(Listed {
                    file: found.path(),
                    key: found.key,
                    origin,
                    bytes,
                    used: found.used,
                });
            }
        });
        listed
    }

    /// Reads every byte of every file and returns what is damaged or not trusted.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.damage_with(&mut |_| {})
    }

    /// As [`Store::damage`]; `progress` is told the bytes of each file after it was read.
    pub fn damage_with(&self, progress: &mut dyn FnMut(u64)) -> Vec<Damage> {
        let refused = self.refused().into_iter();
        let mut found: Vec<Damage> = refused
            .map(|r| Damage {
                file: r.path,
                key: None,
                why: r.why,
            })
            .collect();
        if let Some(dir) = &self.packs {
            for open in &self.opened().packs {
                let file = dir.path().join(&open.name);
                let damaged = open.pack.damage().into_iter().map(|(key, why)| Damage {
                    file: file.clone(),
                    key,
                    why: why.into(),
                });
                // What another process merged or evicted meanwhile is not damaged.
                found.extend(damaged.filter(|damage| damage.why != GONE));
                progress(open.pack.file_len());
            }
        }
        self.each_overlay_file(|file| {
            let (path, key) = (file.path(), file.key);
            let checked = file.content.and_then(|bytes| {
                progress((*bytes).as_ref().len() as u64);
                entry::read_origin((*bytes).as_ref())?;
                Ok(entry::read_file(bytes, &key)?)
            });
            if let Err(why) = checked {
                found.push(Damage {
                    file: path,
                    key: Some(key),
                    why,
                });
            }
        });
        found
    }

    /// Directories beside ours of formats that a later version writes; they are left alone.
    #[must_use]
    pub fn newer_formats(&self) -> Vec<PathBuf> {
        let Ok(found) = std::fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let format = |name: &str| name.strip_prefix('v')?.parse::<u32>().ok();
        let newer = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.ok()?;
            let format = format(entry.file_name().to_str()?)?;
            (format > FORMAT_VERSION).then(|| entry.path())
        };
        let mut newer: Vec<PathBuf> = found.filter_map(newer).collect();
        newer.sort();
        newer
    }

    pub(super) fn each_overlay_file(&self, mut visit: impl FnMut(OverlayFile<'_>)) {
        let Some(overlay) = &self.overlay else { return };
        for (group, dir) in overlay_groups(overlay) {
            for name in dir.names().unwrap_or_default() {
                let Some(key) = key_of(&group, &name) else {
                    continue;
                };
                let mut used = SystemTime::UNIX_EPOCH;
                let content = match dir.open_file(&name) {
                    Ok(None) => continue,
                    Ok(Some((file, metadata))) => {
                        used = metadata.modified().unwrap_or(used);
                        source::read(&file).map_err(|e| MissReason::Unreadable(e.kind()))
                    }
                    Err(error) => Err(error.into()),
                };
                visit(OverlayFile {
                    dir: &dir,
                    name: &name,
                    key,
                    used,
                    content,
                });
            }
        }
    }
}

/// A file of the overlay, read as a whole.
pub(super) struct OverlayFile<'a> {
    pub(super) dir: &'a Dir,
    pub(super) name: &'a str,
    pub(super) key: Key,
    used: SystemTime,
    pub(super) content: Result<Bytes, MissReason>,
}

impl OverlayFile<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }
}

/// The directories that the overlay is spread over, by the first two digits of the key.
pub(crate) fn overlay_groups(overlay: &Dir) -> Vec<(String, Dir)> {
    let mut names = overlay.names().unwrap_or_default();
    names.sort_unstable();
    let groups = names
        .into_iter()
        .filter(|name| name.len() == 2 && !dir::is_temp(name));
    groups
        .filter_map(|name| Some((overlay.child(&name, false).ok()??, name)))
        .map(|(dir, name)| (name, dir))
        .collect()
}

fn key_of(group: &str, name: &str) -> Option<Key> {
    Key::from_hex(&format!("{group}{}", name.strip_suffix(ENTRY_SUFFIX)?))
}
