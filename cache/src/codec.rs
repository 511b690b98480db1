//! The listing section: where entries came from, for `list`, `info` and `export`; and the sets of
//! lines that are remembered.
//!
//! Cold metadata only, so it may be decoded as a whole. bincode 1.3.3 with variable-length
//! integers is complete but no longer developed; everything that knows it stands here.

use bincode::Options;
use serde::{Deserialize, Serialize};

use crate::entry::Origin;
use crate::error::FormatError;
use crate::key::SourceHash;
use crate::remembered::LineSet;

/// The largest listing section that is written or decoded.
pub(crate) const MAX_LISTING_LEN: u64 = 64 << 20;

/// Origins in the order of the rows they describe; strings that repeat are stored once.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Listing {
    labels: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    path: String,
    source: [u8; 32],
    engine: u32,
    python: u32,
    variant: u32,
}

pub(crate) fn encode<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Option<Vec<u8>> {
    let mut seen = std::collections::HashMap::new();
    let mut listing = Listing::default();
    for origin in origins {
        let mut label = |text: &'a str| -> Option<u32> {
            let next = u32::try_from(listing.labels.len()).ok()?;
            Some(*seen.entry(text).or_insert_with(|| {
                listing.labels.push(text.to_owned());
                next
            }))
        };
        let (engine, python, variant) = (
            label(&origin.engine)?,
            label(&origin.python)?,
            label(&origin.variant)?,
        );
        listing.rows.push(Row {
            path: origin.path.clone(),
            source: *origin.source.as_bytes(),
            engine,
            python,
            variant,
        });
    }
    options().serialize(&listing).ok()
}

pub(crate) fn decode(bytes: &[u8], rows: usize) -> Result<Vec<Origin>, FormatError> {
    let origins = decode_any(bytes)?;
    if origins.len() == rows {
        Ok(origins)
    } else {
        Err(FormatError::Listing)
    }
}

/// Decodes a listing of any number of rows.
pub(crate) fn decode_any(bytes: &[u8]) -> Result<Vec<Origin>, FormatError> {
    let listing: Listing = options()
        .deserialize(bytes)
        .map_err(|_| FormatError::Listing)?;
    let label = |index: u32| {
        let text = usize::try_from(index)
            .ok()
            .and_then(|i| listing.labels.get(i));
        text.cloned().ok_or(FormatError::Listing)
    };
    let mut origins = Vec::with_capacity(listing.rows.len());
    for row in &listing.rows {
        origins.push(Origin {
            path: row.path.clone(),
            source: SourceHash::from_bytes(row.source),
            engine: label(row.engine)?,
            python: label(row.python)?,
            variant: label(row.variant)?,
        });
    }
    Ok(origins)
}

pub(crate) fn encode_sets(sets: &[LineSet]) -> Option<Vec<u8>> {
    options().serialize(sets).ok()
}

pub(crate) fn decode_sets(bytes: &[u8]) -> Result<Vec<LineSet>, FormatError> {
    options()
        .deserialize(bytes)
        .map_err(|_| FormatError::Listing)
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_varint_encoding()
        .with_limit(MAX_LISTING_LEN)
        .reject_trailing_bytes()
}
