//! What an entry is stored under: a digest of everything that decides its bytes.
//!
//! A key knows no path and no time, so a store works after a checkout, a copy or a move.
//! Every input is tagged and length-prefixed, so no two lists of inputs hash alike. The inputs
//! and the rule for raising [`FORMAT_VERSION`] are specified in `docs/cache-format.md`.

use std::fmt;

/// Version of every file format and of the key; part of the key and of the directory name.
///
/// Raise it when any layout, the list of key inputs, or the meaning of an entry's bytes changes.
pub const FORMAT_VERSION: u32 = 2;

const KEY_CONTEXT: &str = "dapper store: key of an entry";
const PROBE_CONTEXT: &str = "dapper store: digest of a probe set";

/// The interpreter build and engine that an entry is made by and for.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Version of the engine that instruments, with everything that changes its output.
    pub engine: &'a str,
    /// The magic number of the interpreter's bytecode (the first two bytes of a `.pyc`).
    pub magic: u16,
    /// `sys.implementation.cache_tag`, such as `cpython-313`.
    pub cache_tag: &'a str,
    /// `sys.abiflags`: free-threaded and debug builds share a magic number with the others.
    pub abi_flags: &'a str,
    /// `sys.flags.optimize`: 0, 1 or 2.
    pub optimize: u8,
    /// False under `PYTHONNODEBUGRANGES`, which leaves the columns out.
    pub debug_ranges: bool,
}

impl Build<'_> {
    /// The name of the directory that holds the entries of this kind of interpreter.
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::new(self.cache_tag, self.magic)
    }
}

/// Name of the directory that holds the entries of one bytecode format: `cpython-313-3571`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// Makes the name from the cache tag and the magic number; odd characters become `_`.
    #[must_use]
    pub fn new(cache_tag: &str, magic: u16) -> Self {
        let safe = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let name: String = cache_tag.chars().take(64).map(safe).collect();
        Self(format!("{name}-{magic}"))
    }

    /// Reads the name of such a directory.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let (cache_tag, magic) = name.rsplit_once('-')?;
        let tag = Self::new(cache_tag, magic.parse().ok()?);
        (!cache_tag.is_empty() && tag.0 == name).then_some(tag)
    }

    /// The directory name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The magic number in it.
    #[must_use]
    pub fn magic(&self) -> Option<u16> {
        self.0.rsplit_once('-')?.1.parse().ok()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// BLAKE3 of the bytes of a source file as they are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceHash([u8; 32]);

impl SourceHash {
    /// Hashes the bytes of a source file.
    #[must_use]
    pub fn of(source: &[u8]) -> Self {
        Self(*blake3::hash(source).as_bytes())
    }

    /// A hash that was computed before.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Which probes an entry was made with.
#[derive(Clone, Copy, Debug)]
pub enum ProbeSet<'a> {
    /// No probe at all.
    Plain,
    /// A probe on every line that can hold one.
    EveryLine,
    /// Probes on these lines as requested, in any order, before snapping.
    Lines(&'a [u32]),
    /// Any other set, by bytes that say everything about it (conditions, messages, hit counts).
    Described(&'a [u8]),
}

/// Digest of a [`ProbeSet`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeDigest([u8; 32]);

impl ProbeDigest {
    /// Digest of a probe set; the order and repetition of lines do not matter.
    #[must_use]
    pub fn of(probes: ProbeSet<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(PROBE_CONTEXT);
        match probes {
            ProbeSet::Plain => field(&mut hasher, b'p', &[]),
            ProbeSet::EveryLine => field(&mut hasher, b'e', &[]),
            ProbeSet::Lines(lines) => {
                let mut sorted = lines.to_vec();
                sorted.sort_unstable();
                sorted.dedup();
                let bytes: Vec<u8> = sorted.iter().flat_map(|l| l.to_le_bytes()).collect();
                field(&mut hasher, b'l', &bytes);
            }
            ProbeSet::Described(bytes) => field(&mut hasher, b'd', bytes),
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key of one entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A key that was computed before, such as one read from a file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64 lower-case hexadecimal digits that [`Key`]'s `Display` prints.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

/// Reads 64 lower-case hexadecimal digits.
pub(crate) fn hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Makes the keys of one [`Build`]; the part that all its keys share is hashed once.
#[derive(Clone, Debug)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts from the inputs that do not change from file to file.
    #[must_use]
    pub fn new(build: &Build<'_>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        field(&mut hasher, b'f', &FORMAT_VERSION.to_le_bytes());
        field(&mut hasher, b'e', build.engine.as_bytes());
        field(&mut hasher, b'm', &build.magic.to_le_bytes());
        field(&mut hasher, b't', build.cache_tag.as_bytes());
        field(&mut hasher, b'a', build.abi_flags.as_bytes());
        field(&mut hasher, b'o', &[build.optimize]);
        field(&mut hasher, b'r', &[u8::from(build.debug_ranges)]);
        Self(hasher)
    }

    /// The key of the variant of one source with one probe set.
    #[must_use]
    pub fn key(&self, source: &SourceHash, probes: &ProbeDigest) -> Key {
        let mut hasher = self.0.clone();
        field(&mut hasher, b's', &source.0);
        field(&mut hasher, b'p', &probes.0);
        Key(*hasher.finalize().as_bytes())
    }
}

fn field(hasher: &mut blake3::Hasher, tag: u8, bytes: &[u8]) {
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SourceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for ProbeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Debug for SourceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceHash({self})")
    }
}

impl fmt::Debug for ProbeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProbeDigest({self})")
    }
}

#[cfg(test)]
mod tests;
