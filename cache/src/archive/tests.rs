//! Archives that nobody exports: sealed as they should be, and wrong inside.

use std::io::Write;

use super::header::{FrameLen, Header};
use super::row::write_text;
use super::{Archive, ArchiveDigest, ArchiveError, Demand, ManifestRow, Signature, SigningKey};
use crate::entry::{Origin, Parts, checksum};
use crate::key::{Key, SourceHash, Tag};

const DEMAND: Demand<'static> = Demand {
    digest: None,
    key: None,
    max_len: 1 << 20,
};

fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).expect("packs")
}

/// The header and frames of an archive before they are sealed.
struct Draft {
    header: Header,
    bodies: Vec<u8>,
    manifest: Vec<u8>,
}

impl Draft {
    fn new(entries: u64, bodies: &[u8], manifest: &[u8]) -> Self {
        let (packed_bodies, packed_manifest) = (pack(bodies), pack(manifest));
        let frame = |packed: &[u8], unpacked: &[u8]| FrameLen {
            packed: packed.len() as u64,
            unpacked: unpacked.len() as u64,
        };
        Self {
            header: Header {
                signed: false,
                entries,
                bodies: frame(&packed_bodies, bodies),
                manifest: frame(&packed_manifest, manifest),
            },
            bodies: packed_bodies,
            manifest: packed_manifest,
        }
    }

    fn seal(&self) -> Vec<u8> {
        self.seal_with(None)
    }

    fn seal_with(&self, key: Option<&SigningKey>) -> Vec<u8> {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend_from_slice(&self.bodies);
        bytes.extend_from_slice(&self.manifest);
        if let Some(key) = key {
            let mac = key.hasher().update(&bytes).finalize();
            bytes.extend_from_slice(mac.as_bytes());
        }
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        bytes
    }
}

fn row(path: &str, code: &[u8], sites: &[u8]) -> ManifestRow {
    let key = Key::from_bytes(*blake3::hash(path.as_bytes()).as_bytes());
    let len = |part: &[u8]| u32::try_from(part.len()).expect("short");
    ManifestRow {
        tag: Tag::new("cpython-313", 3571),
        magic: 3571,
        key,
        origin: Origin {
            path: path.to_owned(),
            source: SourceHash::of(path.as_bytes()),
            engine: "1.0".to_owned(),
            python: "CPython 3.13".to_owned(),
            variant: "plain".to_owned(),
        },
        code_len: len(code),
        sites_len: len(sites),
        checksum: checksum(&key, Parts { code, sites }),
    }
}

fn manifest(rows: &[ManifestRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_text(&mut bytes, "1.0").expect("writes");
    for row in rows {
        row.write(&mut bytes).expect("writes");
    }
    bytes
}

/// Reads everything; the number of entries, or the first complaint.
fn read(bytes: &[u8]) -> Result<usize, ArchiveError> {
    read_demanding(bytes, &DEMAND)
}

fn read_demanding(bytes: &[u8], demand: &Demand<'_>) -> Result<usize, ArchiveError> {
    let archive = Archive::open(&bytes, demand)?;
    let mut entries = archive.entries()?;
    let mut count = 0;
    while entries.read_next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn complaint(draft: &Draft) -> String {
    read(&draft.seal()).expect_err("refused").to_string()
}

fn sound() -> Draft {
    let rows = [
        row("a.py", b"code of a", b"s"),
        row("b.py", b"", b"sites of b"),
    ];
    Draft::new(2, b"code of assites of b", &manifest(&rows))
}

#[test]
fn what_is_as_it_should_be_is_read() {
    assert_eq!(read(&sound().seal()).expect("reads"), 2);
    let empty = Draft::new(0, b"", &manifest(&[]));
    assert_eq!(read(&empty.seal()).expect("reads"), 0);
}

#[test]
fn announced_lengths_are_kept() {
    for (change, message) in [
        (
            (|draft| draft.header.bodies.unpacked += 1) as fn(&mut Draft),
            "the entries are longer than the rows say",
        ),
        (
            |draft| draft.header.bodies.unpacked -= 1,
            "the entries are shorter than the rows say",
        ),
        (
            |draft| draft.header.manifest.unpacked += 1,
            "a packed part is longer than it says",
        ),
        (
            |draft| draft.header.manifest.unpacked -= 1,
            "a packed part cannot be unpacked",
        ),
        (
            |draft| draft.header.entries += 1,
            "a packed part cannot be unpacked",
        ),
        (
            |draft| draft.header.entries -= 1,
            "the entries are longer than the rows say",
        ),
    ] {
        let mut draft = sound();
        change(&mut draft);
        let complaint = complaint(&draft);
        assert!(complaint.starts_with(message), "{complaint}");
    }
}

#[test]
fn a_frame_is_one_frame_and_nothing_else() {
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    let with = |change: fn(&mut Vec<u8>)| {
        let mut draft = sound();
        change(&mut draft.bodies);
        draft.header.bodies.packed = draft.bodies.len() as u64;
        complaint(&draft)
    };
    for complaint in [
        with(|bodies| bodies.push(0)),
        with(|bodies| bodies.extend_from_slice(&pack(b""))),
        with(|bodies| bodies.truncate(bodies.len() - 1)),
        with(Vec::clear),
        with(|bodies| *bodies = pack(b"code of assites of b and more")),
        with(|bodies| *bodies = pack(b"code of a")),
        with(|bodies| *bodies = b"no frame at all".to_vec()),
    ] {
        assert!(complaint.contains("a packed part "), "{complaint}");
    }
    let mut draft = sound();
    draft.bodies.splice(0..0, *skippable);
    draft.header.bodies.packed += skippable.len() as u64;
    assert!(complaint(&draft).contains("a packed part "));
}

#[test]
fn a_bomb_ends_at_what_it_announced() {
    let zeros = vec![0; 64 << 20];
    let mut draft = sound();
    draft.bodies = pack(&zeros);
    draft.header.bodies.packed = draft.bodies.len() as u64;
    assert!(draft.bodies.len() < 1 << 15, "a small file");
    let refused = complaint(&draft);
    assert!(refused.contains("does not match its checksum"), "{refused}");
    draft.header.bodies.unpacked = zeros.len() as u64;
    let refused = complaint(&draft);
    assert!(
        refused.contains("larger than the limit of 1048576"),
        "{refused}"
    );
    draft = Draft::new(1 << 40, b"", &vec![0; 1 << 16]);
    draft.header.manifest.unpacked = 1 << 30;
    complaint(&draft);
    draft.header.manifest.unpacked += 1;
    assert!(complaint(&draft).contains("its manifest of"));
}

#[test]
fn a_frame_that_refers_too_far_back_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("starts");
    encoder.window_log(super::WINDOW_LOG + 1).expect("sets");
    encoder.write_all(b"code of assites of b").expect("packs");
    let mut draft = sound();
    draft.bodies = encoder.finish().expect("packs");
    draft.header.bodies.packed = draft.bodies.len() as u64;
    assert!(complaint(&draft).contains("cannot be unpacked"));
}

#[test]
fn rows_that_no_export_writes_are_refused() {
    let of = |rows: &[ManifestRow]| {
        let entries = rows.len() as u64;
        complaint(&Draft::new(entries, b"code of a", &manifest(rows)))
    };
    let good = row("a.py", b"code of a", b"");
    let empty = row("a.py", b"", b"");
    assert!(of(&[good.clone(), empty.clone()]).contains("out of order"));
    assert!(of(&[empty.clone(), empty]).contains("out of order"));
    let with = |change: fn(&mut ManifestRow)| {
        let mut row = good.clone();
        change(&mut row);
        of(&[row])
    };
    for (complaint, message) in [
        (with(|row| row.magic += 1), "names no interpreter"),
        (
            with(|row| row.checksum[0] ^= 1),
            "the entry of a.py does not match",
        ),
        (
            with(|row| row.key = Key::from_bytes([7; 32])),
            "does not match",
        ),
        (with(|row| row.code_len -= 1), "shorter than the rows say"),
        (
            with(|row| row.code_len = u32::MAX),
            "an entry of 4294967295 bytes",
        ),
        (
            with(|row| row.origin.path = "x".repeat((1 << 20) + 1)),
            "a text of 1048577 bytes",
        ),
    ] {
        assert!(
            complaint.contains(message) || complaint.contains("longer than the rows say"),
            "{complaint}"
        );
    }
    let mut bytes = manifest(&[]);
    bytes[4] = 0xff;
    assert!(complaint(&Draft::new(0, b"", &bytes)).contains("not UTF-8"));
}

#[test]
fn a_key_is_hexadecimal_or_derived_and_never_shown() {
    let digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let sign = |text: &str| {
        let key = SigningKey::from_text(text.as_bytes()).expect("a key");
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
        key.hasher().update(b"content").finalize()
    };
    let raw: [u8; 32] = std::array::from_fn(|i| (i % 16 * 0x11).try_into().expect("a byte"));
    assert_eq!(sign(digits), blake3::keyed_hash(&raw, b"content"));
    assert_eq!(sign(&format!(" {}\n", digits.to_lowercase())), sign(digits));
    assert_ne!(sign("a password"), sign("a passwore"));
    assert_eq!(sign("a password\n"), sign("a password"));
    assert!(SigningKey::from_text(b" \n").is_none());
}

#[test]
fn digests_are_read_as_they_are_written() {
    let digest = ArchiveDigest(blake3::hash(b"x"));
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert_eq!(
        digest
            .to_string()
            .to_uppercase()
            .replace("BLAKE3", "blake3")
            .parse(),
        Ok(digest)
    );
    for wrong in [
        "",
        "blake3:",
        "sha256:00",
        "blake3:0",
        &digest.to_string()[1..],
    ] {
        assert!(wrong.parse::<ArchiveDigest>().is_err(), "{wrong}");
    }
}

#[test]
fn a_signature_cannot_be_taken_off() {
    let key = SigningKey::from_text(b"key").expect("a key");
    let other = SigningKey::from_text(b"other").expect("a key");
    let demand = |key| Demand {
        key: Some(key),
        ..DEMAND
    };
    let mut draft = sound();
    let plain = draft.seal();
    assert!(matches!(
        read_demanding(&plain, &demand(&key)),
        Err(ArchiveError::NotSigned)
    ));
    draft.header.signed = true;
    let mut signed = draft.seal_with(Some(&key));
    assert_eq!(read_demanding(&signed, &demand(&key)).expect("reads"), 2);
    assert_eq!(read(&signed).expect("reads"), 2);
    let bytes: &[u8] = &signed;
    let opened = Archive::open(&bytes, &DEMAND).expect("opens");
    assert_eq!(opened.signature(), Signature::Unchecked);
    assert_eq!(opened.digest(), ArchiveDigest(blake3::hash(bytes)));
    assert!(matches!(
        read_demanding(&signed, &demand(&other)),
        Err(ArchiveError::WrongSignature)
    ));
    let last = signed.len() - 1;
    signed[last] ^= 1;
    assert!(matches!(read(&signed), Err(ArchiveError::Damaged)));
    let forged = draft.seal_with(Some(&other));
    assert!(matches!(
        read_demanding(&forged, &demand(&key)),
        Err(ArchiveError::WrongSignature)
    ));
}
