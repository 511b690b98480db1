//! One row of the manifest: what an entry is, where it came from and how long it is.

use std::io::{self, Write};

use super::source::Frame;
use super::{ArchiveError, MAX_PART, MAX_TEXT};
use crate::entry::Origin;
use crate::key::{Key, SourceHash, Tag};

/// One entry as the manifest of an archive tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The interpreter's directory in a store.
    pub tag: Tag,
    /// The magic number of its bytecode.
    pub magic: u16,
    /// The key.
    pub key: Key,
    /// Where it came from.
    pub origin: Origin,
    /// Length of the code.
    pub code_len: u32,
    /// Length of the sites.
    pub sites_len: u32,
    /// Checksum of key, lengths, code and sites.
    pub checksum: [u8; 16],
}

impl ManifestRow {
    /// Length of code and sites.
    #[must_use]
    pub fn body_len(&self) -> u64 {
        u64::from(self.code_len) + u64::from(self.sites_len)
    }

    /// What rows are sorted by; no two are equal in it.
    pub(super) fn order(&self) -> (&str, &str, &str, &[u8; 32]) {
        let origin = &self.origin;
        (
            self.tag.as_str(),
            &origin.path,
            &origin.variant,
            self.key.as_bytes(),
        )
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_text(out, self.tag.as_str())?;
        out.write_all(&self.magic.to_le_bytes())?;
        for text in [&self.origin.path, &self.origin.variant, &self.origin.python] {
            write_text(out, text)?;
        }
        out.write_all(self.key.as_bytes())?;
        out.write_all(self.origin.source.as_bytes())?;
        out.write_all(&self.checksum)?;
        out.write_all(&self.code_len.to_le_bytes())?;
        out.write_all(&self.sites_len.to_le_bytes())
    }

    pub(super) fn read(input: &mut Frame<'_>, engine: &str) -> Result<Self, ArchiveError> {
        let tag = read_text(input)?;
        let magic = u16::from_le_bytes(input.array()?);
        let tag = Tag::from_name(&tag)
            .filter(|tag| tag.magic() == Some(magic))
            .ok_or(ArchiveError::Malformed("a row names no interpreter"))?;
        let (path, variant, python) = (read_text(input)?, read_text(input)?, read_text(input)?);
        let key = Key::from_bytes(input.array()?);
        let source = SourceHash::from_bytes(input.array()?);
        let checksum = input.array()?;
        let mut part_len = || {
            let len = u32::from_le_bytes(input.array()?);
            if len > MAX_PART {
                return Err(too_large(len));
            }
            Ok(len)
        };
        let (code_len, sites_len) = (part_len()?, part_len()?);
        Ok(Self {
            tag,
            magic,
            key,
            origin: Origin {
                path,
                source,
                engine: engine.to_owned(),
                python,
                variant,
            },
            code_len,
            sites_len,
            checksum,
        })
    }
}

fn too_large(len: u32) -> ArchiveError {
    ArchiveError::TooLarge {
        what: "an entry",
        len: len.into(),
        limit: MAX_PART.into(),
    }
}

/// True for text that a row can hold.
pub(super) fn fits(text: &str) -> bool {
    u32::try_from(text.len()).is_ok_and(|len| len <= MAX_TEXT)
}

pub(super) fn write_text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let len = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(text.as_bytes())
}

pub(super) fn read_text(input: &mut Frame<'_>) -> Result<String, ArchiveError> {
    let len = u32::from_le_bytes(input.array()?);
    if len > MAX_TEXT {
        return Err(ArchiveError::TooLarge {
            what: "a text",
            len: len.into(),
            limit: MAX_TEXT.into(),
        });
    }
    let mut bytes = Vec::new();
    input.fill(&mut bytes, len)?;
    String::from_utf8(bytes).map_err(|_| ArchiveError::Malformed("a text is not UTF-8"))
}
