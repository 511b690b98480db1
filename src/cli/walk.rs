//! Finding the sources below the paths that were given.
//!
//! Symbolic links are followed, each folder is entered once, and a folder that leads back to one
//! it lies in is reported. Folders named `__pycache__` or starting with a dot are entered only
//! when they are given by name. Everything that is not taken has a [`Refusal`].

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use globset::GlobSet;

use super::report::Refusal;

/// The files a command can work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// Python sources.
    Sources,
    /// Python sources and compiled files.
    SourcesAndCompiled,
}

/// One file to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its absolute path.
    pub path: PathBuf,
    /// Whether it is a `.pyc` file.
    pub compiled: bool,
    /// Whether it was given by name, not found in a folder.
    pub given: bool,
    /// Whether it may have another name: it is a link, or was given by name.
    pub linked: bool,
}

/// What a walk found, and what it left out.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The files, each once, in order of path.
    pub files: Vec<Found>,
    /// Left out for a reason that is no fault.
    pub skipped: Vec<Refusal>,
    /// Could not be looked at.
    pub failed: Vec<Refusal>,
}

/// Walks `paths` (files and folders) for files of `kinds` that `exclude` does not match.
#[must_use]
pub(super) fn walk(paths: &[PathBuf], kinds: Kinds, exclude: &GlobSet) -> Walk {
    let mut walker = Walker {
        kinds,
        exclude,
        entered: HashMap::new(),
        linked: HashMap::new(),
        by_link: false,
        walk: Walk::default(),
    };
    for path in paths {
        walker.start(path);
    }
    let Walker {
        mut walk, linked, ..
    } = walker;
    if !linked.is_empty() {
        let direct: HashSet<&Path> = walk.files.iter().map(|found| &*found.path).collect();
        let only_linked: Vec<Found> = linked
            .into_iter()
            .filter(|(canonical, _)| !direct.contains(&**canonical))
            .map(|(_, found)| found)
            .collect();
        walk.files.extend(only_linked);
    }
    // By bytes, which is several times faster than by parts. The one that was given by name comes
    // first, and stays.
    walk.files.sort_by(|one, other| {
        let (name, other_name) = (one.path.as_os_str(), other.path.as_os_str());
        (name, !one.given).cmp(&(other_name, !other.given))
    });
    walk.files
        .dedup_by(|one, other| one.path.as_os_str() == other.path.as_os_str());
    walk
}

struct Walker<'a> {
    kinds: Kinds,
    exclude: &'a GlobSet,
    /// Folders, and whether we are still inside.
    entered: HashMap<Identity, bool>,
    /// Files met under another name than their canonical one.
    linked: HashMap<PathBuf, Found>,
    /// Whether the folder that is walked was reached by a link.
    by_link: bool,
    walk: Walk,
}

impl Walker<'_> {
    fn start(&mut self, given: &Path) {
        let path = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return self.failed(given, unreachable_path(&error)),
        };
        if metadata.is_dir() {
            self.by_link = path.canonicalize().is_ok_and(|canonical| canonical != path);
            return self.folder(&path);
        }
        if !metadata.is_file() {
            return self.failed(given, "is not a regular file".to_owned());
        }
        match self.kind(&path) {
            Some(compiled) => self.file(Found {
                path,
                compiled,
                given: true,
                linked: true,
            }),
            None if self.kinds == Kinds::Sources && has_extension(&path, "pyc") => {
                self.failed(given, "is a compiled file: give its source".to_owned());
            }
            None if names_python(&path) => self.file(Found {
                path,
                compiled: false,
                given: true,
                linked: true,
            }),
            None => self.failed(
                given,
                "is not a Python source: it has neither a .py name nor a python #! line".to_owned(),
            ),
        }
    }

    fn folder(&mut self, path: &Path) {
        let identity = match identity(path) {
            Ok(identity) => identity,
            Err(error) => return self.failed(path, unreachable_path(&error)),
        };
        match self.entered.get(&identity) {
            Some(true) => {
                let canonical = path.canonicalize();
                let canonical = canonical.unwrap_or_else(|_| path.to_owned());
                let reason = format!("directory loop: leads back to {}", canonical.display());
                self.walk.skipped.push(Refusal::new(path, reason));
                return;
            }
            Some(false) => return,
            None => {}
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.failed(path, unreachable_path(&error)),
        };
        self.entered.insert(identity.clone(), true);
        let mut named = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => named.push((sorted_as(&entry), entry)),
                Err(error) => self.failed(path, unreachable_path(&error)),
            }
        }
        // In the order of the paths, which leaves little to sort in the end.
        named.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (_, entry) in named {
            self.entry(&entry);
        }
        self.entered.insert(identity, false);
    }

    fn entry(&mut self, entry: &fs::DirEntry) {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { return };
        if !self.exclude.is_empty() && self.exclude.is_match(&path) {
            return;
        }
        let name = entry.file_name();
        let linked = kind.is_symlink();
        let (is_folder, is_file) = if linked {
            match fs::metadata(&path) {
                Ok(metadata) => (metadata.is_dir(), metadata.is_file()),
                Err(error) if self.kind(Path::new(&name)).is_some() => {
                    let reason = format!("broken symbolic link: {error}");
                    self.walk.skipped.push(Refusal::new(&path, reason));
                    return;
                }
                Err(_) => return,
            }
        } else {
            (kind.is_dir(), kind.is_file())
        };
        if is_folder {
            if self.enters(&name) {
                let around = self.by_link;
                self.by_link |= linked;
                self.folder(&path);
                self.by_link = around;
            }
        } else if let Some(compiled) = self.kind(Path::new(&name)) {
            if is_file {
                self.file(Found {
                    path,
                    compiled,
                    given: false,
                    linked: linked || self.by_link,
                });
            } else {
                self.walk
                    .skipped
                    .push(Refusal::new(&path, "is not a regular file".to_owned()));
            }
        }
    }

    /// `__pycache__` holds the compiled form of sources that are walked anyway.
    fn enters(&self, name: &OsStr) -> bool {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        !hidden && (self.kinds == Kinds::SourcesAndCompiled || name != "__pycache__")
    }

    fn kind(&self, path: &Path) -> Option<bool> {
        if has_extension(path, "py") || has_extension(path, "pyw") {
            Some(false)
        } else if has_extension(path, "pyc") && self.kinds == Kinds::SourcesAndCompiled {
            Some(true)
        } else {
            None
        }
    }

    /// Takes a file; one that can be reached by two names only once.
    fn file(&mut self, found: Found) {
        if found.linked {
            let Ok(canonical) = found.path.canonicalize() else {
                return;
            };
            if canonical != found.path {
                self.linked.entry(canonical).or_insert(found);
                return;
            }
        }
        self.walk.files.push(found);
    }

    fn failed(&mut self, path: &Path, reason: String) {
        self.walk.failed.push(Refusal::new(path, reason));
    }
}

/// What has the entries of a folder in the order of all paths below it.
fn sorted_as(entry: &fs::DirEntry) -> OsString {
    let mut name = entry.file_name();
    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
        name.push(std::path::MAIN_SEPARATOR_STR);
    }
    name
}

/// What two names of one folder share.
#[cfg(unix)]
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    path.canonicalize()
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension()
        .is_some_and(|extension| extension == wanted)
}

/// Whether the file starts with a `#!` line that runs Python.
fn names_python(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(128).read_to_end(&mut start));
    let line = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    read.is_ok() && line.starts_with(b"#!") && line.windows(6).any(|part| part == b"python")
}

fn unreachable_path(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist: check the path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "cannot be read: permission denied; check its mode and owner".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests;
