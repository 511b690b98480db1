//! Packs: many entries in one immutable file, read an entry at a time.
//!
//! Layout (little-endian), specified in `docs/cache-format.md`:
//! ```text
//! header   64 bytes: head, count, row length, table and listing offsets, file length, checksums
//! entries  code and sites of each, each at a multiple of 16
//! table    one 64-byte row per entry, sorted by key: key, offset, two lengths, checksum
//! listing  16-byte checksum, then the origins in the order of the rows
//! ```
//! Opening checks the header and the file's length and reads nothing else; the table is read as it
//! is at the first lookup, which is a binary search in it, and an entry when it is asked for. Damage to the table can hide an entry, never return a wrong one: the
//! checksum of an entry covers its key and its lengths.

mod read;
mod salvage;
mod write;

pub use read::Pack;
pub(crate) use salvage::has_sound_header;
pub use salvage::{Salvage, salvage};
pub use write::PackWriter;
pub(crate) use write::ReadyPack;

const MAGIC: [u8; 8] = *b"DPRPACK\0";
pub(crate) const HEADER_LEN: usize = 64;
const ROW_LEN: usize = 64;
const LISTING_SUM_LEN: u64 = 16;

#[cfg(test)]
mod tests;
