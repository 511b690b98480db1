//! Any bytes as a memo, as they come and with the header made to match.

#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cache::Stamp;
use cache::entry::write_head;
use cache::memo::MemoFile;
use libfuzzer_sys::fuzz_target;

fn read(bytes: Vec<u8>, path: &Path) {
    let stamp = Stamp {
        mtime_ns: 0,
        size: 0,
        inode: 0,
        changed_ns: 0,
        taken_ns: 0,
    };
    if let Ok(memo) = MemoFile::from_bytes(Box::new(bytes)) {
        assert_eq!(
            memo.get(path, &stamp),
            None,
            "no random row has a matching checksum"
        );
    }
}

/// Lets the input past the checks that random bytes never pass.
fn mend(bytes: &mut Vec<u8>) {
    if bytes.len() < 64 {
        return;
    }
    let rows = (bytes.len() - 64) / 104;
    bytes.truncate(64 + rows * 104);
    bytes[..16].copy_from_slice(&write_head(*b"DPRMEMO\0"));
    bytes[16..24].copy_from_slice(&(rows as u64).to_le_bytes());
    bytes[24..28].copy_from_slice(&104_u32.to_le_bytes());
    let sum = blake3::hash(&bytes[..56]);
    bytes[56..64].copy_from_slice(&sum.as_bytes()[..8]);
}

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new(OsStr::from_bytes(bytes.get(..8).unwrap_or_default()));
    read(bytes.to_vec(), path);
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    read(mended, path);
});
