//! Who may have written a file: loading an entry runs code, so the question is asked each time.
//!
//! The answer is read from the opened descriptor, never from a path, so nothing can be swapped
//! between the question and the use. A directory or file is trusted when it is what it should
//! be, belongs to the effective user or to root, and no group and no others can write it.
//! Directories above the root of the store are not looked at: what stands under a swapped root
//! would still have to belong to the user.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Why a file or directory is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// A symbolic link, which is never followed.
    #[error("it is a symbolic link; name the directory that it points to")]
    SymbolicLink,
    /// Not a directory where one should be.
    #[error("it is not a directory; remove it or name another directory")]
    NotADirectory,
    /// Not a regular file where one should be.
    #[error("it is not a regular file; remove it")]
    NotAFile,
    /// Owned by somebody else.
    #[error(
        "it belongs to user {owner}, not to user {user} or root; use a store of your own or change its owner"
    )]
    ForeignOwner {
        /// The owner.
        owner: u32,
        /// The effective user of this process.
        user: u32,
    },
    /// Somebody else can write it.
    #[error(
        "its mode {mode:04o} lets other users write; take that away with chmod -R go-w, or remove it"
    )]
    WritableByOthers {
        /// The permission bits.
        mode: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

pub(crate) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Judges an opened file or directory by what `fstat` says.
pub(crate) fn check(metadata: &Metadata, kind: Kind) -> Result<(), Distrust> {
    match kind {
        Kind::Directory if !metadata.is_dir() => return Err(Distrust::NotADirectory),
        Kind::File if !metadata.is_file() => return Err(Distrust::NotAFile),
        Kind::Directory | Kind::File => {}
    }
    check_owner(metadata.uid(), metadata.mode(), effective_user())
}

fn check_owner(owner: u32, mode: u32, user: u32) -> Result<(), Distrust> {
    if owner != user && owner != 0 {
        return Err(Distrust::ForeignOwner { owner, user });
    }
    if mode & 0o022 != 0 {
        return Err(Distrust::WritableByOthers {
            mode: mode & 0o7777,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Distrust, check_owner};

    #[test]
    fn owner_and_mode_decide() {
        let foreign = |owner, user| Err(Distrust::ForeignOwner { owner, user });
        let writable = |mode| Err(Distrust::WritableByOthers { mode });
        for (owner, mode, user, expected) in [
            (1000, 0o100_600, 1000, Ok(())),
            (0, 0o100_644, 1000, Ok(())),
            (0, 0o40_755, 0, Ok(())),
            (1001, 0o100_600, 1000, foreign(1001, 1000)),
            (1000, 0o100_600, 0, foreign(1000, 0)),
            (1000, 0o100_620, 1000, writable(0o620)),
            (1000, 0o100_602, 1000, writable(0o602)),
            (0, 0o41_777, 1000, writable(0o1777)),
        ] {
            assert_eq!(
                check_owner(owner, mode, user),
                expected,
                "{owner} {mode:o} {user}"
            );
        }
    }
}
