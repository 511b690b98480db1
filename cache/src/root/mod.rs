//! A store as a whole, over the interpreters it has entries for: what `info`, `gc` and `clear`
//! work on.
//!
//! Opening it makes nothing: an absent store is an empty one. What is asked of one interpreter's
//! part goes through a [`Store`](crate::Store) of its own.

mod clear;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dir::Dir;
use crate::error::{OpenError, PutError};
use crate::evict::{self, Limits, Removal};
use crate::key::{FORMAT_VERSION, Tag};
use crate::memo::{self, MemoState};
use crate::trust::Trust;

pub use clear::Cleared;
pub use usage::Usage;

/// An opened root directory of a store.
pub struct Root {
    path: PathBuf,
    top: Option<Dir>,
    version: Option<Dir>,
    trust: Trust,
}

impl Root {
    /// Opens the root of a store, if there is one.
    pub fn open(path: &Path, trust: &Trust) -> Result<Self, OpenError> {
        let top = Dir::open(path, false, trust)?;
        let version = match &top {
            Some(top) => top.child(&format!("v{FORMAT_VERSION}"), false)?,
            None => None,
        };
        Ok(Self {
            path: path.to_owned(),
            top,
            version,
            trust: trust.clone(),
        })
    }

    /// True when there is a store of this format.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.version.is_some()
    }

    /// The interpreters that have a directory, in order of their names.
    #[must_use]
    pub fn tags(&self) -> Vec<Tag> {
        let names = self.version.as_ref().map(Dir::names);
        let names = names.and_then(Result::ok).unwrap_or_default();
        let mut tags: Vec<Tag> = names
            .iter()
            .filter_map(|name| Tag::from_name(name))
            .collect();
        tags.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        tags
    }

    /// Formats of other versions of dapper that have a directory beside this one's.
    #[must_use]
    pub fn other_formats(&self) -> Vec<u32> {
        let names = self.top.as_ref().map(Dir::names);
        let names = names.and_then(Result::ok).unwrap_or_default();
        let number = |name: &String| name.strip_prefix('v')?.parse().ok();
        let mut formats: Vec<u32> = names.iter().filter_map(number).collect();
        formats.retain(|format| *format != FORMAT_VERSION);
        formats.sort_unstable();
        formats
    }

    /// The memo of sources.
    #[must_use]
    pub fn memo(&self) -> MemoState {
        let dir = self.version.as_ref();
        dir.map(memo::inspect).unwrap_or_default()
    }

    /// Writes the sound rows of a damaged memo anew; returns how many they are.
    pub fn repair_memo(&self) -> Result<u64, PutError> {
        match self.writable()? {
            Some(dir) => memo::repair(dir),
            None => Ok(0),
        }
    }

    /// Removes what is older or more than the limits allow.
    pub fn evict(&self, limits: &Limits) -> Result<Removal, PutError> {
        match self.writable()? {
            Some(dir) => {
                evict::evict(dir, limits, Duration::ZERO).map_err(|e| PutError::io(dir.path(), e))
            }
            None => Ok(Removal::default()),
        }
    }

    /// The directory of this format, when there is one; an error when it cannot be written.
    fn writable(&self) -> Result<Option<&Dir>, PutError> {
        let refused = || PutError::ReadOnly {
            path: self.path.clone(),
        };
        match &self.version {
            Some(dir) if !dir.is_writable() => Err(refused()),
            dir => Ok(dir.as_ref()),
        }
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root {{ path: {} }}", self.path.display())
    }
}
