//! Mends a store: what is damaged goes, every sound entry stays, at every moment.
//!
//! The sound entries of a damaged pack are in a new pack before the old one is removed. Files
//! that are not trusted or cannot be read are left to the user. Runs under the lock of eviction.

use std::io;

use super::list::{Damage, OverlayFile};
use super::{GONE, MissReason, Store};
use crate::dir::Dir;
use crate::entry::{self, Origin, Parts};
use crate::error::PutError;
use crate::key::Key;
use crate::pack::{Salvage, has_sound_header, salvage};
use crate::source;

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// Damaged files that were removed or replaced.
    pub files: u64,
    /// Entries of those files that were sound, and are kept.
    pub kept: u64,
    /// Where entries came from that were damaged and are gone.
    pub lost: Vec<Origin>,
    /// How many more are gone of which that is lost, too.
    pub lost_nameless: u64,
    /// What could not be mended.
    pub left: Vec<Damage>,
}

impl Store {
    /// Removes what is damaged and keeps what is sound; `None` when another process holds the
    /// lock.
    pub fn repair(&self) -> Result<Option<Repair>, PutError> {
        let version = self.writable(self.version.as_ref())?;
        let locked = version.lock();
        if !locked.map_err(|e| PutError::io(version.path(), e))? {
            return Ok(None);
        }
        let repaired = self.repair_locked();
        version.unlock();
        self.refresh();
        repaired.map(Some)
    }

    fn repair_locked(&self) -> Result<Repair, PutError> {
        self.refresh();
        let mut repair = Repair::default();
        let packs = self.writable(self.packs.as_deref())?;
        let opened = self.opened();
        for refused in &opened.refused {
            let name = refused.path.file_name().and_then(|name| name.to_str());
            match (refused.why, name) {
                (MissReason::Corrupt(_), Some(name)) => {
                    self.repair_pack(packs, name, &mut repair)?;
                }
                // A file of a later version is not ours to judge; one of ours whose head was
                // damaged says so by the checksum of its header.
                (MissReason::Format(_), Some(name)) if !is_of_another_version(packs, name) => {
                    self.repair_pack(packs, name, &mut repair)?;
                }
                _ => repair.left.push(Damage {
                    file: refused.path.clone(),
                    key: None,
                    why: refused.why,
                }),
            }
        }
        for open in &opened.packs {
            let mut damage = open.pack.damage().into_iter().map(|(_, why)| why.into());
            match damage.find(|why| *why != GONE) {
                Some(MissReason::Corrupt(_)) => {
                    self.repair_pack(packs, &open.name, &mut repair)?;
                }
                Some(why) => repair.left.push(Damage {
                    file: packs.path().join(&open.name),
                    key: None,
                    why,
                }),
                None => {}
            }
        }
        let mut first_error = None;
        self.each_overlay_file(|file| {
            let repaired = self.repair_overlay_file(file, &mut repair);
            first_error = first_error.take().or(repaired.err());
        });
        self.refresh();
        first_error.map_or(Ok(repair), Err)
    }

    fn repair_pack(&self, dir: &Dir, name: &str, repair: &mut Repair) -> Result<(), PutError> {
        let io = |error| PutError::io(dir.path(), error);
        // Before its bytes are read, so that what is removed in the end is what was read.
        let Ok(seen) = dir.stat(name) else {
            return Ok(());
        };
        let Ok(Some((file, _))) = dir.open_file(name) else {
            return Ok(());
        };
        let Salvage {
            sound,
            lost,
            nameless,
        } = salvage(source::read(&file).map_err(io)?);
        let mut writer = self.pack_writer()?;
        repair.kept += sound.len() as u64;
        for (key, entry, origin) in sound {
            let (code, sites) = (entry.code(), entry.sites());
            writer.add(&key, Parts { code, sites }, origin)?;
        }
        // The pack as it was before the damage has the name of the damaged one, and replaced it.
        if writer.finish()?.as_deref() != Some(name) {
            dir.remove_seen(name, &seen).map_err(io)?;
        }
        repair.files += 1;
        // What another file holds as well is not lost.
        let gone = lost.into_iter().filter(|(key, _)| !self.has_sound(key));
        repair.lost.extend(gone.map(|(_, origin)| origin));
        repair.lost_nameless += nameless;
        Ok(())
    }

    fn repair_overlay_file(
        &self,
        file: OverlayFile<'_>,
        repair: &mut Repair,
    ) -> Result<(), PutError> {
        let (dir, name, key, path) = (file.dir, file.name, file.key, file.path());
        let bytes = match file.content {
            Ok(bytes) => bytes,
            Err(why) => {
                let key = Some(key);
                repair.left.push(Damage {
                    file: path,
                    key,
                    why,
                });
                return Ok(());
            }
        };
        let origin = entry::read_origin((*bytes).as_ref()).ok();
        let split = entry::body_len((*bytes).as_ref()).is_ok();
        match (entry::salvage_file(bytes, &key), origin) {
            (Some(_), Some(_)) if split => Ok(()),
            (Some(entry), origin) => {
                let (code, sites) = (entry.code(), entry.sites());
                let origin = origin.unwrap_or_else(Origin::unknown);
                self.put_in_overlay(&key, Parts { code, sites }, &origin)?;
                repair.files += 1;
                repair.kept += 1;
                Ok(())
            }
            (None, origin) => {
                remove(dir, name).map_err(|e| PutError::io(dir.path(), e))?;
                repair.files += 1;
                match origin {
                    _ if self.has_sound(&key) => {}
                    Some(origin) => repair.lost.push(origin),
                    None => repair.lost_nameless += 1,
                }
                Ok(())
            }
        }
    }

    fn has_sound(&self, key: &Key) -> bool {
        self.get(key).hit().is_some()
    }
}

/// True for a file whose header is sound and names another format: not ours to judge.
fn is_of_another_version(dir: &Dir, name: &str) -> bool {
    let bytes = match dir.open_file(name) {
        Ok(Some((file, _))) => source::read(&file).ok(),
        _ => None,
    };
    bytes.is_some_and(|bytes| has_sound_header((*bytes).as_ref()))
}

fn remove(dir: &Dir, name: &str) -> io::Result<()> {
    match dir.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
