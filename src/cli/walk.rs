//! Finding the sources below the paths that were given.
//!
//! Folders are read level by level, those of a level by all threads of the pool it is called in.
//! Symbolic links are followed, each folder is entered once, and a folder that leads back to one
//! it lies in is reported. What a link leads to is entered after everything that is reached
//! without it, so a file has the name that no link is part of, where there is one. Folders named
//! `__pycache__` or starting with a dot are entered only when they are given by name. Everything
//! that is not taken has a [`Refusal`].

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cache::Stamp;
use globset::GlobSet;
use rayon::prelude::*;

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
    /// Its state when it was found: asking for it is cheapest while its folder is open.
    pub stamp: Option<Stamp>,
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
    let rules = Rules { kinds, exclude };
    let mut walker = Walker::default();
    let mut level: Vec<Folder> = Vec::new();
    for path in paths {
        level.extend(walker.start(path, rules));
    }
    loop {
        level.retain(|folder| walker.enters(folder));
        let listings: Vec<Listing> = level
            .par_iter()
            .map(|folder| Listing::of(folder, rules))
            .collect();
        level.clear();
        for listing in listings {
            level.extend(walker.take(listing));
        }
        if level.is_empty() {
            level = walker.follow_links();
        }
        if level.is_empty() {
            return walker.finish();
        }
    }
}

/// What is taken.
#[derive(Clone, Copy)]
struct Rules<'a> {
    kinds: Kinds,
    exclude: &'a GlobSet,
}

impl Rules<'_> {
    /// `__pycache__` holds the compiled form of sources that are walked anyway.
    fn enters(self, name: &OsStr) -> bool {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        !hidden && (self.kinds == Kinds::SourcesAndCompiled || name != "__pycache__")
    }

    /// Whether a file of this name is compiled; nothing when it is none to work on.
    fn kind(self, path: &Path) -> Option<bool> {
        if has_extension(path, "py") || has_extension(path, "pyw") {
            Some(false)
        } else if has_extension(path, "pyc") && self.kinds == Kinds::SourcesAndCompiled {
            Some(true)
        } else {
            None
        }
    }
}

/// A folder to be read.
struct Folder {
    path: PathBuf,
    /// Its path without links, if that is another.
    canonical: Option<PathBuf>,
    /// The number of the [`Way`] that led here.
    way: usize,
}

impl Folder {
    fn canonical(&self) -> &Path {
        self.canonical.as_deref().unwrap_or(&self.path)
    }
}

/// How a part of the tree was reached: by a path that was given, or by a link.
struct Way {
    /// The canonical path of the folder where it starts.
    root: PathBuf,
    /// Where the link lies: the number of the way, and the canonical path of the folder.
    from: Option<(usize, PathBuf)>,
}

/// What a folder holds, each in order of name but the files, which are sorted in the end.
#[derive(Default)]
struct Listing {
    files: Vec<Found>,
    /// Files with their canonical path, which is another.
    linked: Vec<(PathBuf, Found)>,
    folders: Vec<Folder>,
    /// Links to folders, and where each lies.
    links: Vec<(Folder, PathBuf)>,
    skipped: Vec<Refusal>,
    failed: Vec<Refusal>,
}

impl Listing {
    fn of(folder: &Folder, rules: Rules<'_>) -> Self {
        let mut listing = Self::default();
        match fs::read_dir(&folder.path) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => listing.entry(folder, &entry, rules),
                        Err(error) => listing.fails(&folder.path, &error),
                    }
                }
            }
            Err(error) => listing.fails(&folder.path, &error),
        }
        let name = |path: &PathBuf| path.file_name().map(OsStr::to_owned);
        listing
            .linked
            .sort_by_cached_key(|(_, found)| name(&found.path));
        listing
            .folders
            .sort_by_cached_key(|folder| name(&folder.path));
        listing
            .links
            .sort_by_cached_key(|(folder, _)| name(&folder.path));
        listing
    }

    fn entry(&mut self, folder: &Folder, entry: &fs::DirEntry, rules: Rules<'_>) {
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { return };
        let taken = rules.kind(Path::new(&name));
        let may_be_folder = (kind.is_dir() || kind.is_symlink()) && rules.enters(&name);
        if taken.is_none() && !may_be_folder {
            return;
        }
        // `join` would first take room for the folder alone, and then again for both.
        let room = folder.path.as_os_str().len() + 1 + name.len();
        let mut path = PathBuf::with_capacity(room);
        path.extend([folder.path.as_path(), Path::new(&name)]);
        if !rules.exclude.is_empty() && rules.exclude.is_match(&path) {
            return;
        }
        if kind.is_symlink() {
            return self.link(folder, path, taken, may_be_folder);
        }
        let canonical = folder
            .canonical
            .as_ref()
            .map(|canonical| canonical.join(&name));
        if kind.is_dir() {
            if may_be_folder {
                self.folders.push(Folder {
                    path,
                    canonical,
                    way: folder.way,
                });
            }
        } else if !kind.is_file() {
            self.irregular(&path);
        } else if let Some(compiled) = taken {
            let linked = canonical.is_some();
            let found = Found {
                path,
                compiled,
                given: false,
                linked,
                stamp: entry.metadata().ok().as_ref().map(Stamp::of),
            };
            match canonical {
                Some(canonical) => self.linked.push((canonical, found)),
                None => self.files.push(found),
            }
        }
    }

    fn link(&mut self, around: &Folder, path: PathBuf, taken: Option<bool>, enters: bool) {
        let reached = fs::metadata(&path).and_then(|there| Ok((there, path.canonicalize()?)));
        match (reached, taken) {
            (Ok((there, canonical)), _) if there.is_dir() => {
                if enters {
                    let way = around.way;
                    let folder = Folder {
                        path,
                        canonical: Some(canonical),
                        way,
                    };
                    self.links.push((folder, around.canonical().to_owned()));
                }
            }
            (Ok((there, canonical)), Some(compiled)) if there.is_file() => {
                let found = Found {
                    path,
                    compiled,
                    given: false,
                    linked: true,
                    stamp: Some(Stamp::of(&there)),
                };
                self.linked.push((canonical, found));
            }
            (Ok(_), Some(_)) => self.irregular(&path),
            (Err(error), Some(_)) => {
                let reason = format!("broken symbolic link: {error}");
                self.skipped.push(Refusal::new(&path, reason));
            }
            (_, None) => {}
        }
    }

    fn irregular(&mut self, path: &Path) {
        let reason = "is not a regular file".to_owned();
        self.skipped.push(Refusal::new(path, reason));
    }

    fn fails(&mut self, path: &Path, error: &io::Error) {
        self.failed
            .push(Refusal::new(path, unreachable_path(error)));
    }
}

#[derive(Default)]
struct Walker {
    ways: Vec<Way>,
    /// Canonical paths of folders.
    entered: HashSet<PathBuf>,
    /// Links to folders that are not followed yet.
    links: Vec<(Folder, PathBuf)>,
    /// Files met under another name than their canonical one.
    linked: HashMap<PathBuf, Found>,
    walk: Walk,
}

impl Walker {
    /// Takes a path that was given; returns it if it is a folder.
    fn start(&mut self, given: &Path, rules: Rules<'_>) -> Option<Folder> {
        let path = std::path::absolute(given).unwrap_or_else(|_| given.to_owned());
        let reached = fs::metadata(&path).and_then(|there| Ok((there, path.canonicalize()?)));
        let (there, canonical) = match reached {
            Ok(reached) => reached,
            Err(error) => return self.refuse(given, unreachable_path(&error)),
        };
        if there.is_dir() {
            let canonical = (canonical != path).then_some(canonical);
            let way = self.ways.len();
            let folder = Folder {
                path,
                canonical,
                way,
            };
            let root = folder.canonical().to_owned();
            self.ways.push(Way { root, from: None });
            return Some(folder);
        }
        if !there.is_file() {
            return self.refuse(given, "is not a regular file".to_owned());
        }
        let compiled = match rules.kind(&path) {
            Some(compiled) => compiled,
            None if rules.kinds == Kinds::Sources && has_extension(&path, "pyc") => {
                return self.refuse(given, "is a compiled file: give its source".to_owned());
            }
            None if names_python(&path) => false,
            None => {
                let reason =
                    "is not a Python source: it has neither a .py name nor a python #! line";
                return self.refuse(given, reason.to_owned());
            }
        };
        let direct = canonical == path;
        let found = Found {
            path,
            compiled,
            given: true,
            linked: true,
            stamp: Some(Stamp::of(&there)),
        };
        if direct {
            self.walk.files.push(found);
        } else {
            self.linked.entry(canonical).or_insert(found);
        }
        None
    }

    fn refuse(&mut self, path: &Path, reason: String) -> Option<Folder> {
        self.walk.failed.push(Refusal::new(path, reason));
        None
    }

    /// Whether a folder is still to be read; one that leads back to where it lies is told.
    fn enters(&mut self, folder: &Folder) -> bool {
        if self.entered.insert(folder.canonical().to_owned()) {
            return true;
        }
        if self.lies_in(folder) {
            let leads = folder.canonical().display();
            let reason = format!("directory loop: leads back to {leads}");
            self.walk.skipped.push(Refusal::new(&folder.path, reason));
        }
        false
    }

    /// Whether a folder is one of those that were entered on the way to it.
    fn lies_in(&self, folder: &Folder) -> bool {
        let canonical = folder.canonical();
        let mut way = &self.ways[folder.way];
        while let Some((number, lies)) = &way.from {
            way = &self.ways[*number];
            if lies.starts_with(canonical) && canonical.starts_with(&way.root) {
                return true;
            }
        }
        false
    }

    /// Takes what a folder holds; returns the folders in it.
    fn take(&mut self, listing: Listing) -> Vec<Folder> {
        self.walk.files.extend(listing.files);
        for (canonical, found) in listing.linked {
            self.linked.entry(canonical).or_insert(found);
        }
        self.links.extend(listing.links);
        self.walk.skipped.extend(listing.skipped);
        self.walk.failed.extend(listing.failed);
        listing.folders
    }

    /// The folders that links lead to.
    fn follow_links(&mut self) -> Vec<Folder> {
        let mut folders = Vec::with_capacity(self.links.len());
        for (mut folder, lies) in std::mem::take(&mut self.links) {
            let root = folder.canonical().to_owned();
            let from = Some((folder.way, lies));
            folder.way = self.ways.len();
            self.ways.push(Way { root, from });
            folders.push(folder);
        }
        folders
    }

    fn finish(self) -> Walk {
        let Self {
            mut walk, linked, ..
        } = self;
        if !linked.is_empty() {
            let direct: HashSet<&Path> = walk.files.iter().map(|found| &*found.path).collect();
            let only_linked: Vec<Found> = linked
                .into_iter()
                .filter(|(canonical, _)| !direct.contains(&**canonical))
                .map(|(_, found)| found)
                .collect();
            walk.files.extend(only_linked);
        }
        // By bytes, which is several times faster than by parts. The one that was given by name
        // comes first, and stays.
        walk.files.par_sort_by(|one, other| {
            let (name, other_name) = (one.path.as_os_str(), other.path.as_os_str());
            (name, !one.given).cmp(&(other_name, !other.given))
        });
        walk.files
            .dedup_by(|one, other| one.path.as_os_str() == other.path.as_os_str());
        walk
    }
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
