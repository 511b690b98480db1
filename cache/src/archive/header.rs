//! The header of an archive: what follows, how long it is, and whether it is signed.

use super::{ARCHIVE_VERSION, ArchiveError, MAGIC};
use crate::entry::{first, read_head, write_head};
use crate::field::{array, u32_at, u64_at};

pub(super) const HEADER_LEN: usize = 72;
const SUM_AT: usize = 64;
const SIGNED: u32 = 1;
/// Length of the digest at the end, and of the signature before it.
pub(super) const SEAL_LEN: u64 = 32;

/// Lengths of one zstd frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameLen {
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) signed: bool,
    pub(super) entries: u64,
    pub(super) bodies: FrameLen,
    pub(super) manifest: FrameLen,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..16].copy_from_slice(&write_head(MAGIC));
        bytes[16..20].copy_from_slice(&ARCHIVE_VERSION.to_le_bytes());
        let flags = if self.signed { SIGNED } else { 0 };
        bytes[20..24].copy_from_slice(&flags.to_le_bytes());
        let numbers = [
            self.entries,
            self.bodies.packed,
            self.bodies.unpacked,
            self.manifest.packed,
            self.manifest.unpacked,
        ];
        for (field, number) in bytes[24..SUM_AT]
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip(numbers)
        {
            *field = number.to_le_bytes();
        }
        let sum = first::<8>(&blake3::hash(&bytes[..SUM_AT]));
        bytes[SUM_AT..].copy_from_slice(&sum);
        bytes
    }

    /// Reads the header from the start of a file; fewer bytes than its length are all there are.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(ArchiveError::NotAnArchive);
        }
        read_head(bytes, MAGIC, HEADER_LEN).map_err(ArchiveError::of_head)?;
        match u32_at(bytes, 16) {
            Some(ARCHIVE_VERSION) => {}
            found => {
                return Err(ArchiveError::ArchiveVersion {
                    found: found.unwrap_or_default(),
                    needed: ARCHIVE_VERSION,
                });
            }
        }
        if array(bytes, SUM_AT) != Some(first::<8>(&blake3::hash(&bytes[..SUM_AT]))) {
            return Err(ArchiveError::Header);
        }
        let flags = u32_at(bytes, 20).filter(|flags| flags & !SIGNED == 0);
        let number = |index: usize| u64_at(bytes, 24 + 8 * index).ok_or(ArchiveError::Header);
        let frame = |index| {
            Ok::<_, ArchiveError>(FrameLen {
                packed: number(index)?,
                unpacked: number(index + 1)?,
            })
        };
        Ok(Self {
            signed: flags.ok_or(ArchiveError::Header)? == SIGNED,
            entries: number(0)?,
            bodies: frame(1)?,
            manifest: frame(3)?,
        })
    }

    /// Where the manifest begins.
    pub(super) fn manifest_at(&self) -> Option<u64> {
        (HEADER_LEN as u64).checked_add(self.bodies.packed)
    }

    /// Where the seal begins.
    pub(super) fn seal_at(&self) -> Option<u64> {
        self.manifest_at()?.checked_add(self.manifest.packed)
    }

    /// Where the file ends.
    pub(super) fn end(&self) -> Option<u64> {
        let seal = if self.signed { 2 * SEAL_LEN } else { SEAL_LEN };
        self.seal_at()?.checked_add(seal)
    }
}
