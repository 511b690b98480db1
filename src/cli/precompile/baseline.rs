//! A baseline: what was prepared of a tree once, to tell later what a change prepares anew.
//!
//! ```json
//! {"dapper_baseline": 1, "engine": "0.1.0", "interpreters": ["cpython-313-3571"],
//!  "files": {"app/models.py": {"source": "<64 hexadecimal digits>", "variants": ["plain"]}}}
//! ```
//! Paths are relative to a root, with `/` between their parts; a file outside the root keeps its
//! absolute path. The file is meant to be kept beside the sources or with the exported store; it
//! says nothing about times, so the same tree has the same baseline.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cache::SourceHash;
use serde::{Deserialize, Serialize};

use crate::cli::Failure;

const FORMAT: u32 = 1;

/// What was prepared, by path.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    #[serde(rename = "dapper_baseline")]
    format: u32,
    /// The version of the engine.
    engine: String,
    /// The interpreters' directories in the store, in the order of the alphabet.
    interpreters: Vec<String>,
    files: BTreeMap<String, Prepared>,
}

/// What was prepared of one file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prepared {
    /// BLAKE3 of the source.
    source: String,
    variants: Vec<String>,
}

/// What a tree has prepared anew, compared with a baseline.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// The file of the baseline.
    pub(super) file: String,
    /// Whether engine and interpreters are those of the baseline. If not, everything is made anew.
    pub(super) same_engine: bool,
    /// Files that the baseline does not have.
    pub(super) added: Vec<String>,
    /// Files of other content, or of which other variants are wanted.
    pub(super) changed: Vec<String>,
    /// Files that only the baseline has.
    pub(super) removed: Vec<String>,
    /// How many files are as they were.
    pub(super) unchanged: usize,
}

impl Baseline {
    /// An empty one.
    pub(super) fn new(engine: &str, mut interpreters: Vec<String>) -> Self {
        interpreters.sort_unstable();
        interpreters.dedup();
        Self {
            format: FORMAT,
            engine: engine.to_owned(),
            interpreters,
            files: BTreeMap::new(),
        }
    }

    /// Adds a file; `root` is what its path is written relative to.
    pub(super) fn add(
        &mut self,
        root: &Path,
        path: &Path,
        source: &SourceHash,
        variants: Vec<String>,
    ) {
        let mut digits = String::with_capacity(64);
        for byte in source.as_bytes() {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        let source = digits;
        self.files
            .insert(relative(root, path), Prepared { source, variants });
    }

    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| {
            let name = path.display();
            Failure::new(format!(
                "{name} is no baseline: {why}; write one with --write-baseline"
            ))
        };
        let text = fs::read_to_string(path).map_err(|error| {
            let name = path.display();
            Failure::new(format!("cannot read the baseline {name}: {error}"))
        })?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        match value
            .get("dapper_baseline")
            .and_then(serde_json::Value::as_u64)
        {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(wrong(format!(
                    "it has format {format}, and this version reads format {FORMAT}"
                )));
            }
            None => return Err(wrong("it has no `dapper_baseline`".to_owned())),
        }
        serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
    }

    /// Writes it to the file at `path`, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let refused = |error: std::io::Error| {
            let name = path.display();
            Failure::new(format!("cannot write the baseline {name}: {error}"))
        };
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut file = tempfile::Builder::new()
            .permissions(permissions())
            .tempfile_in(folder)
            .map_err(refused)?;
        serde_json::to_writer_pretty(&mut file, self)
            .map_err(std::io::Error::from)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(refused)?;
        file.persist(path).map_err(|error| refused(error.error))?;
        Ok(())
    }

    /// What is made anew for `now` when this was prepared; `file` is where this was read.
    pub(super) fn compare(&self, now: &Self, file: &Path) -> Difference {
        let mut difference = Difference {
            file: file.display().to_string(),
            same_engine: (&self.engine, &self.interpreters) == (&now.engine, &now.interpreters),
            ..Difference::default()
        };
        for (path, prepared) in &now.files {
            match self.files.get(path) {
                None => difference.added.push(path.clone()),
                Some(before) if before == prepared => difference.unchanged += 1,
                Some(_) => difference.changed.push(path.clone()),
            }
        }
        let removed = |path: &&String| !now.files.contains_key(*path);
        difference.removed = self.files.keys().filter(removed).cloned().collect();
        difference
    }
}

/// As any other file that a program writes, where the system's own default allows it.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

fn relative(root: &Path, path: &Path) -> String {
    let shown = path.strip_prefix(root).unwrap_or(path);
    let parts = shown.display().to_string();
    match std::path::MAIN_SEPARATOR {
        '/' => parts,
        separator => parts.replace(separator, "/"),
    }
}

/// The root as an absolute path, with the links of the current folder as they are.
pub(super) fn root(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let given = given.unwrap_or(Path::new("."));
    let root = std::path::absolute(given)
        .map_err(|error| Failure::new(format!("--root {}: {error}", given.display())))?;
    if root.is_dir() {
        return Ok(root);
    }
    let name = given.display();
    Err(Failure::new(format!("--root {name} is not a directory")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(interpreters: &[&str], files: &[(&str, &str, &str)]) -> Baseline {
        let interpreters = interpreters.iter().map(ToString::to_string).collect();
        let mut baseline = Baseline::new("1.0", interpreters);
        for (path, content, variant) in files {
            let source = SourceHash::of(content.as_bytes());
            let path = Path::new("/root").join(path);
            baseline.add(
                Path::new("/root"),
                &path,
                &source,
                vec![(*variant).to_owned()],
            );
        }
        baseline
    }

    #[test]
    fn what_changed_is_told_by_content_and_variant() {
        let before = baseline(
            &["b", "a"],
            &[
                ("same.py", "1", "plain"),
                ("content.py", "1", "plain"),
                ("variant.py", "1", "plain"),
                ("gone.py", "1", "plain"),
            ],
        );
        let now = baseline(
            &["a", "b"],
            &[
                ("same.py", "1", "plain"),
                ("content.py", "2", "plain"),
                ("variant.py", "1", "every line"),
                ("new.py", "1", "plain"),
                ("/elsewhere/x.py", "1", "plain"),
            ],
        );
        let found = before.compare(&now, Path::new("baseline.json"));
        assert!(found.same_engine);
        assert_eq!(found.added, ["/elsewhere/x.py", "new.py"]);
        assert_eq!(found.changed, ["content.py", "variant.py"]);
        assert_eq!(found.removed, ["gone.py"]);
        assert_eq!(found.unchanged, 1);
        assert!(
            !before
                .compare(&baseline(&["a"], &[]), Path::new("b"))
                .same_engine
        );
    }

    #[test]
    fn what_was_written_is_read_and_the_rest_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("baseline.json");
        let written = baseline(&["a"], &[("a.py", "1", "plain")]);
        written.write(&path).expect("writes");
        assert_eq!(Baseline::read(&path).expect("reads"), written);
        for (text, cause) in [
            ("", "EOF"),
            ("{}", "no `dapper_baseline`"),
            (r#"{"dapper_baseline": 2}"#, "format 2"),
            (r#"{"dapper_baseline": 1}"#, "missing field"),
        ] {
            fs::write(&path, text).expect("writes");
            let message = Baseline::read(&path).expect_err("refused").message;
            assert!(message.contains(cause), "{message}");
            assert!(message.contains("baseline.json"), "{message}");
        }
    }
}
