//! Where variants go: packs that are written while the work is still going on.
//!
//! A pack is closed from time to time, so that a full disk costs what was written since and not
//! all of it. That waits for the disk, on a thread of its own: the work goes on meanwhile. After
//! a first error nothing more is written, and what had not been put in place is told as failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

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
    pack_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writer: Option<PackWriter>,
    bytes: usize,
    /// Files of the pack that is being written.
    pending: Vec<usize>,
    /// The pack that is being put in place.
    closing: Option<Closing>,
    /// Files that were not stored.
    lost: HashMap<usize, String>,
    broken: Option<String>,
    /// The packs that are in place.
    names: Vec<String>,
}

struct Closing {
    thread: JoinHandle<Result<Option<String>, PutError>>,
    /// The files whose variants are in the pack.
    files: Vec<usize>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self::with_packs_of(store, PACK_BYTES)
    }

    fn with_packs_of(store: &'a Store, pack_bytes: usize) -> Self {
        Self {
            store,
            pack_bytes,
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
        if state.bytes >= self.pack_bytes {
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
        state.wait();
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

    /// Has the pack put in place, once the one before is.
    fn close(&mut self) {
        self.wait();
        let Some(writer) = self.writer.take() else {
            return;
        };
        self.bytes = 0;
        let files = std::mem::take(&mut self.pending);
        let writer = Arc::new(Mutex::new(Some(writer)));
        let theirs = Arc::clone(&writer);
        match thread::Builder::new().spawn(move || finish(&theirs)) {
            Ok(thread) => self.closing = Some(Closing { thread, files }),
            // Without a thread more to be had it is waited for here.
            Err(_) => self.closed(finish(&writer), files),
        }
    }

    /// Waits until the pack that is being put in place is there.
    fn wait(&mut self) {
        let Some(Closing { thread, files }) = self.closing.take() else {
            return;
        };
        match thread.join() {
            Ok(result) => self.closed(result, files),
            // The engine's own panic, not an error to tell about as one.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn closed(&mut self, result: Result<Option<String>, PutError>, files: Vec<usize>) {
        match result {
            Ok(name) => self.names.extend(name),
            Err(error) => {
                self.pending.extend(files);
                self.give_up(&error);
            }
        }
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

/// Puts a pack in place; the name of its file.
fn finish(writer: &Mutex<Option<PackWriter>>) -> Result<Option<String>, PutError> {
    let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    writer.map_or(Ok(None), PackWriter::finish)
}

#[cfg(test)]
mod tests;
