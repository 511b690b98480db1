//! The on-disk store of instrumented code: keys and bytes, no knowledge of bytecode.
//!
//! A [`Store`] holds entries (marshal bytes and probe sites) under content keys ([`Key`]).
//! Entries live in immutable packs that many processes read at once, and in an overlay of
//! single-entry files written at import time. Whatever cannot be read, checked or trusted is a
//! miss with a [`MissReason`]: reading never fails, and never hands out bytes whose checksum
//! does not match. File formats and key inputs are specified in `docs/cache-format.md`.
//!
//! The crate reads no environment, holds no unsafe code and maps no file: what is handed out is a
//! copy that nobody can change or cut short any more.

#![forbid(unsafe_code)]

pub mod archive;
mod codec;
mod count;
mod dir;
pub mod entry;
mod error;
mod evict;
mod field;
mod key;
pub mod memo;
pub mod pack;
mod progress;
pub mod remembered;
mod root;
mod search;
mod source;
mod store;
mod trust;
pub mod verified;

pub use count::{Counter, Counts};
pub use entry::{Entry, Origin, Parts};
pub use error::{FormatError, OpenError, PutError};
pub use evict::{Limits, Removal};
pub use key::{Build, FORMAT_VERSION, Key, KeyHasher, ProbeDigest, ProbeSet, SourceHash, Tag};
pub use memo::{MemoState, Stamp};
pub use pack::{Pack, PackWriter};
pub use progress::Step;
pub use remembered::LineSet;
pub use root::{Cleared, Root, Usage};
pub use source::{Bytes, MAX_FILE_LEN};
pub use store::{Access, Damage, Listed, Lookup, MissReason, Refused, Repair, Store};
pub use trust::{Distrust, Trust};
