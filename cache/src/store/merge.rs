//! Many packs become one, so that opening and asking a store stay cheap after many runs.

use std::collections::HashSet;

use super::Store;
use crate::entry::{Origin, Parts};
use crate::error::{FormatError, PutError};
use crate::key::Key;

impl Store {
    /// How many packs are open.
    #[must_use]
    pub fn n_packs(&self) -> usize {
        self.opened().packs.len()
    }

    /// Writes the sound entries of all packs that `keep` wants into one pack and removes the
    /// others; returns how many entries it holds, or `None` when another process is at it.
    ///
    /// Every entry can be found at every moment, by this process and by others.
    pub fn merge_packs(
        &self,
        mut keep: impl FnMut(&Key, &Origin) -> bool,
    ) -> Result<Option<usize>, PutError> {
        let version = self.writable(self.version.as_ref())?;
        let dir = self.writable(self.packs.as_deref())?;
        if !version
            .lock()
            .map_err(|e| PutError::io(version.path(), e))?
        {
            return Ok(None);
        }
        let merged = self.merge_locked(dir, &mut keep);
        version.unlock();
        self.refresh();
        merged.map(Some)
    }

    fn merge_locked(
        &self,
        dir: &crate::dir::Dir,
        keep: &mut dyn FnMut(&Key, &Origin) -> bool,
    ) -> Result<usize, PutError> {
        self.refresh();
        let opened = self.opened();
        let mut writer = self.pack_writer()?;
        let mut seen = HashSet::new();
        let mut merged = Vec::new();
        // What cannot be read at the moment must not be removed.
        let unreadable = |kind: std::io::ErrorKind| PutError::io(dir.path(), kind.into());
        for open in &opened.packs {
            // Before its bytes are read, so that what is removed in the end is what was read.
            let Ok(stat) = dir.stat(&open.name) else {
                continue;
            };
            match open.pack.read_table() {
                Ok(()) => merged.push((open, stat)),
                Err(FormatError::Unreadable(kind)) => return Err(unreadable(kind)),
                Err(_) => continue,
            }
            let origins = match open.pack.origins() {
                Ok(origins) => origins,
                Err(FormatError::Unreadable(kind)) => return Err(unreadable(kind)),
                // The entries are sound all the same; what they came from is lost.
                Err(_) => vec![Origin::unknown(); open.pack.len()],
            };
            for (key, origin) in open.pack.keys().zip(origins) {
                if seen.contains(&key) || !keep(&key, &origin) {
                    continue;
                }
                match open.pack.get(&key) {
                    Some(Ok(entry)) => {
                        seen.insert(key);
                        let (code, sites) = (entry.code(), entry.sites());
                        writer.add(&key, Parts { code, sites }, origin)?;
                    }
                    Some(Err(FormatError::Unreadable(kind))) => return Err(unreadable(kind)),
                    Some(Err(_)) | None => {}
                }
            }
        }
        let count = writer.len();
        let name = writer.finish()?;
        for (open, seen) in merged {
            // One that was put in its place since may be sound where this one was not.
            if Some(&open.name) != name.as_ref() {
                dir.remove_seen(&open.name, &seen)
                    .map_err(|e| PutError::io(dir.path(), e))?;
            }
        }
        Ok(count)
    }
}
