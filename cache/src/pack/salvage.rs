//! What is sound in the bytes of a damaged pack.
//!
//! A row proves itself and its entry: the checksum in it covers the key, the lengths and the
//! bytes. So rows are looked for wherever one can stand, whatever the header says; the listing
//! proves itself too, and tells where the table began. Never used at import.

use std::collections::HashMap;
use std::sync::Arc;

use super::read::{key_of, place_of};
use super::{HEADER_LEN, ROW_LEN};
use crate::codec;
use crate::entry::{Entry, Origin, first};
use crate::field::{array, u32_at, u64_at};
use crate::key::Key;
use crate::source::Bytes;

/// How often the length of the file may be hashed in search of rows and listing.
const PASSES: usize = 4;

/// What was found in a damaged pack.
#[derive(Debug, Default)]
pub struct Salvage {
    /// Entries whose checksum matches, each with its origin, which may be lost.
    pub sound: Vec<(Key, Entry, Origin)>,
    /// Keys and origins of entries that are no longer sound; either may be damaged, too.
    pub lost: Vec<(Key, Origin)>,
    /// How many more the header tells of, when the listing is lost.
    pub nameless: u64,
}

/// Looks for sound entries in any bytes.
#[must_use]
pub fn salvage(bytes: Bytes) -> Salvage {
    let bytes = Arc::new(bytes);
    let content = (**bytes).as_ref();
    let mut found = HashMap::new();
    let mut budget = content.len().saturating_mul(PASSES);
    for (index, row) in content.as_chunks::<ROW_LEN>().0.iter().enumerate().skip(1) {
        let slot = index * ROW_LEN;
        let Some((place, sum)) = place_of(row, slot as u64) else {
            continue;
        };
        let cost = place.code.len() + place.sites.len();
        if cost > budget {
            continue;
        }
        budget -= cost;
        if let Ok(entry) = Entry::checked(&bytes, &key_of(row), place, &sum) {
            found.insert(slot, (key_of(row), entry));
        }
    }
    match listing(content, found.keys().copied().max(), &mut budget) {
        Some((table, origins)) => with_origins(content, found, table, origins),
        None => without_origins(content, found),
    }
}

/// Where the table began, and the origins in the order of its rows.
fn listing(
    content: &[u8],
    last_row: Option<usize>,
    budget: &mut usize,
) -> Option<(usize, Vec<Origin>)> {
    let told = u64_at(content, 32).and_then(|at| usize::try_from(at).ok());
    let after_rows = last_row.map_or(2 * HEADER_LEN, |slot| slot + ROW_LEN);
    let guesses = (after_rows..content.len()).step_by(ROW_LEN);
    for at in told.into_iter().chain(guesses) {
        let Some(section) = content.get(at..) else {
            continue;
        };
        let Some(sum) = array::<16>(section, 0) else {
            continue;
        };
        let listing = &section[sum.len()..];
        *budget = budget.checked_sub(listing.len())?;
        if first::<16>(&blake3::hash(listing)) != sum {
            continue;
        }
        if let Ok(origins) = codec::decode_any(listing)
            && let Some(table) = at.checked_sub(origins.len() * ROW_LEN)
        {
            return Some((table, origins));
        }
    }
    None
}

fn with_origins(
    content: &[u8],
    mut found: HashMap<usize, (Key, Entry)>,
    table: usize,
    origins: Vec<Origin>,
) -> Salvage {
    let mut salvage = Salvage::default();
    for (index, origin) in origins.into_iter().enumerate() {
        let slot = table + index * ROW_LEN;
        match found.remove(&slot) {
            Some((key, entry)) => salvage.sound.push((key, entry, origin)),
            None => salvage.lost.push((key_at(content, slot), origin)),
        }
    }
    salvage
}

fn key_at(content: &[u8], slot: usize) -> Key {
    Key::from_bytes(array(content, slot).unwrap_or_default())
}

/// True when the checksum of the header matches, whatever the header says.
pub(crate) fn has_sound_header(content: &[u8]) -> bool {
    let head = content.get(..56);
    head.is_some_and(|head| array(content, 56) == Some(first::<8>(&blake3::hash(head))))
}

fn without_origins(content: &[u8], found: HashMap<usize, (Key, Entry)>) -> Salvage {
    let mut rows: Vec<(usize, (Key, Entry))> = found.into_iter().collect();
    rows.sort_by_key(|(slot, _)| *slot);
    let count = u32_at(content, 16).filter(|_| has_sound_header(content));
    let nameless = count.map_or(0, |count| {
        u64::from(count).saturating_sub(rows.len() as u64)
    });
    Salvage {
        nameless,
        lost: Vec::new(),
        sound: rows
            .into_iter()
            .map(|(_, (key, entry))| (key, entry, Origin::unknown()))
            .collect(),
    }
}
