//! One entry: marshal bytes, probe sites, where they came from; and its single-entry file.
//!
//! The file is what the overlay holds, one per key, written at import time. Layout
//! (little-endian): a 64-byte header, the code, the sites from the next multiple of 16, and the
//! listing section. The checksum covers the key, so a file under another entry's name does not
//! match.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use twox_hash::XxHash3_128;

use crate::codec;
use crate::error::{FormatError, PutError};
use crate::field::{align, array, range, u16_at, u32_at};
use crate::key::{FORMAT_VERSION, Key, SourceHash};
use crate::source::{Bytes, MAX_FILE_LEN};

/// The two parts of an entry as they are stored.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Marshal bytes of the module's code object.
    pub code: &'a [u8],
    /// What the edge needs to link the probes; opaque to the store.
    pub sites: &'a [u8],
}

/// Where an entry came from; told by listings, never part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Path of the source when the entry was made.
    pub path: String,
    /// Hash of the source.
    pub source: SourceHash,
    /// Version of the engine.
    pub engine: String,
    /// The interpreter, such as `CPython 3.13.0`.
    pub python: String,
    /// The probe set in words, such as `every line`.
    pub variant: String,
}

impl Origin {
    /// The origin of an entry whose listing was damaged.
    pub(crate) fn unknown() -> Self {
        Self {
            path: String::new(),
            source: SourceHash::from_bytes([0; 32]),
            engine: String::new(),
            python: String::new(),
            variant: String::new(),
        }
    }
}

/// An entry whose checksum matched. It keeps what holds its bytes alive.
#[derive(Clone)]
pub struct Entry {
    bytes: Arc<Bytes>,
    code: Range<usize>,
    sites: Range<usize>,
}

impl Entry {
    /// Marshal bytes of the module's code object.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        part(&self.bytes, &self.code)
    }

    /// What the edge stored beside the code.
    #[must_use]
    pub fn sites(&self) -> &[u8] {
        part(&self.bytes, &self.sites)
    }

    /// Checks the bytes in `place` and makes an entry of them.
    pub(crate) fn checked(
        bytes: &Arc<Bytes>,
        key: &Key,
        place: Place,
        expected: &[u8; 16],
    ) -> Result<Self, FormatError> {
        let content = (***bytes).as_ref();
        let code = content.get(place.code.clone()).ok_or(FormatError::Bounds)?;
        let sites = content
            .get(place.sites.clone())
            .ok_or(FormatError::Bounds)?;
        if checksum(key, Parts { code, sites }) != *expected {
            return Err(FormatError::Entry);
        }
        Ok(Self {
            bytes: Arc::clone(bytes),
            code: place.code,
            sites: place.sites,
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, sites) = (self.code.len(), self.sites.len());
        write!(f, "Entry {{ code: {code} bytes, sites: {sites} bytes }}")
    }
}

// Bytes that changed their length after the check would be a caller's bug: empty, no panic.
fn part<'a>(bytes: &'a Bytes, range: &Range<usize>) -> &'a [u8] {
    (**bytes).as_ref().get(range.clone()).unwrap_or_default()
}

/// Where the two parts of an entry stand in a file.
pub(crate) struct Place {
    pub(crate) code: Range<usize>,
    pub(crate) sites: Range<usize>,
    pub(crate) end: u64,
}

impl Place {
    /// The same place, counted from the start of its code.
    pub(crate) fn counted_from_its_code(&self) -> Self {
        let start = self.code.start;
        Self {
            code: 0..self.code.len(),
            sites: self.sites.start - start..self.sites.end - start,
            end: self.end - start as u64,
        }
    }

    /// Places parts of these lengths at `at`, which must end by `end`.
    pub(crate) fn new(at: u64, code_len: u32, sites_len: u32, end: u64) -> Option<Self> {
        let code = range(at, code_len.into(), end)?;
        let sites_at = align(at.checked_add(code_len.into())?, ALIGN)?;
        let sites = range(sites_at, sites_len.into(), end)?;
        let end = u64::try_from(sites.end).ok()?;
        Some(Self { code, sites, end })
    }
}

/// Alignment of the parts of an entry.
pub(crate) const ALIGN: u64 = 16;

/// XXH3 (128 bits) of key, lengths and parts.
///
/// It finds damage and proves nothing about who wrote the entry, which owners and modes say, and
/// signatures of archives. Every entry that is read pays for it: of BLAKE3 it was a hundredth of
/// the time that importing a large package takes.
#[must_use]
pub fn checksum(key: &Key, parts: Parts<'_>) -> [u8; 16] {
    let mut hasher = XxHash3_128::new();
    hasher.write(key.as_bytes());
    hasher.write(&(parts.code.len() as u64).to_le_bytes());
    hasher.write(&(parts.sites.len() as u64).to_le_bytes());
    hasher.write(parts.code);
    hasher.write(parts.sites);
    hasher.finish_128().to_le_bytes()
}

pub(crate) fn first<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// The length of one part, when it fits a row.
pub(crate) fn part_len(bytes: &[u8]) -> Result<u32, PutError> {
    u32::try_from(bytes.len()).map_err(|_| PutError::TooLarge {
        len: bytes.len() as u64,
        limit: u32::MAX.into(),
    })
}

const MAGIC: [u8; 8] = *b"DPRENTRY";
const HEADER_LEN: usize = 64;
const BYTE_ORDER: u16 = 0x0102;

/// The head that every file of the store begins with: magic, format, byte order mark, zero.
///
/// Public for what makes files by hand, as the fuzz targets do: a head that is spelt out there
/// would be refused, and nothing behind it read, from the next format on.
#[must_use]
pub fn write_head(magic: [u8; 8]) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&magic);
    head[8..10].copy_from_slice(&FORMAT_OF_FILES.to_le_bytes());
    head[10..12].copy_from_slice(&BYTE_ORDER.to_le_bytes());
    head
}

// INVARIANT: the format version is a small constant.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
const FORMAT_OF_FILES: u16 = FORMAT_VERSION as u16;

/// Checks what [`write_head`] wrote.
pub(crate) fn read_head(bytes: &[u8], magic: [u8; 8], len: usize) -> Result<(), FormatError> {
    if bytes.len() < len {
        return Err(FormatError::Length {
            len: bytes.len() as u64,
            expected: len as u64,
        });
    }
    if array(bytes, 0) != Some(magic) {
        return Err(FormatError::Magic);
    }
    if u16_at(bytes, 10) != Some(BYTE_ORDER) {
        return Err(FormatError::ByteOrder);
    }
    match u16_at(bytes, 8) {
        Some(FORMAT_OF_FILES) => {}
        found => {
            return Err(FormatError::Format {
                found: found.unwrap_or_default(),
            });
        }
    }
    if u32_at(bytes, 12) == Some(0) {
        Ok(())
    } else {
        Err(FormatError::Header)
    }
}

/// Checks the length of a row that a header names.
pub(crate) fn check_row_len(found: u32, expected: usize) -> Result<(), FormatError> {
    if usize::try_from(found).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    Err(FormatError::Rows { found, expected })
}

/// Writes a single-entry file.
pub(crate) fn write_file(
    key: &Key,
    parts: Parts<'_>,
    origin: &Origin,
) -> Result<Vec<u8>, PutError> {
    let (code_len, sites_len) = (part_len(parts.code)?, part_len(parts.sites)?);
    let too_large = |len| PutError::TooLarge {
        len,
        limit: MAX_FILE_LEN,
    };
    let listing = codec::encode([origin]).ok_or_else(|| too_large(codec::MAX_LISTING_LEN))?;
    let listing_len = part_len(&listing)?;
    let place = Place::new(HEADER_LEN as u64, code_len, sites_len, MAX_FILE_LEN)
        .ok_or_else(|| too_large(u64::from(code_len) + u64::from(sites_len)))?;
    let mut file = Vec::with_capacity(place.sites.end + listing.len());
    file.extend_from_slice(&write_head(MAGIC));
    for len in [code_len, sites_len, listing_len, 0] {
        file.extend_from_slice(&len.to_le_bytes());
    }
    file.extend_from_slice(&checksum(key, parts));
    file.extend_from_slice(&first::<16>(&blake3::hash(&listing)));
    file.extend_from_slice(parts.code);
    file.resize(place.sites.start, 0);
    file.extend_from_slice(parts.sites);
    file.extend_from_slice(&listing);
    Ok(file)
}

/// A single-entry file, split and bounds-checked.
struct Split {
    place: Place,
    listing: Range<usize>,
}

fn split(bytes: &[u8]) -> Result<Split, FormatError> {
    read_head(bytes, MAGIC, HEADER_LEN)?;
    let len = bytes.len() as u64;
    let lens = (
        u32_at(bytes, 16),
        u32_at(bytes, 20),
        u32_at(bytes, 24),
        u32_at(bytes, 28),
    );
    let (Some(code_len), Some(sites_len), Some(listing_len), Some(0)) = lens else {
        return Err(FormatError::Header);
    };
    let place =
        Place::new(HEADER_LEN as u64, code_len, sites_len, len).ok_or(FormatError::Bounds)?;
    let expected = place.end.saturating_add(listing_len.into());
    if expected != len {
        return Err(FormatError::Length { len, expected });
    }
    let listing = range(place.end, listing_len.into(), len).ok_or(FormatError::Bounds)?;
    Ok(Split { place, listing })
}

/// Reads the entry of a single-entry file that stands under `key`.
pub fn read_file(bytes: Bytes, key: &Key) -> Result<Entry, FormatError> {
    let content = (*bytes).as_ref();
    let Split { place, .. } = split(content)?;
    let expected = array(content, 32).ok_or(FormatError::Header)?;
    Entry::checked(&Arc::new(bytes), key, place, &expected)
}

/// Reads the entry of a single-entry file whose head or listing may be damaged; its own
/// checksum has to match.
pub(crate) fn salvage_file(bytes: Bytes, key: &Key) -> Option<Entry> {
    let content = (*bytes).as_ref();
    let (code_len, sites_len) = (u32_at(content, 16)?, u32_at(content, 20)?);
    let expected = array(content, 32)?;
    let len = content.len() as u64;
    let place = Place::new(HEADER_LEN as u64, code_len, sites_len, len)?;
    Entry::checked(&Arc::new(bytes), key, place, &expected).ok()
}

/// How many bytes of code and sites a single-entry file says it has.
pub(crate) fn body_len(bytes: &[u8]) -> Result<u64, FormatError> {
    let Split { place, .. } = split(bytes)?;
    Ok((place.code.len() + place.sites.len()) as u64)
}

/// Reads where the entry of a single-entry file came from.
pub fn read_origin(bytes: &[u8]) -> Result<Origin, FormatError> {
    let Split { listing, .. } = split(bytes)?;
    let listing = bytes.get(listing).ok_or(FormatError::Bounds)?;
    if array(bytes, 48) != Some(first::<16>(&blake3::hash(listing))) {
        return Err(FormatError::Listing);
    }
    codec::decode(listing, 1)?.pop().ok_or(FormatError::Listing)
}

#[cfg(test)]
mod tests;
