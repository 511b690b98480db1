//! Lookups in the mapped bytes of a pack; nothing is decoded before it is asked for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{HEADER_LEN, LISTING_SUM_LEN, MAGIC, ROW_LEN};
use crate::codec;
use crate::entry::{ALIGN, Entry, Origin, Place, first, read_head};
use crate::error::FormatError;
use crate::field::{array, range, u32_at, u64_at};
use crate::key::Key;
use crate::map::Bytes;

/// One opened pack.
pub struct Pack {
    bytes: Arc<Bytes>,
    table: Range<usize>,
    listing: Range<usize>,
}

impl Pack {
    /// Checks the header and takes the bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, FormatError> {
        let content = (*bytes).as_ref();
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
        let len = content.len() as u64;
        if len != expected {
            return Err(FormatError::Length { len, expected });
        }
        let table_len = u64::from(count) * ROW_LEN as u64;
        let table = range(table_at, table_len, listing_at).ok_or(FormatError::Bounds)?;
        let listing_len = len.checked_sub(listing_at).ok_or(FormatError::Bounds)?;
        let listing = range(listing_at, listing_len, len).ok_or(FormatError::Bounds)?;
        let table_follows_header = table.start >= HEADER_LEN && table.end == listing.start;
        if row_len as usize != ROW_LEN || !table_follows_header || listing_len < LISTING_SUM_LEN {
            return Err(FormatError::Bounds);
        }
        Ok(Self {
            bytes: Arc::new(bytes),
            table,
            listing,
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
        self.content().len() as u64
    }

    /// True when the table lists the key; the entry itself is not looked at.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.find(key).is_some()
    }

    /// The entry under a key, its checksum verified; `None` when the table does not list it.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Result<Entry, FormatError>> {
        self.find(key).map(|row| self.entry(row))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.rows().iter().map(key_of)
    }

    /// How many bytes of code and sites each entry has, in the order of [`Pack::keys`].
    pub fn body_lens(&self) -> impl Iterator<Item = u64> {
        let len = |row, at| u64::from(u32_at(row, at).unwrap_or_default());
        self.rows()
            .iter()
            .map(move |row| len(row, 40) + len(row, 44))
    }

    /// Where the entries came from, in the order of [`Pack::keys`].
    pub fn origins(&self) -> Result<Vec<Origin>, FormatError> {
        let section = self
            .content()
            .get(self.listing.clone())
            .ok_or(FormatError::Bounds)?;
        let sum: [u8; 16] = array(section, 0).ok_or(FormatError::Listing)?;
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
        let table = self.content().get(self.table.clone()).unwrap_or_default();
        if array(self.content(), 48) != Some(first::<8>(&blake3::hash(table))) {
            found.push((None, FormatError::Table));
        }
        if let Err(error) = self.origins() {
            found.push((None, error));
        }
        for row in self.rows() {
            if let Err(error) = self.entry(row) {
                found.push((Some(key_of(row)), error));
            }
        }
        found
    }

    fn content(&self) -> &[u8] {
        (**self.bytes).as_ref()
    }

    fn rows(&self) -> &[[u8; ROW_LEN]] {
        let table = self.content().get(self.table.clone()).unwrap_or_default();
        table.as_chunks().0
    }

    fn find(&self, key: &Key) -> Option<&[u8; ROW_LEN]> {
        let rows = self.rows();
        let index = rows
            .binary_search_by(|row| row[..32].cmp(key.as_bytes()))
            .ok()?;
        rows.get(index)
    }

    fn entry(&self, row: &[u8; ROW_LEN]) -> Result<Entry, FormatError> {
        let (place, sum) = place_of(row, self.table.start as u64).ok_or(FormatError::Bounds)?;
        Entry::checked(&self.bytes, &key_of(row), place, &sum)
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
