//! Whether what a store lists is sound: for those who fill a store, never at import.
//!
//! A pack is read whole once and then believed until the state of its file changes.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use super::{Access, Store, overlay_groups};
use crate::dir::Dir;
use crate::key::Key;
use crate::verified::{self, FILE_NAME, MAX_LEN, PackState};

impl Store {
    /// Entries of packs that are damaged. Packs that were found sound and did not change since
    /// are not read, unless `again` is true.
    #[must_use]
    pub fn damaged_in_packs(&self, again: bool) -> HashSet<Key> {
        let mut damaged = HashSet::new();
        let Some(dir) = &self.packs else {
            return damaged;
        };
        let known = read_states(dir);
        let mut sound = Vec::new();
        for open in &self.opened().packs {
            let Ok(Some((_, metadata))) = dir.open_file(&open.name) else {
                continue;
            };
            let state = PackState::of(&open.name, &metadata);
            if known.contains(&state) && !again {
                sound.push(state);
            } else if metadata.ino() == open.inode {
                let found = open.pack.damage();
                if found.is_empty() {
                    sound.push(state);
                }
                damaged.extend(found.into_iter().filter_map(|(key, _)| key));
            }
        }
        self.keep_states(dir, &known, &sound);
        damaged
    }

    /// Has packs that were written just now, and are opened, count as read and found sound.
    pub fn vouch_for(&self, names: &[String]) {
        let Some(dir) = self.packs.as_ref().filter(|_| !names.is_empty()) else {
            return;
        };
        let known = read_states(dir);
        let written = names.iter().filter_map(|name| match dir.open_file(name) {
            Ok(Some((_, metadata))) => Some(PackState::of(name, &metadata)),
            _ => None,
        });
        let states: Vec<PackState> = known.iter().copied().chain(written).collect();
        self.keep_states(dir, &known, &states);
    }

    /// True when no entry is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let overlay_is_empty = |overlay| overlay_groups(overlay).is_empty();
        let packs_are_empty = self.opened().packs.iter().all(|open| open.pack.is_empty());
        packs_are_empty && self.overlay.as_ref().is_none_or(overlay_is_empty)
    }

    /// True when an entry is stored under the key: a row of a pack, whose soundness
    /// [`Store::damaged_in_packs`] tells, or a sound file of the overlay.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        let opened = self.opened();
        opened.packs.iter().any(|open| open.pack.contains(key))
            || self.get_from_overlay(key).is_ok()
    }

    fn keep_states(&self, dir: &Dir, known: &[PackState], states: &[PackState]) {
        if self.access == Access::ReadWrite && known != states {
            // What is not recorded is read again.
            let _ = dir.write_file(FILE_NAME, &verified::encode(states));
        }
    }
}

fn read_states(dir: &Dir) -> Vec<PackState> {
    let Ok(Some((file, _))) = dir.open_file(FILE_NAME) else {
        return Vec::new();
    };
    let mut content = Vec::new();
    match file.take(MAX_LEN).read_to_end(&mut content) {
        Ok(_) => verified::decode(&content).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
