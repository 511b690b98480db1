//! `.pyc` headers (PEP 552): magic number, flags, and how the file is validated.

use crate::error::{Error, ErrorKind};
use crate::version::PyVersion;

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 16;

const HASH_BASED: u32 = 1;
const CHECKED: u32 = 2;

/// The header of a `.pyc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The CPython version that wrote the file.
    pub version: PyVersion,
    /// How it is validated.
    pub validation: Validation,
}

/// How the interpreter decides that a `.pyc` belongs to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Seconds since the epoch and size in bytes of the source, both modulo 2**32.
    Timestamp {
        /// Modification time of the source.
        mtime: u32,
        /// Size of the source.
        size: u32,
    },
    /// [`source_hash`] of the source; `checked` when it is to be compared at each import.
    Hash {
        /// Whether importing compares.
        checked: bool,
        /// The hash.
        hash: [u8; 8],
    },
}

/// Splits a `.pyc` into its header and the marshalled code object.
pub fn read(bytes: &[u8]) -> Result<(Header, &[u8]), Error> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_LENGTH>() else {
        return Err(ErrorKind::ShortHeader.into());
    };
    let [m0, m1, cr, lf, f0, f1, f2, f3, rest @ ..] = *header;
    if [cr, lf] != *b"\r\n" {
        return Err(ErrorKind::NotPyc.into());
    }
    let magic = u16::from_le_bytes([m0, m1]);
    let version = PyVersion::from_magic(magic).ok_or(ErrorKind::UnknownMagic(magic))?;
    let [t0, t1, t2, t3, s0, s1, s2, s3] = rest;
    let validation = match u32::from_le_bytes([f0, f1, f2, f3]) {
        0 => Validation::Timestamp {
            mtime: u32::from_le_bytes([t0, t1, t2, t3]),
            size: u32::from_le_bytes([s0, s1, s2, s3]),
        },
        flags if flags & HASH_BASED != 0 && flags & !(HASH_BASED | CHECKED) == 0 => {
            Validation::Hash {
                checked: flags & CHECKED != 0,
                hash: rest,
            }
        }
        flags => return Err(ErrorKind::BadPycFlags(flags).into()),
    };
    Ok((
        Header {
            version,
            validation,
        },
        body,
    ))
}

/// The bytes of a header.
#[must_use]
pub fn write_header(header: Header) -> [u8; HEADER_LENGTH] {
    let mut bytes = [0; HEADER_LENGTH];
    bytes[..2].copy_from_slice(&header.version.magic().to_le_bytes());
    bytes[2..4].copy_from_slice(b"\r\n");
    let flags = match header.validation {
        Validation::Timestamp { mtime, size } => {
            bytes[8..12].copy_from_slice(&mtime.to_le_bytes());
            bytes[12..].copy_from_slice(&size.to_le_bytes());
            0
        }
        Validation::Hash { checked, hash } => {
            bytes[8..].copy_from_slice(&hash);
            HASH_BASED | if checked { CHECKED } else { 0 }
        }
    };
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    bytes
}

/// `importlib.util.source_hash`: SipHash-1-3 keyed with the magic number.
#[must_use]
pub fn source_hash(version: PyVersion, source: &[u8]) -> [u8; 8] {
    let [m0, m1] = version.magic().to_le_bytes();
    let key = u64::from(u32::from_le_bytes([m0, m1, b'\r', b'\n']));
    siphash13(key, 0, source).to_le_bytes()
}

fn siphash13(k0: u64, k1: u64, data: &[u8]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        absorb(&mut state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = data.len().to_le_bytes()[0];
    absorb(&mut state, u64::from_le_bytes(last));
    state[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut state);
    }
    state[0] ^ state[1] ^ state[2] ^ state[3]
}

fn absorb(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    round(state);
    state[0] ^= word;
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}
