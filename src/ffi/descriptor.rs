//! File descriptors that a child of a fork must not keep.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Has a descriptor refer to nothing: what it referred to is closed in this process.
///
/// Its owner is in a lock that this process cannot take.
pub(crate) fn detach(descriptor: BorrowedFd<'_>) {
    let Ok(nothing) = File::open("/dev/null") else {
        return;
    };
    // SAFETY: both descriptors are open; the one that is replaced stays open, as its owner expects.
    unsafe { libc::dup2(nothing.as_raw_fd(), descriptor.as_raw_fd()) };
}
