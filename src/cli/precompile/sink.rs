//! Where variants go: packs that are written while the work is still going on.
//!
//! A pack is closed from time to time, so that a full disk costs what was written since and not
//! all of it. After a first error nothing more is written, and what had not been put in place is
//! told as failed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cache::{Key, Origin, PackWriter, Parts, PutError, Store};

use crate::variant::Variant;

/// A pack is closed when it has grown to this many bytes.
const PACK_BYTES: usize = 256 << 20;

/// One variant and what it is stored under.
pub(super) struct Stored {
    pub(super) key: Key,
    pub(super) variant: Variant,
    pub(super) origin: Origin,
}

pub(super) struct Sink<'a> {
    store: &'a Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writer: Option<PackWriter>,
    bytes: usize,
    /// Files of the pack that is being written.
    pending: Vec<usize>,
    /// Files that were not stored.
    lost: HashMap<usize, String>,
    broken: Option<String>,
    /// The packs that are in place.
    names: Vec<String>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be written any more, if so.
    pub(super) fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// Writes the variants of one file.
    pub(super) fn add(&self, file: usize, variants: Vec<Stored>) {
        let encoded: Vec<(Stored, Vec<u8>)> = variants
            .into_iter()
            .map(|stored| {
                let sites = stored.variant.placement.encode();
                (stored, sites)
            })
            .collect();
        let mut state = self.state();
        if let Some(reason) = state.broken.clone() {
            state.lost.insert(file, reason);
            return;
        }
        state.pending.push(file);
        for (stored, sites) in encoded {
            if let Err(error) = state.write(self.store, stored, &sites) {
                return state.give_up(&error);
            }
        }
        if state.bytes >= PACK_BYTES {
            state.close();
        }
    }

    /// Puts the last pack in place; returns the files that were not stored, with the reason.
    pub(super) fn finish(self) -> HashMap<usize, String> {
        let mut state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        state.close();
        if !state.names.is_empty() {
            self.store.refresh();
            self.store.vouch_for(&state.names);
        }
        state.lost
    }
}

impl State {
    fn write(&mut self, store: &Store, stored: Stored, sites: &[u8]) -> Result<(), PutError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => empty.insert(store.pack_writer()?),
        };
        self.bytes += stored.variant.code.len() + sites.len();
        writer.add(
            &stored.key,
            Parts {
                code: &stored.variant.code,
                sites,
            },
            stored.origin,
        )
    }

    fn close(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        match writer.finish() {
            Ok(name) => {
                self.pending.clear();
                self.names.extend(name);
            }
            Err(error) => self.give_up(&error),
        }
        self.bytes = 0;
    }

    fn give_up(&mut self, error: &PutError) {
        self.writer = None;
        let remedy = match error {
            PutError::Io { .. } => "make room or name another store with --cache-dir",
            _ => "name another store with --cache-dir",
        };
        let reason = format!("was not stored: {error}; {remedy}");
        for file in self.pending.drain(..) {
            self.lost.insert(file, reason.clone());
        }
        self.broken = Some(reason);
    }
}
