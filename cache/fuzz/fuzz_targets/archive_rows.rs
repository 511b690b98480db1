//! Any bytes as the manifest and the bodies of an archive, packed and sealed as an export does.

#![no_main]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use cache::archive::{Archive, Demand, Import};
use cache::entry::{checksum, write_head};
use cache::{Key, Parts};
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<std::path::PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("dapper-fuzz-{}", std::process::id())));

fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("packs")
}

fn archive(entries: u64, bodies: &[u8], manifest: &[u8]) -> Vec<u8> {
    let frames = [
        (pack(bodies), bodies.len()),
        (pack(manifest), manifest.len()),
    ];
    let mut file = write_head(*b"DPRARCH\0").to_vec();
    file.extend_from_slice(b"\x01\0\0\0\0\0\0\0");
    file.extend_from_slice(&entries.to_le_bytes());
    for (frame, len) in &frames {
        file.extend_from_slice(&(frame.len() as u64).to_le_bytes());
        file.extend_from_slice(&(*len as u64).to_le_bytes());
    }
    let sum = blake3::hash(&file);
    file.extend_from_slice(&sum.as_bytes()[..8]);
    for (frame, _) in &frames {
        file.extend_from_slice(frame);
    }
    let digest = blake3::hash(&file);
    file.extend_from_slice(digest.as_bytes());
    file
}

/// What one row is made of; the order of the fields is that of rows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    tag: &'static str,
    /// Path, variant and interpreter; mostly text.
    texts: [Vec<u8>; 3],
    key: [u8; 32],
    chunk: &'a [u8],
}

impl<'a> Row<'a> {
    fn new(chunk: &'a [u8]) -> Self {
        let mask = if chunk[0] % 8 == 7 { 0xff } else { 0x7f };
        Self {
            tag: match chunk[0] % 4 {
                0 => "cpython-399-3571",
                _ => "cpython-313-3571",
            },
            texts: [1, 2, 3].map(|part| {
                let len = part + usize::from(chunk[0] >> (2 * part)) % 4;
                chunk.iter().take(len).map(|byte| byte & mask).collect()
            }),
            key: *blake3::hash(chunk).as_bytes(),
            chunk,
        }
    }

    fn write(&self, manifest: &mut Vec<u8>, bodies: &mut Vec<u8>) {
        text(manifest, self.tag.as_bytes());
        manifest.extend_from_slice(&3571_u16.to_le_bytes());
        for part in &self.texts {
            text(manifest, part);
        }
        let (code, sites) = self.chunk.split_at(self.chunk.len() / 2);
        manifest.extend_from_slice(&self.key);
        manifest.extend_from_slice(&self.key);
        let sum = checksum(&Key::from_bytes(self.key), Parts { code, sites });
        manifest.extend_from_slice(&sum);
        manifest.extend_from_slice(&(code.len() as u32).to_le_bytes());
        manifest.extend_from_slice(&(sites.len() as u32).to_le_bytes());
        bodies.extend_from_slice(self.chunk);
    }
}

fn text(manifest: &mut Vec<u8>, text: &[u8]) {
    manifest.extend_from_slice(&(text.len() as u32).to_le_bytes());
    manifest.extend_from_slice(text);
}

/// A manifest whose rows are cut out of the input, so that every field is reached.
fn rows(bytes: &[u8]) -> (u64, Vec<u8>, Vec<u8>) {
    let rows: BTreeSet<_> = bytes.chunks(24).map(Row::new).collect();
    let (mut manifest, mut bodies) = (Vec::new(), Vec::new());
    text(&mut manifest, b"1.0");
    for row in &rows {
        row.write(&mut manifest, &mut bodies);
    }
    (rows.len() as u64, bodies, manifest)
}

/// Returns how many entries it has before the first that is refused.
fn read(bytes: &[u8], root: &Path) -> u64 {
    let demand = Demand {
        digest: None,
        key: None,
        max_len: 1 << 22,
    };
    let Ok(archive) = Archive::open(&bytes, &demand) else {
        return 0;
    };
    let import = Import {
        root,
        trust: &cache::Trust::default(),
        engine: "1.0",
        known: &|_| true,
        known_in_words: "all",
        wanted: &|tag| tag.as_str() == "cpython-313-3571",
        path: &|path| path,
        met: &|_| (),
        dry_run: true,
    };
    let _ = import.run(&archive, &mut |_| {});
    let mut entries = archive.entries().expect("it opened before");
    let mut count = 0;
    while let Ok(Some(_)) = entries.read_next() {
        count += 1;
    }
    count
}

/// What is made here has to be what is read, or the target would look at headers alone.
fn check() {
    let (count, bodies, manifest) = rows(&[1; 60]);
    assert_eq!(read(&archive(count, &bodies, &manifest), &ROOT), 2);
}

fuzz_target!(init: check(), |bytes: &[u8]| {
    // As they come: the first byte counts the rows, the second splits bodies from manifest.
    if let [count, split, rest @ ..] = bytes {
        let (bodies, manifest) = rest.split_at(rest.len() * usize::from(*split) / 256);
        read(&archive(u64::from(count % 8), bodies, manifest), &ROOT);
    }
    let (count, bodies, manifest) = rows(bytes);
    read(&archive(count, &bodies, &manifest), &ROOT);
});
