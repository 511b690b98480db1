//! Which variants of a file are to be in the store.
//!
//! One for every file (plain or every line), and one for each set of lines that somebody asked
//! for: a breakpoint file, or sessions before this one. What a breakpoint file says is about the
//! file at that path; what is remembered is about that content wherever it is, and about that
//! path whatever it holds now.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cache::{LineSet, ProbeDigest, SourceHash};

use crate::breakpoint_file::FileBreakpoint;
use crate::cli::walk::Found;
use crate::request::Place;
use crate::variant_key::Probes;

/// The variants that are wanted.
pub(super) struct Wanted {
    base: (Probes, ProbeDigest),
    by_path: HashMap<PathBuf, Vec<Probes>>,
    by_source: HashMap<SourceHash, Vec<Probes>>,
    /// The last parts of the paths above: links are resolved for files that have such a name.
    names: HashSet<OsString>,
}

impl Wanted {
    /// What is wanted of every file, and of the files that have breakpoints.
    pub(super) fn new(every_line: bool, points: Vec<FileBreakpoint>) -> Self {
        let base = if every_line {
            Probes::EveryLine
        } else {
            Probes::Plain
        };
        let mut lines: HashMap<PathBuf, Vec<u32>> = HashMap::new();
        for point in points {
            // Which code a column or the name of a function means, an import finds out from the
            // plain code.
            if let Place::Line {
                file,
                line,
                column: None,
            } = point.place
            {
                lines.entry(file.into()).or_default().push(line);
            }
        }
        let mut wanted = Self {
            base: (base.clone(), base.digest()),
            by_path: HashMap::new(),
            by_source: HashMap::new(),
            names: HashSet::new(),
        };
        for (path, lines) in lines {
            wanted.at_path(path, Probes::on(lines));
        }
        wanted
    }

    /// Adds what earlier sessions had breakpoints on.
    pub(super) fn remember(&mut self, sets: Vec<LineSet>) {
        for set in sets {
            let probes = Probes::on(set.lines);
            let source = SourceHash::from_bytes(set.source);
            let of_source = self.by_source.entry(source).or_default();
            of_source.push(probes.clone());
            self.at_path(set.path.into(), probes);
        }
    }

    fn at_path(&mut self, path: PathBuf, probes: Probes) {
        self.names.extend(path.file_name().map(OsString::from));
        self.by_path.entry(path).or_default().push(probes);
    }

    /// The variants of one file, each once, that do not satisfy `stored`.
    pub(super) fn missing(
        &self,
        found: &Found,
        source: &SourceHash,
        stored: impl Fn(&ProbeDigest) -> bool,
    ) -> Vec<Probes> {
        let mut missing = Vec::new();
        if !stored(&self.base.1) {
            missing.push(self.base.0.clone());
        }
        for probes in self.sets(found, source) {
            if !missing.contains(probes) && !stored(&probes.digest()) {
                missing.push(probes.clone());
            }
        }
        missing
    }

    /// The variants of one file in words, in the order of the alphabet.
    pub(super) fn describe(&self, found: &Found, source: &SourceHash) -> Vec<String> {
        let sets = self.sets(found, source).map(Probes::describe);
        let mut all: Vec<String> = sets.chain([self.base.0.describe()]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn sets(&self, found: &Found, source: &SourceHash) -> impl Iterator<Item = &Probes> {
        let of_source = self.by_source.get(source).into_iter().flatten();
        of_source.chain(self.of_path(found).into_iter().flatten())
    }

    fn of_path(&self, found: &Found) -> Option<&Vec<Probes>> {
        let is_named = || found.path.file_name().map(|name| self.names.contains(name));
        if self.names.is_empty() || !(found.linked || is_named() == Some(true)) {
            return None;
        }
        let canonical = Path::canonicalize(&found.path).ok()?;
        self.by_path.get(&canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Found {
        Found {
            path: path.to_owned(),
            compiled: false,
            given: false,
            linked: false,
            stamp: None,
        }
    }

    fn lines(list: &[u32]) -> Probes {
        Probes::on(list.iter().copied())
    }

    fn set(path: &Path, source: &SourceHash, lines: &[u32]) -> LineSet {
        LineSet {
            path: path.display().to_string(),
            source: *source.as_bytes(),
            used: 0,
            lines: lines.to_vec(),
        }
    }

    #[test]
    fn remembered_lines_are_wanted_of_the_content_and_of_the_path() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let folder = folder.path().canonicalize().expect("exists");
        let (one, other) = (folder.join("one.py"), folder.join("other.py"));
        std::fs::write(&one, "x = 1\n").expect("writes");
        std::fs::write(&other, "x = 1\n").expect("writes");
        let (then, now) = (SourceHash::of(b"then"), SourceHash::of(b"now"));
        let mut wanted = Wanted::new(false, Vec::new());
        wanted.remember(vec![set(&one, &then, &[1]), set(&one, &then, &[1, 2])]);
        let missing = |path: &Path, source| wanted.missing(&found(path), source, |_| false);
        let all = [Probes::Plain, lines(&[1]), lines(&[1, 2])];
        assert_eq!(missing(&one, &then), all);
        assert_eq!(missing(&one, &now), all);
        assert_eq!(missing(&other, &then), all);
        assert_eq!(missing(&other, &now), all[..1]);
        let words = wanted.describe(&found(&one), &now);
        assert_eq!(words, ["lines 1", "lines 1 2", "plain"]);
    }

    #[test]
    fn what_is_stored_is_not_missing() {
        let wanted = Wanted::new(true, Vec::new());
        let source = SourceHash::of(b"");
        let path = Path::new("/a.py");
        let stored = |digest: &ProbeDigest| *digest == Probes::EveryLine.digest();
        assert_eq!(wanted.missing(&found(path), &source, stored), []);
        let nothing = wanted.missing(&found(path), &source, |_| false);
        assert_eq!(nothing, [Probes::EveryLine]);
    }
}
