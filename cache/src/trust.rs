//! Who may have written a file: loading an entry runs code, so the question is asked each time.
//!
//! The answer is read from the opened descriptor, never from a path, so nothing can be swapped
//! between the question and the use. A directory or file is trusted when it is what it should
//! be, belongs to the effective user or to root, and no group and no others can write it. A store
//! that [`Trust`] names may belong to whoever owns its root; it is read and never written.
//! Directories above the root of the store are not looked at: what stands under a swapped root
//! would still have to belong to the user.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The stores that are used although somebody else owns them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    roots: Vec<PathBuf>,
}

impl Trust {
    /// Trusts the stores at these roots beside one's own. A path counts as it is written, so both
    /// it and the path that a store is opened at should be absolute.
    pub fn of(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            roots: roots.into_iter().collect(),
        }
    }

    /// Whose files are used in the store at `root`, which `owner` owns.
    pub(crate) fn owners(&self, root: &Path, owner: u32) -> Owners {
        let named = self.roots.iter().any(|trusted| trusted == root);
        Owners {
            user: effective_user(),
            trusted: named.then_some(owner),
        }
    }
}

/// Whose files are used: root's, the effective user's, and those of the owner of a trusted store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owners {
    user: u32,
    trusted: Option<u32>,
}

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
        "it belongs to user {owner}, not to user {user} or root; use a store of your own, or name the root of this one in DAPPER_CACHE_TRUST if whoever owns it may run code as you"
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
pub(crate) fn check(metadata: &Metadata, kind: Kind, owners: Owners) -> Result<(), Distrust> {
    match kind {
        Kind::Directory if !metadata.is_dir() => return Err(Distrust::NotADirectory),
        Kind::File if !metadata.is_file() => return Err(Distrust::NotAFile),
        Kind::Directory | Kind::File => {}
    }
    check_owner(metadata.uid(), metadata.mode(), owners)
}

fn check_owner(owner: u32, mode: u32, owners: Owners) -> Result<(), Distrust> {
    let Owners { user, trusted } = owners;
    if owner != user && owner != 0 && Some(owner) != trusted {
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
    use std::path::{Path, PathBuf};

    use super::{Distrust, Owners, Trust, check_owner};

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
            let trusted = None;
            assert_eq!(
                check_owner(owner, mode, Owners { user, trusted }),
                expected,
                "{owner} {mode:o} {user}"
            );
        }
    }

    #[test]
    fn a_trusted_store_may_belong_to_its_owner_and_nobody_may_write_it() {
        let owners = Owners {
            user: 1000,
            trusted: Some(1001),
        };
        let ok = |owner, mode| check_owner(owner, mode, owners).is_ok();
        assert!(ok(1001, 0o644) && ok(1000, 0o600) && ok(0, 0o644));
        assert!(!ok(1002, 0o644) && !ok(1001, 0o664) && !ok(1001, 0o666));
    }

    #[test]
    fn trust_is_in_the_named_roots() {
        let trust = Trust::of([PathBuf::from("/ci/store/")]);
        let trusted = |root: &str| trust.owners(Path::new(root), 7).trusted;
        assert_eq!(trusted("/ci/store"), Some(7));
        assert_eq!(trusted("/ci/store/v1"), None);
        assert_eq!(trusted("/ci"), None);
    }
}
