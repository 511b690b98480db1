//! The lines that breakpoints were last on, for all interpreters of a store.

use std::io::Read;

use super::{Access, Store};
use crate::dir::Dir;
use crate::error::PutError;
use crate::remembered::{self, FILE_NAME, LineSet, MAX_LEN};

impl Store {
    /// The sets of lines that sessions had breakpoints on, the last used first.
    #[must_use]
    pub fn remembered(&self) -> Vec<LineSet> {
        self.version.as_ref().map(read_sets).unwrap_or_default()
    }

    /// Adds sets to those that are remembered; a store that is used read-only keeps none.
    pub fn remember(&self, sets: &[LineSet]) -> Result<(), PutError> {
        let (Some(dir), Access::ReadWrite) = (&self.version, self.access) else {
            return Ok(());
        };
        if sets.is_empty() {
            return Ok(());
        }
        let Some(content) =
            remembered::merge(&read_sets(dir), sets).and_then(|kept| remembered::encode(&kept))
        else {
            return Ok(());
        };
        dir.write_file(FILE_NAME, &content)
            .map_err(|error| PutError::io(dir.path(), error))
    }
}

/// What cannot be read or trusted was not remembered.
fn read_sets(dir: &Dir) -> Vec<LineSet> {
    let Ok(Some((file, _))) = dir.open_file(FILE_NAME) else {
        return Vec::new();
    };
    let mut content = Vec::new();
    match file.take(MAX_LEN).read_to_end(&mut content) {
        Ok(_) => remembered::decode(&content).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
