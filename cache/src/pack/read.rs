//! Lookups in a pack; nothing is read before it is asked for.
//!
//! The table is kept from the first lookup on, 64 bytes for each entry; entries are read from the
//! file each time, and what is handed out is the copy that was checked.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::{HEADER_LEN, LISTING_SUM_LEN, MAGIC, ROW_LEN};
use crate::codec;
use crate::entry::{ALIGN, Entry, Origin, Place, check_row_len, first, read_head};
use crate::error::FormatError;
use crate::field::{array, range, u32_at, u64_at};
use crate::key::Key;
use crate::search;
use crate::source::{Bytes, Source};

/// One opened pack.
pub struct Pack {
    source: Source,
    table: Range<usize>,
    table_sum: [u8; 8],
    listing: Range<usize>,
    rows: OnceLock<Vec<u8>>,
}

impl Pack {
    /// Checks the header and takes the bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, FormatError> {
        let content = (*bytes).as_ref();
        let len = content.len() as u64;
        let header = content[..content.len().min(HEADER_LEN)].to_vec();
        Self::open(&header, len, Source::Bytes(bytes))
    }

    /// Checks the header of a file that is `len` bytes long, and reads from `source` later.
    pub(crate) fn open(content: &[u8], len: u64, source: Source) -> Result<Self, FormatError> {
        read_head(content, MAGIC, HEADER_LEN)?;
        if array(content, 56) != Some(first::<8>(&blake3::hash(&content[..56]))) {
            return Err(FormatError::Header);
        }
        let fields = (
            u32_at(content, 16),
            u32_at(content, 20),
            u64_at(content, 24),
            u64_at(content, 32),
            u64_at(content, 40),
        );
        let (Some(count), Some(row_len), Some(table_at), Some(listing_at), Some(expected)) = fields
        else {
            return Err(FormatError::Header);
        };
        check_row_len(row_len, ROW_LEN)?;
        if len != expected {
            return Err(FormatError::Length { len, expected });
        }
        let table_len = u64::from(count) * ROW_LEN as u64;
        let table = range(table_at, table_len, listing_at).ok_or(FormatError::Bounds)?;
        let listing_len = len.checked_sub(listing_at).ok_or(FormatError::Bounds)?;
        let listing = range(listing_at, listing_len, len).ok_or(FormatError::Bounds)?;
        let table_follows_header = table.start >= HEADER_LEN && table.end == listing.start;
        if !table_follows_header || listing_len < LISTING_SUM_LEN {
            return Err(FormatError::Bounds);
        }
        Ok(Self {
            source,
            table,
            table_sum: array(content, 48).ok_or(FormatError::Header)?,
            listing,
            rows: OnceLock::new(),
        })
    }

    /// How many entries the pack holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len() / ROW_LEN
    }

    /// True for a pack without entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How long the file is.
    pub(crate) fn file_len(&self) -> u64 {
        self.listing.end as u64
    }

    /// True when the table lists the key; the entry itself is not looked at.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        matches!(self.find(key), Ok(Some(_)))
    }

    /// The entry under a key, its checksum verified; `None` when the table does not list it.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Result<Entry, FormatError>> {
        match self.find(key) {
            Ok(row) => row.map(|row| self.entry(row)),
            Err(error) => Some(Err(error)),
        }
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.rows().unwrap_or_default().iter().map(key_of)
    }

    /// How many bytes of code and sites each entry has, in the order of [`Pack::keys`].
    pub fn body_lens(&self) -> impl Iterator<Item = u64> {
        let len = |row, at| u64::from(u32_at(row, at).unwrap_or_default());
        let rows = self.rows().unwrap_or_default().iter();
        rows.map(move |row| len(row, 40) + len(row, 44))
    }

    /// Where the entries came from, in the order of [`Pack::keys`].
    pub fn origins(&self) -> Result<Vec<Origin>, FormatError> {
        if self.listing.len() as u64 > codec::MAX_LISTING_LEN + LISTING_SUM_LEN {
            return Err(FormatError::Listing);
        }
        let section = self.source.read(self.listing.clone())?;
        let sum: [u8; 16] = array(&section, 0).ok_or(FormatError::Listing)?;
        let listing = &section[sum.len()..];
        if sum != first::<16>(&blake3::hash(listing)) {
            return Err(FormatError::Listing);
        }
        codec::decode(listing, self.len())
    }

    /// Reads everything and returns what is damaged; `None` stands for the file as a whole.
    #[must_use]
    pub fn damage(&self) -> Vec<(Option<Key>, FormatError)> {
        let mut found = Vec::new();
        // Read anew: what was kept says nothing about the file.
        match self.source.read(self.table.clone()) {
            Ok(table) if self.table_sum == first::<8>(&blake3::hash(&table)) => {}
            Ok(_) => found.push((None, FormatError::Table)),
            Err(error) => found.push((None, error)),
        }
        if let Err(error) = self.origins() {
            found.push((None, error));
        }
        for row in self.rows().unwrap_or_default() {
            if let Err(error) = self.entry(row) {
                found.push((Some(key_of(row)), error));
            }
        }
        found
    }

    /// Reads the table, without which the pack is as good as empty.
    pub(crate) fn read_table(&self) -> Result<(), FormatError> {
        self.rows().map(|_| ())
    }

    fn rows(&self) -> Result<&[[u8; ROW_LEN]], FormatError> {
        let table = if let Some(table) = self.rows.get() {
            table
        } else {
            let table = self.source.read(self.table.clone())?;
            self.rows.get_or_init(|| table)
        };
        Ok(table.as_chunks().0)
    }

    fn find(&self, key: &Key) -> Result<Option<&[u8; ROW_LEN]>, FormatError> {
        let rows = self.rows()?;
        Ok(search::find(rows, key.as_bytes()).and_then(|index| rows.get(index)))
    }

    fn entry(&self, row: &[u8; ROW_LEN]) -> Result<Entry, FormatError> {
        let (place, sum) = place_of(row, self.table.start as u64).ok_or(FormatError::Bounds)?;
        let bytes: Bytes = Box::new(self.source.read(place.code.start..place.sites.end)?);
        Entry::checked(
            &Arc::new(bytes),
            &key_of(row),
            place.counted_from_its_code(),
            &sum,
        )
    }
}

/// Where the entry of a row stands, which must end at `end` or before, and its checksum.
pub(super) fn place_of(row: &[u8; ROW_LEN], end: u64) -> Option<(Place, [u8; 16])> {
    let at = u64_at(row, 32)?;
    let place = Place::new(at, u32_at(row, 40)?, u32_at(row, 44)?, end)?;
    let aligned = at % ALIGN == 0 && at >= HEADER_LEN as u64;
    aligned.then_some((place, array(row, 48)?))
}

pub(super) fn key_of(row: &[u8; ROW_LEN]) -> Key {
    Key::from_bytes(std::array::from_fn(|i| row[i]))
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pack {{ entries: {} }}", self.len())
    }
}
