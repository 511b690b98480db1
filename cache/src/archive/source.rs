//! The bytes of an archive, read at the positions that are asked for.
//!
//! Two parts of a file are read at the same time, and what is read is hashed on the way, so that
//! a file that changed since it was proved is noticed.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

use super::ArchiveError;
use super::header::FrameLen;

const BUFFER: usize = 1 << 16;

/// Bytes that can be read at any position.
pub trait ReadAt {
    /// Reads bytes from a position on; 0 at the end.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;

    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, at)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.get(at..).unwrap_or_default().read(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok((**self).len() as u64)
    }
}

/// Part of a file, hashed as it is read.
pub(super) struct Section<'a> {
    source: &'a dyn ReadAt,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
    hasher: blake3::Hasher,
}

impl<'a> Section<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, at: u64, len: u64) -> Self {
        Self {
            source,
            at,
            end: at.saturating_add(len),
            buffer: Vec::new(),
            used: 0,
            hasher: blake3::Hasher::new(),
        }
    }

    /// True when all of it was consumed.
    fn is_empty(&self) -> bool {
        self.used == self.buffer.len() && self.at == self.end
    }

    pub(super) fn digest(&self) -> blake3::Hash {
        self.hasher.finalize()
    }
}

impl BufRead for Section<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() && self.at < self.end {
            let wanted = usize::try_from(self.end - self.at).map_or(BUFFER, |len| len.min(BUFFER));
            self.buffer.resize(wanted, 0);
            self.used = wanted;
            let got = loop {
                match self.source.read_at(&mut self.buffer, self.at) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    got => break got?,
                }
            };
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.truncate(got);
            self.used = 0;
            self.at += got as u64;
            self.hasher.update(&self.buffer);
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.buffer.len());
    }
}

impl Read for Section<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(bytes)?;
        self.consume(got);
        Ok(got)
    }
}

/// Unpacks one zstd frame, up to the length that was announced for it.
pub(super) struct Frame<'a> {
    decoder: zstd::stream::read::Decoder<'static, Section<'a>>,
    left: u64,
    /// Digest of the packed bytes as they were proved.
    proved: blake3::Hash,
}

impl<'a> Frame<'a> {
    pub(super) fn open(
        source: &'a dyn ReadAt,
        at: u64,
        len: FrameLen,
        proved: blake3::Hash,
    ) -> Result<Self, ArchiveError> {
        let section = Section::new(source, at, len.packed);
        let mut decoder = zstd::stream::read::Decoder::with_buffer(section)?.single_frame();
        decoder.window_log_max(super::WINDOW_LOG)?;
        Ok(Self {
            decoder,
            left: len.unpacked,
            proved,
        })
    }

    /// Unpacks exactly `len` bytes into `bytes`, which grows with what really comes.
    pub(super) fn fill(&mut self, bytes: &mut Vec<u8>, len: u32) -> Result<(), ArchiveError> {
        bytes.clear();
        let got = self
            .by_ref()
            .take(len.into())
            .read_to_end(bytes)
            .map_err(ArchiveError::unpacking)?;
        if got as u64 == u64::from(len) {
            Ok(())
        } else {
            Err(ArchiveError::Malformed("a packed part ends early"))
        }
    }

    /// Unpacks a fixed number of bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        match self.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(ArchiveError::unpacking(error)),
        }
    }

    /// Makes sure that nothing follows, and that the packed bytes are those that were proved.
    pub(super) fn finish(mut self) -> Result<(), ArchiveError> {
        let longer = ArchiveError::Malformed("a packed part is longer than it says");
        if self.left > 0 {
            return Err(longer);
        }
        let more = self
            .decoder
            .read(&mut [0])
            .map_err(ArchiveError::unpacking)?;
        let section = self.decoder.get_ref();
        if more > 0 || !section.is_empty() {
            return Err(longer);
        }
        if section.digest() == self.proved {
            Ok(())
        } else {
            Err(ArchiveError::Changed)
        }
    }
}

impl Read for Frame<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let got = self.decoder.read(&mut bytes[..most])?;
        self.left -= got as u64;
        Ok(got)
    }
}
