//! Reads an archive: first the proof of all its bytes, then row by row and entry by entry.

use super::header::{HEADER_LEN, Header, SEAL_LEN};
use super::row::read_text;
use super::source::{Frame, Section};
use super::{ArchiveDigest, ArchiveError, MAX_MANIFEST, ManifestRow, ReadAt, SigningKey};
use crate::entry::{Parts, checksum};
use crate::key::Tag;

/// What an archive has to prove before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'k> {
    /// The digest of the file.
    pub digest: Option<ArchiveDigest>,
    /// The key that it has to be signed with.
    pub key: Option<&'k SigningKey>,
    /// How many bytes all its entries together may have.
    pub max_len: u64,
}

/// What is known of the signature of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It has none.
    Absent,
    /// It has one, and no key was given to check it.
    Unchecked,
    /// It is that of the key.
    Verified,
}

/// What an archive holds for one kind of interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSummary {
    /// The interpreter's directory in a store.
    pub tag: Tag,
    /// How many entries.
    pub entries: u64,
    /// How many bytes of code and sites.
    pub bytes: u64,
}

/// An archive whose bytes and manifest were proved.
pub struct Archive<'a> {
    source: &'a dyn ReadAt,
    header: Header,
    proof: Proof,
    signature: Signature,
    engine: String,
    builds: Vec<BuildSummary>,
}

struct Proof {
    bodies: blake3::Hash,
    manifest: blake3::Hash,
    file: blake3::Hash,
}

impl<'a> Archive<'a> {
    /// Proves the bytes of an archive and reads its manifest.
    pub fn open(source: &'a dyn ReadAt, demand: &Demand<'_>) -> Result<Self, ArchiveError> {
        let len = source.length()?;
        let header = read_header(source, len)?;
        let limits = [
            ("what it holds", header.bodies.unpacked, demand.max_len),
            ("its manifest", header.manifest.unpacked, MAX_MANIFEST),
        ];
        for (what, len, limit) in limits {
            if len > limit {
                return Err(ArchiveError::TooLarge { what, len, limit });
            }
        }
        let (proof, signature) = prove(source, &header, demand)?;
        let mut archive = Self {
            source,
            header,
            proof,
            signature,
            engine: String::new(),
            builds: Vec::new(),
        };
        archive.survey()?;
        Ok(archive)
    }

    /// Digest of the whole file.
    #[must_use]
    pub fn digest(&self) -> ArchiveDigest {
        ArchiveDigest(self.proof.file)
    }

    /// Whether it is signed.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// Version of the engine that made its entries.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The kinds of interpreters it holds entries for, in order of their names.
    #[must_use]
    pub fn builds(&self) -> &[BuildSummary] {
        &self.builds
    }

    /// How many entries it holds.
    #[must_use]
    pub fn entries_len(&self) -> u64 {
        self.header.entries
    }

    /// The rows of its manifest.
    pub fn manifest(&self) -> Result<Manifest<'a>, ArchiveError> {
        let at = self.header.manifest_at().ok_or(ArchiveError::Header)?;
        let (len, proved) = (self.header.manifest, self.proof.manifest);
        let mut input = Frame::open(self.source, at, len, proved)?;
        let engine = read_text(&mut input)?;
        Ok(Manifest {
            input: Some(input),
            engine,
            left: self.header.entries,
            bodies_left: self.header.bodies.unpacked,
            previous: None,
        })
    }

    /// Its entries, in the order of the manifest.
    pub fn entries(&self) -> Result<Entries<'a>, ArchiveError> {
        let (len, proved) = (self.header.bodies, self.proof.bodies);
        let bodies = Frame::open(self.source, HEADER_LEN as u64, len, proved)?;
        Ok(Entries {
            manifest: self.manifest()?,
            bodies: Some(bodies),
            code: Vec::new(),
            sites: Vec::new(),
        })
    }

    fn survey(&mut self) -> Result<(), ArchiveError> {
        let mut manifest = self.manifest()?;
        self.engine.clone_from(&manifest.engine);
        while let Some(row) = manifest.read_next()? {
            let bytes = row.body_len();
            match self.builds.last_mut().filter(|last| last.tag == row.tag) {
                Some(last) => {
                    last.entries += 1;
                    last.bytes += bytes;
                }
                None => self.builds.push(BuildSummary {
                    tag: row.tag,
                    entries: 1,
                    bytes,
                }),
            }
        }
        Ok(())
    }
}

fn read_header(source: &dyn ReadAt, len: u64) -> Result<Header, ArchiveError> {
    let mut bytes = Vec::new();
    let mut section = Section::new(source, 0, len.min(HEADER_LEN as u64));
    std::io::Read::read_to_end(&mut section, &mut bytes)?;
    let header = Header::decode(&bytes)?;
    let expected = header.end().ok_or(ArchiveError::Header)?;
    if len < expected {
        return Err(ArchiveError::CutShort { len, expected });
    }
    if len > expected {
        let extra = len - expected;
        return Err(ArchiveError::Trailing { extra });
    }
    Ok(header)
}

/// Hashes the file once, from its start to its end, and compares what has to be equal.
fn prove(
    source: &dyn ReadAt,
    header: &Header,
    demand: &Demand<'_>,
) -> Result<(Proof, Signature), ArchiveError> {
    let mut whole = blake3::Hasher::new();
    let mut keyed = demand.key.map(SigningKey::hasher);
    let mut take = |at: u64, len: u64| {
        let mut section = Section::new(source, at, len);
        loop {
            let bytes = std::io::BufRead::fill_buf(&mut section)?;
            if bytes.is_empty() {
                return Ok::<_, ArchiveError>((section.digest(), whole.clone(), keyed.clone()));
            }
            whole.update(bytes);
            if let Some(keyed) = &mut keyed {
                keyed.update(bytes);
            }
            let len = bytes.len();
            std::io::BufRead::consume(&mut section, len);
        }
    };
    let places = (header.manifest_at(), header.seal_at());
    let (Some(manifest_at), Some(seal_at)) = places else {
        return Err(ArchiveError::Header);
    };
    take(0, HEADER_LEN as u64)?;
    let (bodies, ..) = take(HEADER_LEN as u64, header.bodies.packed)?;
    let (manifest, mut sealed, signed) = take(manifest_at, header.manifest.packed)?;
    let mut signature = Signature::Absent;
    let mut matches = true;
    let mut digest_at = seal_at;
    if header.signed {
        let found = read_hash(source, seal_at)?;
        (_, sealed, _) = take(seal_at, SEAL_LEN)?;
        digest_at += SEAL_LEN;
        signature = Signature::Unchecked;
        if let Some(signed) = signed {
            signature = Signature::Verified;
            matches = signed.finalize() == found;
        }
    }
    let digest = read_hash(source, digest_at)?;
    if sealed.finalize() != digest {
        return Err(ArchiveError::Damaged);
    }
    let file = sealed.update(digest.as_bytes()).finalize();
    if let Some(demanded) = demand.digest
        && demanded.0 != file
    {
        let found = ArchiveDigest(file);
        return Err(ArchiveError::OtherDigest { found, demanded });
    }
    if demand.key.is_some() && !header.signed {
        return Err(ArchiveError::NotSigned);
    }
    if !matches {
        return Err(ArchiveError::WrongSignature);
    }
    let proof = Proof {
        bodies,
        manifest,
        file,
    };
    Ok((proof, signature))
}

fn read_hash(source: &dyn ReadAt, at: u64) -> Result<blake3::Hash, ArchiveError> {
    let mut bytes = [0; 32];
    let mut section = Section::new(source, at, SEAL_LEN);
    std::io::Read::read_exact(&mut section, &mut bytes)?;
    Ok(blake3::Hash::from_bytes(bytes))
}

/// The rows of a manifest, one at a time.
pub struct Manifest<'a> {
    /// Gone after the last row.
    input: Option<Frame<'a>>,
    engine: String,
    left: u64,
    /// Bytes of the entries of the rows to come.
    bodies_left: u64,
    previous: Option<ManifestRow>,
}

impl Manifest<'_> {
    /// The next row, checked as far as it can be without the entry; `None` after the last.
    pub fn read_next(&mut self) -> Result<Option<ManifestRow>, ArchiveError> {
        let Some(input) = &mut self.input else {
            return Ok(None);
        };
        if self.left == 0 {
            if self.bodies_left > 0 {
                return Err(ArchiveError::Malformed(
                    "the entries are longer than the rows say",
                ));
            }
            return match self.input.take() {
                Some(input) => input.finish().map(|()| None),
                None => Ok(None),
            };
        }
        let row = ManifestRow::read(input, &self.engine)?;
        if let Some(previous) = &self.previous
            && previous.order() >= row.order()
        {
            return Err(ArchiveError::Malformed("the rows are out of order"));
        }
        let shorter = ArchiveError::Malformed("the entries are shorter than the rows say");
        self.bodies_left = self
            .bodies_left
            .checked_sub(row.body_len())
            .ok_or(shorter)?;
        self.left -= 1;
        self.previous = Some(row.clone());
        Ok(Some(row))
    }
}

/// The entries of an archive, one at a time.
pub struct Entries<'a> {
    manifest: Manifest<'a>,
    /// Gone after the last entry.
    bodies: Option<Frame<'a>>,
    code: Vec<u8>,
    sites: Vec<u8>,
}

impl Entries<'_> {
    /// The next entry, its checksum verified; `None` after the last, when the whole archive
    /// turned out to be what was proved.
    pub fn read_next(&mut self) -> Result<Option<(ManifestRow, Parts<'_>)>, ArchiveError> {
        let Some(row) = self.manifest.read_next()? else {
            return match self.bodies.take() {
                Some(bodies) => bodies.finish().map(|()| None),
                None => Ok(None),
            };
        };
        let Some(bodies) = &mut self.bodies else {
            return Ok(None);
        };
        bodies.fill(&mut self.code, row.code_len)?;
        bodies.fill(&mut self.sites, row.sites_len)?;
        let parts = Parts {
            code: &self.code,
            sites: &self.sites,
        };
        if checksum(&row.key, parts) != row.checksum {
            let path = row.origin.path;
            return Err(ArchiveError::Entry { path });
        }
        Ok(Some((row, parts)))
    }
}
