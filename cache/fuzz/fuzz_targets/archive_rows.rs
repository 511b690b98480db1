//! Any bytes as the manifest and the bodies of an archive, packed and sealed as an export does.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use cache::archive::{Archive, Demand, Import};
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
    let mut file = b"DPRARCH\0\x01\0\x02\x01\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
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

/// A manifest whose rows are cut out of the input, so that every field is reached.
fn rows(bytes: &[u8]) -> (u64, Vec<u8>, Vec<u8>) {
    let mut manifest = Vec::new();
    let mut bodies = Vec::new();
    let text = |manifest: &mut Vec<u8>, text: &[u8]| {
        manifest.extend_from_slice(&(text.len() as u32).to_le_bytes());
        manifest.extend_from_slice(text);
    };
    text(&mut manifest, b"1.0");
    let mut count = 0;
    for chunk in bytes.chunks(24) {
        let name = if chunk[0] % 4 == 0 {
            "cpython-399"
        } else {
            "cpython-313"
        };
        text(&mut manifest, format!("{name}-3571").as_bytes());
        manifest.extend_from_slice(&3571_u16.to_le_bytes());
        for part in [1, 2, 3] {
            let len = usize::from(chunk[0] >> (2 * part)) % 4;
            text(&mut manifest, &chunk[..chunk.len().min(part + len)]);
        }
        let key = *blake3::hash(chunk).as_bytes();
        let (code, sites) = chunk.split_at(chunk.len() / 2);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key);
        hasher.update(&(code.len() as u64).to_le_bytes());
        hasher.update(&(sites.len() as u64).to_le_bytes());
        hasher.update(chunk);
        manifest.extend_from_slice(&key);
        manifest.extend_from_slice(&key);
        manifest.extend_from_slice(&hasher.finalize().as_bytes()[..16]);
        manifest.extend_from_slice(&(code.len() as u32).to_le_bytes());
        manifest.extend_from_slice(&(sites.len() as u32).to_le_bytes());
        bodies.extend_from_slice(chunk);
        count += 1;
    }
    (count, bodies, manifest)
}

fn read(bytes: &[u8], root: &Path) {
    let demand = Demand {
        digest: None,
        key: None,
        max_len: 1 << 22,
    };
    let Ok(archive) = Archive::open(&bytes, &demand) else {
        return;
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
    while let Ok(Some(_)) = entries.read_next() {}
}

fuzz_target!(|bytes: &[u8]| {
    // As they come: the first byte counts the rows, the second splits bodies from manifest.
    if let [count, split, rest @ ..] = bytes {
        let (bodies, manifest) = rest.split_at(rest.len() * usize::from(*split) / 256);
        read(&archive(u64::from(count % 8), bodies, manifest), &ROOT);
    }
    let (count, bodies, manifest) = rows(bytes);
    read(&archive(count, &bodies, &manifest), &ROOT);
});
