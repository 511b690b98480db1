//! What a store holds and what is damaged in it: for listings and repairs, never at import.

use std::path::PathBuf;

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
                listed.extend(open.pack.keys().zip(origins).map(|(key, origin)| Listed {
                    file: file.clone(),
                    key,
                    origin,
                }));
            }
        }
        self.each_overlay_file(|file, key, content| {
            if let Ok(origin) = content.and_then(|bytes| Ok(entry::read_origin((*bytes).as_ref())?))
            {
                listed.push(Listed { file, key, origin });
            }
        });
        listed
    }

    /// Reads every byte of every file and returns what is damaged or not trusted.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
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
            }
        }
        self.each_overlay_file(|file, key, content| {
            let checked = content.and_then(|bytes| {
                entry::read_origin((*bytes).as_ref())?;
                Ok(entry::read_file(bytes, &key)?)
            });
            if let Err(why) = checked {
                found.push(Damage {
                    file,
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

    fn each_overlay_file(&self, mut visit: impl FnMut(PathBuf, Key, Result<Bytes, MissReason>)) {
        let Some(overlay) = &self.overlay else { return };
        for (group, dir) in overlay_groups(overlay) {
            for name in dir.names().unwrap_or_default() {
                let Some(key) = key_of(&group, &name) else {
                    continue;
                };
                let content = match dir.open_file(&name) {
                    Ok(None) => continue,
                    Ok(Some((file, _))) => {
                        source::read(&file).map_err(|e| MissReason::Unreadable(e.kind()))
                    }
                    Err(error) => Err(error.into()),
                };
                visit(dir.path().join(&name), key, content);
            }
        }
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
