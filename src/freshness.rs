//! Whether the `.pyc` file of a source can be used in place of compiling it.
//!
//! The rules are CPython's (PEP 552): the magic number of the target, and either modification
//! time and size or the source's hash. One rule is stricter: CPython compares whole seconds, so
//! a source that was edited within the second of the compilation passes for unchanged. What is
//! stored under the source's hash must not be the code of another text, so the `.pyc` also has
//! to be a little younger than the source. A `.pyc` anybody can write is not read.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use instrument::PyVersion;
use instrument::pyc::{self, Validation};

/// Longer than it takes to compile a module: the compiler read what is there now.
const YOUNGER_BY: Duration = Duration::from_millis(200);

/// Why there is no use in the `.pyc`; all of them mean that the source is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// There is none, or it cannot be read.
    Absent,
    /// Other users can write it.
    Untrusted,
    /// It is damaged or of another version.
    Foreign,
    /// It is of another state of the source, or may be.
    Outdated,
}

/// The marshal bytes in the file at `path`, if they are the code of `source` (whose `metadata`
/// was read before its bytes).
pub(crate) fn fresh_code(
    path: &Path,
    version: PyVersion,
    source: &[u8],
    metadata: &Metadata,
) -> Result<Vec<u8>, Stale> {
    let compiled = fs::metadata(path).map_err(|_| Stale::Absent)?;
    if !compiled.is_file() || writable_by_others(&compiled) {
        return Err(Stale::Untrusted);
    }
    let mut bytes = fs::read(path).map_err(|_| Stale::Absent)?;
    let (header, code) = pyc::read(&bytes).map_err(|_| Stale::Foreign)?;
    if header.version != version {
        return Err(Stale::Foreign);
    }
    let fresh = match header.validation {
        Validation::Timestamp { mtime, size } => {
            let modified = metadata.modified().map_err(|_| Stale::Outdated)?;
            let settled = compiled
                .modified()
                .ok()
                .and_then(|at| at.duration_since(modified).ok());
            (mtime, size) == (seconds(modified), low_bits(source.len() as u64))
                && settled.is_some_and(|age| age >= YOUNGER_BY)
        }
        Validation::Hash { hash, .. } => hash == pyc::source_hash(version, source),
    };
    if !fresh {
        return Err(Stale::Outdated);
    }
    let header_len = bytes.len() - code.len();
    bytes.drain(..header_len);
    Ok(bytes)
}

/// The modification time as the header holds it: whole seconds, 32 bits of them.
fn seconds(time: SystemTime) -> u32 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => low_bits(since.as_secs()),
        // Before 1970: CPython stores the two's complement of the rounded seconds.
        Err(before) => low_bits(before.duration().as_secs()).wrapping_neg(),
    }
}

// INVARIANT: the header holds the low 32 bits of both numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the header holds the low 32 bits"
)]
fn low_bits(number: u64) -> u32 {
    number as u32
}

#[cfg(unix)]
fn writable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.mode() & 0o002 != 0
}

#[cfg(not(unix))]
fn writable_by_others(_metadata: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests;
