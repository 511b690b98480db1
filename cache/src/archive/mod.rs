//! Archives: entries of a store in one file that can be carried to another machine.
//!
//! Layout (little-endian), specified in `docs/cache-format.md`:
//! ```text
//! header    72 bytes: head, flags, number of entries, packed and unpacked lengths, checksum
//! bodies    one zstd frame: code and sites of every entry
//! manifest  one zstd frame: the engine, then a row for every entry in the same order
//! seal      when it is signed, a keyed BLAKE3 of all before it; then BLAKE3 of all before it
//! ```
//! The same entries give the same bytes. Reading proves the seal before anything is unpacked, and
//! unpacks a piece at a time, never more than was announced and allowed. Nothing is mapped: an
//! archive is a file of the user, who may change it meanwhile, which is noticed.

mod error;
mod export;
mod header;
mod import;
mod read;
mod row;
mod seal;
mod source;
mod write;

pub use error::ArchiveError;
pub use export::{Export, Exported, export};
pub use import::{Import, Imported};
pub use read::{Archive, BuildSummary, Demand, Entries, Manifest, Signature};
pub use row::ManifestRow;
pub use seal::{ArchiveDigest, SigningKey};
pub use source::ReadAt;

const MAGIC: [u8; 8] = *b"DPRARCH\0";
/// Version of the layout of an archive; that of its entries is `FORMAT_VERSION`.
const ARCHIVE_VERSION: u32 = 1;
/// The longest code or sites that an archive takes.
pub(crate) const MAX_PART: u32 = 64 << 20;
/// The longest path, or description of an interpreter or of a probe set.
const MAX_TEXT: u32 = 1 << 20;
/// The longest unpacked manifest.
const MAX_MANIFEST: u64 = 1 << 30;
/// Base 2 logarithm of how far back a frame may refer: what unpacking holds in memory.
const WINDOW_LOG: u32 = 23;

#[cfg(test)]
mod tests;
