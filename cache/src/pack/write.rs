//! Streams entries into a new pack: only rows and origins are kept in memory.
//!
//! The pack is written under a temporary name in the directory of packs, synced and renamed:
//! readers see it whole or not at all, and a writer that dies leaves a temporary file that
//! eviction sweeps.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{HEADER_LEN, LISTING_SUM_LEN, MAGIC, ROW_LEN};
use crate::codec;
use crate::dir::Dir;
use crate::entry::{ALIGN, Origin, Parts, checksum, first, part_len, write_head};
use crate::error::PutError;
use crate::field::align;
use crate::key::Key;
use crate::source::MAX_FILE_LEN;

/// A pack that is being written; dropped before [`PackWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct PackWriter {
    dir: Dir,
    temp: String,
    out: BufWriter<File>,
    at: u64,
    /// What the store has written in all.
    written: Arc<AtomicU64>,
    rows: Vec<([u8; ROW_LEN], Origin)>,
    finished: bool,
}

impl PackWriter {
    pub(crate) fn create(dir: Dir, written: Arc<AtomicU64>) -> Result<Self, PutError> {
        let opened = dir.create_temp().and_then(crate::dir::Temp::into_parts);
        let (file, temp) = opened.map_err(|e| PutError::io(dir.path(), e))?;
        let mut writer = Self {
            dir,
            temp,
            out: BufWriter::with_capacity(1 << 18, file),
            at: 0,
            written,
            rows: Vec::new(),
            finished: false,
        };
        writer.write(&[0; HEADER_LEN])?;
        Ok(writer)
    }

    /// Adds an entry. Of entries under the same key the first one stays.
    pub fn add(&mut self, key: &Key, parts: Parts<'_>, origin: Origin) -> Result<(), PutError> {
        let (code_len, sites_len) = (part_len(parts.code)?, part_len(parts.sites)?);
        let end = self.at + u64::from(code_len) + u64::from(sites_len) + 2 * ALIGN;
        if end + (self.rows.len() as u64 + 1) * ROW_LEN as u64 > MAX_FILE_LEN {
            return Err(PutError::TooLarge {
                len: end,
                limit: MAX_FILE_LEN,
            });
        }
        self.pad(ALIGN)?;
        let mut row = [0; ROW_LEN];
        row[..32].copy_from_slice(key.as_bytes());
        row[32..40].copy_from_slice(&self.at.to_le_bytes());
        row[40..44].copy_from_slice(&code_len.to_le_bytes());
        row[44..48].copy_from_slice(&sites_len.to_le_bytes());
        row[48..].copy_from_slice(&checksum(key, parts));
        self.write(parts.code)?;
        self.pad(ALIGN)?;
        self.write(parts.sites)?;
        self.rows.push((row, origin));
        Ok(())
    }

    /// How many entries were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True before the first entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.at
    }

    /// Completes the pack and puts it in place; returns the name of its file.
    ///
    /// Without entries nothing is written, and the result is `None`.
    pub fn finish(self) -> Result<Option<String>, PutError> {
        match self.complete()? {
            Some(ready) => ready.place().map(|placed| Some(placed.name)),
            None => Ok(None),
        }
    }

    /// Completes the pack, durable under its temporary name.
    pub(crate) fn complete(mut self) -> Result<Option<ReadyPack>, PutError> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        // Stable: the first of equal keys stays first.
        self.rows.sort_by(|a, b| a.0[..32].cmp(&b.0[..32]));
        self.rows.dedup_by(|a, b| a.0[..32] == b.0[..32]);
        let listing = codec::encode(self.rows.iter().map(|(_, origin)| origin)).ok_or(
            PutError::TooLarge {
                len: codec::MAX_LISTING_LEN,
                limit: codec::MAX_LISTING_LEN,
            },
        )?;
        self.pad(ROW_LEN as u64)?;
        let (table_at, count) = (self.at, self.rows.len());
        let mut table = Vec::with_capacity(count * ROW_LEN);
        for (row, _) in &self.rows {
            table.extend_from_slice(row);
        }
        self.write(&table)?;
        let listing_at = self.at;
        self.write(&first::<16>(&blake3::hash(&listing)))?;
        self.write(&listing)?;
        debug_assert_eq!(self.at, listing_at + LISTING_SUM_LEN + listing.len() as u64);

        let mut header = [0; HEADER_LEN];
        header[..16].copy_from_slice(&write_head(MAGIC));
        header[16..20].copy_from_slice(&part_count(count)?.to_le_bytes());
        header[20..24].copy_from_slice(&part_count(ROW_LEN)?.to_le_bytes());
        header[24..32].copy_from_slice(&table_at.to_le_bytes());
        header[32..40].copy_from_slice(&listing_at.to_le_bytes());
        header[40..48].copy_from_slice(&self.at.to_le_bytes());
        header[48..56].copy_from_slice(&first::<8>(&blake3::hash(&table)));
        let sum = blake3::hash(&header[..56]);
        header[56..].copy_from_slice(&first::<8>(&sum));
        let name = format!("{}.pack", &blake3::hash(&header).to_hex()[..32]);
        self.complete_with(&header)
            .map_err(|e| PutError::io(self.dir.path(), e))?;
        let dir = self.dir.try_clone();
        let dir = dir.map_err(|e| PutError::io(self.dir.path(), e))?;
        self.finished = true;
        self.written.fetch_add(self.at, Ordering::Relaxed);
        Ok(Some(ReadyPack {
            dir,
            temp: std::mem::take(&mut self.temp),
            name,
        }))
    }

    fn complete_with(&mut self, header: &[u8]) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(header)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        self.out
            .write_all(bytes)
            .map_err(|e| PutError::io(self.dir.path(), e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, unit: u64) -> Result<(), PutError> {
        let target = align(self.at, unit).unwrap_or(self.at);
        let zeros = [0; ROW_LEN];
        let missing = usize::try_from(target - self.at).unwrap_or_default();
        self.write(&zeros[..missing])
    }
}

fn part_count(count: usize) -> Result<u32, PutError> {
    u32::try_from(count).map_err(|_| PutError::TooLarge {
        len: count as u64,
        limit: u32::MAX.into(),
    })
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: `evict` sweeps what stays behind.
            let _ = self.dir.remove(&self.temp);
        }
    }
}

/// A complete pack under its temporary name; dropped before it is placed, it leaves nothing.
#[derive(Debug)]
pub(crate) struct ReadyPack {
    dir: Dir,
    /// Empty once it is in place.
    temp: String,
    name: String,
}

impl ReadyPack {
    /// Puts the pack in place, where readers see it.
    pub(crate) fn place(mut self) -> Result<PlacedPack, PutError> {
        let replaced = self.dir.has(&self.name);
        let placed = self.dir.rename(&self.temp, &self.name);
        placed.map_err(|e| PutError::io(self.dir.path(), e))?;
        self.temp.clear();
        let dir = self.dir.try_clone();
        let placed = PlacedPack {
            name: self.name.clone(),
            dir: dir.map_err(|e| PutError::io(self.dir.path(), e))?,
            replaced,
        };
        match placed.dir.sync() {
            Ok(()) => Ok(placed),
            Err(error) => {
                let error = PutError::io(placed.dir.path(), error);
                placed.withdraw();
                Err(error)
            }
        }
    }
}

impl Drop for ReadyPack {
    fn drop(&mut self) {
        if !self.temp.is_empty() {
            // Best effort: `evict` sweeps what stays behind.
            let _ = self.dir.remove(&self.temp);
        }
    }
}

/// A pack in its place.
#[derive(Debug)]
pub(crate) struct PlacedPack {
    pub(crate) name: String,
    dir: Dir,
    /// True when its equal stood there before.
    replaced: bool,
}

impl PlacedPack {
    /// Takes the pack out again, unless its equal was there before.
    pub(crate) fn withdraw(self) {
        if !self.replaced {
            // What stays is sound, and only more than was asked for.
            let _ = self.dir.remove(&self.name);
        }
    }
}
