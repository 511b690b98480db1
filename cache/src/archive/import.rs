//! From an archive to a store: all of its entries that are missing, or none.
//!
//! New packs are written under temporary names while the archive is read, and put in place when
//! it was read to its end without a complaint. What is there and sound stays as it is.

use std::path::Path;

use super::{Archive, ArchiveError};
use crate::entry::Origin;
use crate::key::Tag;
use crate::pack::{PackWriter, ReadyPack};
use crate::progress::Step;
use crate::store::{Access, Store};
use crate::trust::Trust;

/// A pack is closed when it has grown to this many bytes.
const PACK_LEN: u64 = 256 << 20;

/// Where an archive goes, and what is taken of it.
pub struct Import<'a> {
    /// The store.
    pub root: &'a Path,
    /// The stores of other users that are used.
    pub trust: &'a Trust,
    /// The engine that will ask for the entries.
    pub engine: &'a str,
    /// Whether an interpreter's bytecode is known here.
    pub known: &'a dyn Fn(&Tag) -> bool,
    /// Which those are, in words.
    pub known_in_words: &'a str,
    /// Whether the part of an interpreter is to be taken.
    pub wanted: &'a dyn Fn(&Tag) -> bool,
    /// The path that the store's listing gives for a path of the manifest.
    pub path: &'a dyn Fn(String) -> String,
    /// Told of every entry that is wanted, new or not, as the manifest has it.
    pub met: &'a dyn Fn(&Origin),
    /// Reads and checks everything, and changes nothing.
    pub dry_run: bool,
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that were added.
    pub added: u64,
    /// Their bytes of code and sites.
    pub bytes: u64,
    /// Entries that were there.
    pub present: u64,
    /// Entries of interpreters that were not wanted.
    pub unwanted: u64,
}

impl Import<'_> {
    /// Refuses an archive that could not be used here, before anything is unpacked.
    fn judge(&self, archive: &Archive<'_>) -> Result<(), ArchiveError> {
        if archive.engine() != self.engine {
            return Err(ArchiveError::Engine {
                found: archive.engine().to_owned(),
                needed: self.engine.to_owned(),
            });
        }
        let tags = || archive.builds().iter().map(|build| &build.tag);
        let unknown: Vec<&str> = tags()
            .filter(|tag| (self.wanted)(tag) && !(self.known)(tag))
            .map(Tag::as_str)
            .collect();
        if !unknown.is_empty() {
            return Err(ArchiveError::UnknownInterpreter {
                found: unknown.join(", "),
                known: self.known_in_words.to_owned(),
            });
        }
        if !tags().any(|tag| (self.wanted)(tag)) {
            let found: Vec<&str> = tags().map(Tag::as_str).collect();
            let found = found.join(", ");
            return Err(ArchiveError::NotAskedFor { found });
        }
        Ok(())
    }

    /// Merges the entries of an archive into the store. `progress` is told entries.
    pub fn run(
        &self,
        archive: &Archive<'_>,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Imported, ArchiveError> {
        self.judge(archive)?;
        progress(Step::Total(archive.entries_len()));
        let mut imported = Imported::default();
        let mut ready = Vec::new();
        let mut current: Option<Part> = None;
        let mut entries = archive.entries()?;
        while let Some((row, parts)) = entries.read_next()? {
            progress(Step::Done(1));
            if !(self.wanted)(&row.tag) {
                imported.unwanted += 1;
                continue;
            }
            (self.met)(&row.origin);
            let part = match &mut current {
                Some(part) if *part.store.tag() == row.tag => part,
                _ => {
                    if let Some(done) = current.take() {
                        done.complete(&mut ready)?;
                    }
                    current.insert(self.part(&row.tag)?)
                }
            };
            if part.store.get(&row.key).hit().is_some() {
                imported.present += 1;
                continue;
            }
            imported.added += 1;
            imported.bytes += row.body_len();
            if !self.dry_run {
                let mut origin = row.origin;
                origin.path = (self.path)(origin.path);
                part.writer()?.add(&row.key, parts, origin)?;
                part.roll(&mut ready)?;
            }
        }
        if let Some(done) = current {
            done.complete(&mut ready)?;
        }
        place(ready)?;
        Ok(imported)
    }

    fn part(&self, tag: &Tag) -> Result<Part, ArchiveError> {
        let access = if self.dry_run {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let store = Store::open(self.root, tag, access, self.trust)?;
        Ok(Part {
            store,
            writer: None,
        })
    }
}

/// What goes to one interpreter's directory.
struct Part {
    store: Store,
    writer: Option<PackWriter>,
}

impl Part {
    fn writer(&mut self) -> Result<&mut PackWriter, ArchiveError> {
        Ok(match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(self.store.pack_writer()?),
        })
    }

    fn roll(&mut self, ready: &mut Vec<ReadyPack>) -> Result<(), ArchiveError> {
        if let Some(writer) = self.writer.take_if(|writer| writer.written() >= PACK_LEN) {
            ready.extend(writer.complete()?);
        }
        Ok(())
    }

    fn complete(self, ready: &mut Vec<ReadyPack>) -> Result<(), ArchiveError> {
        if let Some(writer) = self.writer {
            ready.extend(writer.complete()?);
        }
        Ok(())
    }
}

/// Puts packs in place; when one cannot be, those before it are taken out again.
fn place(ready: Vec<ReadyPack>) -> Result<(), ArchiveError> {
    let mut placed = Vec::new();
    for pack in ready {
        match pack.place() {
            Ok(pack) => placed.push(pack),
            Err(error) => {
                for pack in placed {
                    pack.withdraw();
                }
                return Err(error.into());
            }
        }
    }
    Ok(())
}
