//! Opened directories: every file is reached from a checked descriptor, no link is followed.
//!
//! Files appear under their name by `rename` only, complete or not at all. Directories that the
//! store makes have mode 0700, files 0600.

use std::fs::{File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::trust::{self, Distrust, Kind, Owners, Trust};

const TEMP_PREFIX: &str = ".tmp-";
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

#[derive(Debug)]
pub(crate) struct Dir {
    fd: File,
    path: PathBuf,
    owners: Owners,
    /// Whose it is.
    owner: u32,
    /// Device and inode, by which a descriptor is known again.
    identity: (u64, u64),
}

/// Why a file in the store cannot be used.
#[derive(Debug)]
pub(crate) enum FileError {
    Untrusted(Distrust),
    Io(io::Error),
}

/// What eviction and listing need to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) len: u64,
    pub(crate) mtime: i64,
    pub(crate) inode: u64,
}

impl Dir {
    /// Opens the root of a store; `create` makes it and what is missing above it.
    pub(crate) fn open(
        path: &Path,
        create: bool,
        trust: &Trust,
    ) -> Result<Option<Self>, OpenError> {
        if create {
            use std::os::unix::fs::DirBuilderExt;
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            // What stands there instead is judged below, with a better message.
            if let Err(source) = made
                && std::fs::symlink_metadata(path).is_err()
            {
                return Err(OpenError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        }
        Self::adopt(
            rustix::fs::open(path, directory_flags(), Mode::empty()),
            || std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()),
            path.to_owned(),
            |owner| trust.owners(path, owner),
        )
    }

    /// Opens a directory in this one; `create` makes it if it is missing.
    pub(crate) fn child(&self, name: &str, create: bool) -> Result<Option<Self>, OpenError> {
        let path = self.path.join(name);
        let made = if create { self.make(name) } else { Ok(()) };
        let opened = Self::adopt(
            rustix::fs::openat(&self.fd, name, directory_flags(), Mode::empty()),
            || rustix::fs::readlinkat(&self.fd, name, Vec::new()).is_ok(),
            path,
            |_| self.owners,
        )?;
        match (opened, made) {
            (None, Err(source)) => Err(OpenError::Io {
                path: self.path.join(name),
                source,
            }),
            (opened, _) => Ok(opened),
        }
    }

    fn adopt(
        opened: rustix::io::Result<std::os::fd::OwnedFd>,
        is_link: impl Fn() -> bool,
        path: PathBuf,
        owners: impl FnOnce(u32) -> Owners,
    ) -> Result<Option<Self>, OpenError> {
        let untrusted = |path, why| Err(OpenError::Untrusted { path, why });
        let fd = match opened {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) if is_link() => {
                return untrusted(path, Distrust::SymbolicLink);
            }
            Err(Errno::NOTDIR) => return untrusted(path, Distrust::NotADirectory),
            Err(errno) => {
                return Err(OpenError::Io {
                    path,
                    source: errno.into(),
                });
            }
        };
        let metadata = match fd.metadata() {
            Ok(metadata) => metadata,
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        let owner = metadata.uid();
        let owners = owners(owner);
        if let Err(why) = trust::check(&metadata, Kind::Directory, owners) {
            return untrusted(path, why);
        }
        Ok(Some(Self {
            fd,
            path,
            owners,
            owner,
            identity: (metadata.dev(), metadata.ino()),
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True when this user may write here, in a directory of their own: what root left in a
    /// user's store would be of no use to the user.
    pub(crate) fn is_writable(&self) -> bool {
        if self.owner != trust::effective_user() {
            return false;
        }
        let needed = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&self.fd, ".", needed, AtFlags::EACCESS).is_ok()
    }

    /// Opens a file for reading; `None` when it is not there.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<(File, Metadata)>, FileError> {
        // Without NONBLOCK, opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => return Err(FileError::Untrusted(Distrust::SymbolicLink)),
            Err(errno) => return Err(FileError::Io(errno.into())),
        };
        let metadata = file.metadata().map_err(FileError::Io)?;
        trust::check(&metadata, Kind::File, self.owners).map_err(FileError::Untrusted)?;
        Ok(Some((file, metadata)))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Fails when the descriptor is no longer that of this directory.
    ///
    /// A program that becomes a daemon closes every descriptor, and what it opens next gets the
    /// same numbers: nothing may be written or removed through those.
    fn is_intact(&self) -> io::Result<()> {
        let metadata = self.fd.metadata()?;
        if (metadata.dev(), metadata.ino()) == self.identity {
            Ok(())
        } else {
            Err(io::Error::other("the program closed its descriptor"))
        }
    }

    /// Makes a directory unless it is there.
    pub(crate) fn make(&self, name: &str) -> io::Result<()> {
        self.is_intact()?;
        match rustix::fs::mkdirat(&self.fd, name, DIRECTORY_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Creates a file under a name that no other process uses.
    pub(crate) fn create_temp(&self) -> io::Result<Temp<'_>> {
        self.is_intact()?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let random = RandomState::new().hash_one(std::time::SystemTime::now());
            let name = format!("{TEMP_PREFIX}{}-{random:016x}", std::process::id());
            match rustix::fs::openat(&self.fd, &*name, flags, FILE_MODE) {
                Ok(fd) => {
                    return Ok(Temp {
                        dir: self,
                        name,
                        file: File::from(fd),
                        kept: false,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Writes a file whole and puts it in place, over what stood there.
    pub(crate) fn write_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut temp = self.create_temp()?;
        temp.file.write_all(content)?;
        temp.rename(name)
    }

    /// Length, modification time and kind of what stands under a name; a link is not followed.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Stat> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Stat {
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: stat.st_mtime,
            inode: stat.st_ino,
        })
    }

    /// Takes the lock that only eviction takes; false when another process holds it.
    pub(crate) fn lock(&self) -> io::Result<bool> {
        self.is_intact()?;
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn unlock(&self) {
        // The lock ends with the process at the latest.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// Marks what stands under a name as used now.
    pub(crate) fn touch(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::utimensat(
            &self.fd,
            name,
            &NOW,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Removes a file that is still the one that was seen; true when it is gone.
    pub(crate) fn remove_seen(&self, name: &str, seen: &Stat) -> io::Result<bool> {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(true),
            _ => Err(error),
        };
        match self.stat(name) {
            Ok(stat) if stat == *seen => self.remove(name).map(|()| true).or_else(gone),
            Ok(_) => Ok(false),
            Err(error) => gone(error),
        }
    }

    /// The names in the directory, without `.` and `..`, and without those that are not text.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for found in rustix::fs::Dir::read_from(&self.fd)? {
            let found = found?;
            if let Ok(name) = found.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Makes renames in this directory survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.fd.sync_all()
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            path: self.path.clone(),
            ..*self
        })
    }
}

/// A file that is being written; it is removed unless it is renamed into place.
#[derive(Debug)]
pub(crate) struct Temp<'a> {
    dir: &'a Dir,
    name: String,
    pub(crate) file: File,
    kept: bool,
}

impl Temp<'_> {
    pub(crate) fn rename(mut self, name: &str) -> io::Result<()> {
        self.dir.rename(&self.name, name)?;
        self.kept = true;
        Ok(())
    }

    /// Gives the file and its name to a writer that outlives the borrow of the directory.
    pub(crate) fn into_parts(mut self) -> io::Result<(File, String)> {
        self.kept = true;
        Ok((self.file.try_clone()?, std::mem::take(&mut self.name)))
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: `evict` sweeps what stays behind.
            let _ = self.dir.remove(&self.name);
        }
    }
}

pub(crate) fn is_temp(name: &str) -> bool {
    name.starts_with(TEMP_PREFIX)
}

/// Marks a file as used now, which is what eviction goes by.
pub(crate) fn touch(file: &File) -> io::Result<()> {
    Ok(rustix::fs::futimens(file, &NOW)?)
}

const NOW: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    },
};

/// The bytes of a path, as they are hashed.
pub(crate) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}
