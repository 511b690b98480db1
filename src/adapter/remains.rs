//! What adapters and programs have left behind that were killed: the folders of their sockets.
//!
//! A folder is taken away if it is this user's alone, holds nothing but a socket of ours, and nobody
//! listens there any more. One that is not old enough is passed over: whoever makes it may not
//! have begun to listen.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::getuid;

use super::meeting::{PREFIX, places};
use crate::ffi::threads::Thread;

/// How long a folder is passed over.
const AGE: Duration = Duration::from_secs(60);
/// What the sockets are called: of an adapter, of a process that listens.
const SOCKETS: [&str; 2] = ["adapter", "children"];

/// Takes away what is left behind, in a thread: nobody waits for it.
pub(super) fn clear() {
    // It is done by the next adapter otherwise.
    let _ = Thread::start("dapper-remains", || {
        for place in places() {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if name.to_string_lossy().starts_with(PREFIX) && is_left(&entry.path()) {
                    // Another adapter may have been quicker.
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
        }
    });
}

fn is_left(folder: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(folder) else {
        return false;
    };
    let is_old = found
        .modified()
        .is_ok_and(|since| since.elapsed().is_ok_and(|age| age >= AGE));
    let is_private = found.uid() == getuid().as_raw() && found.mode() & 0o777 == 0o700;
    if !(found.is_dir() && is_old && is_private) {
        return false;
    }
    let Ok(within) = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) else {
        return false;
    };
    let [only] = &within[..] else {
        return false;
    };
    let is_socket = only.file_type().is_ok_and(|kind| kind.is_socket());
    let is_known = SOCKETS.iter().any(|known| only.file_name() == *known);
    is_socket && is_known && is_deserted(&only.path())
}

fn is_deserted(socket: &Path) -> bool {
    UnixStream::connect(socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
