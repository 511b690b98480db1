//! Writes an archive: entries go to the file as they come, rows to memory, packed.
//!
//! The header and the seal are known in the end only; then the file is read once more for them.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Seek, SeekFrom, Write};

use super::header::{FrameLen, HEADER_LEN, Header};
use super::row::write_text;
use super::source::Section;
use super::{ArchiveDigest, ManifestRow, SigningKey, WINDOW_LOG};
use crate::entry::Parts;

/// How hard zstd tries: archives are made once and read often, but a cold export should not take
/// longer than the instrumenting.
const LEVEL: i32 = 6;

type Packer<W> = zstd::stream::write::Encoder<'static, W>;

pub(super) struct ArchiveWriter {
    bodies: Packer<BufWriter<File>>,
    manifest: Packer<Vec<u8>>,
    entries: u64,
    bodies_len: u64,
    manifest_len: u64,
}

/// What was written.
pub(super) struct Written {
    pub(super) digest: ArchiveDigest,
    pub(super) len: u64,
}

fn packer<W: Write>(out: W) -> io::Result<Packer<W>> {
    let mut packer = zstd::stream::write::Encoder::new(out, LEVEL)?;
    packer.window_log(WINDOW_LOG)?;
    Ok(packer)
}

impl ArchiveWriter {
    /// Starts an archive in an empty file that can be read and written.
    pub(super) fn create(file: File, engine: &str) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        out.write_all(&[0; HEADER_LEN])?;
        let mut writer = Self {
            bodies: packer(out)?,
            manifest: packer(Vec::new())?,
            entries: 0,
            bodies_len: 0,
            manifest_len: 0,
        };
        writer.write_to_manifest(|out| write_text(out, engine))?;
        Ok(writer)
    }

    /// Adds an entry; its row must come after that of the one before.
    pub(super) fn add(&mut self, row: &ManifestRow, parts: Parts<'_>) -> io::Result<()> {
        self.write_to_manifest(|out| row.write(out))?;
        self.bodies.write_all(parts.code)?;
        self.bodies.write_all(parts.sites)?;
        self.bodies_len += row.body_len();
        self.entries += 1;
        Ok(())
    }

    fn write_to_manifest(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(256);
        write(&mut bytes)?;
        self.manifest_len += bytes.len() as u64;
        self.manifest.write_all(&bytes)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn bodies_len(&self) -> u64 {
        self.bodies_len
    }

    /// Completes the archive and makes it durable.
    pub(super) fn finish(self, key: Option<&SigningKey>) -> io::Result<Written> {
        let mut out = self.bodies.finish()?;
        let bodies = out.stream_position()? - HEADER_LEN as u64;
        let manifest = self.manifest.finish()?;
        out.write_all(&manifest)?;
        let header = Header {
            signed: key.is_some(),
            entries: self.entries,
            bodies: FrameLen {
                packed: bodies,
                unpacked: self.bodies_len,
            },
            manifest: FrameLen {
                packed: manifest.len() as u64,
                unpacked: self.manifest_len,
            },
        };
        let seal_at = out.stream_position()?;
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&header.encode())?;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut whole = blake3::Hasher::new();
        let mut keyed = key.map(SigningKey::hasher);
        let mut content = Section::new(&file, 0, seal_at);
        loop {
            let bytes = content.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            whole.update(bytes);
            if let Some(keyed) = &mut keyed {
                keyed.update(bytes);
            }
            let len = bytes.len();
            content.consume(len);
        }
        let mut seal = Vec::new();
        if let Some(keyed) = keyed {
            seal.extend_from_slice(keyed.finalize().as_bytes());
            whole.update(&seal);
        }
        let digest = whole.finalize();
        whole.update(digest.as_bytes());
        seal.extend_from_slice(digest.as_bytes());
        file.seek(SeekFrom::Start(seal_at))?;
        file.write_all(&seal)?;
        file.sync_all()?;
        Ok(Written {
            digest: ArchiveDigest(whole.finalize()),
            len: seal_at + seal.len() as u64,
        })
    }
}
