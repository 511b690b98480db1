//! Breakpoint files: the TOML that `dapper run --breakpoints` and `dapper-instrument precompile
//! --breakpoints` both read.
//!
//! ```toml
//! [[breakpoint]]
//! file = "app/models.py"    # from the folder of this file, else from the current folder
//! line = 42
//! column = 9                # the code that begins there, where several share the line
//! # or, in place of file and line: function = "app.models:User.*"
//! kind = "log"              # "stop" (when absent), "log", "count" or "snapshot"
//! log_message = "saving {self.id}"    # for "log"; `message` is the same
//! condition = "self.id > 7"           # where it is false, nothing happens
//! hit_condition = "% 100"             # which of the hits are let through
//! purity = "require"                  # refuse expressions that may have side effects
//! capture = { stack_depth = 5 }       # record a snapshot of each hit, or `true`; without a
//!                                     # kind the breakpoint does nothing else
//! ```
//! Relies on nothing but the text and the file system's idea of an absolute path.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::request::{Place, Purity, Request, Terms};
use crate::snapshot::{self, CaptureOptions};

/// What a breakpoint does when it is hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Stop and show a prompt.
    #[default]
    Stop,
    /// Write the message and go on.
    Log,
    /// Only count.
    Count,
    /// Record a snapshot and go on.
    Snapshot,
}

/// One `[[breakpoint]]` of a breakpoint file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileBreakpoint {
    /// Where it is; a source file is canonical when it exists.
    pub place: Place,
    /// What a hit does.
    pub kind: Kind,
    /// When a hit does it, and with what text.
    pub terms: Terms,
}

/// Why a breakpoint file was refused; every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the breakpoint file {}: {source}", path.display())]
    Unreadable {
        /// The breakpoint file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key or a value is not one of ours.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The breakpoint file.
        path: PathBuf,
        /// What is wrong, with its line.
        message: String,
    },
    /// A breakpoint is well formed and makes no sense.
    #[error("{}: breakpoint {number}: {message}", path.display())]
    Invalid {
        /// The breakpoint file.
        path: PathBuf,
        /// Which breakpoint of the file, from 1.
        number: usize,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    breakpoint: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    file: Option<PathBuf>,
    line: Option<u32>,
    column: Option<u32>,
    function: Option<String>,
    kind: Option<Kind>,
    condition: Option<String>,
    hit_condition: Option<String>,
    #[serde(alias = "message")]
    log_message: Option<String>,
    purity: Option<Purity>,
    #[serde(default, deserialize_with = "snapshot::deserialize")]
    capture: Option<CaptureOptions>,
}

/// Reads and checks the breakpoint file at `path`.
pub fn read(path: &Path) -> Result<Vec<FileBreakpoint>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path)
}

/// Checks the text of a breakpoint file; `path` is where it stands, for messages and for the
/// files it names.
pub fn parse(text: &str, path: &Path) -> Result<Vec<FileBreakpoint>, Error> {
    let document: Document = toml::from_str(text).map_err(|error| Error::Malformed {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let check = |(index, row): (usize, Row)| {
        let invalid = |message: String| Error::Invalid {
            path: path.to_owned(),
            number: index + 1,
            message,
        };
        let place = row.place(folder).map_err(invalid)?;
        let terms = Terms {
            condition: row.condition,
            hit_condition: row.hit_condition,
            log_message: row.log_message,
            purity: row.purity,
            capture: row.capture,
        };
        let kind = row.kind.unwrap_or(match terms.capture {
            Some(_) if terms.log_message.is_none() => Kind::Snapshot,
            _ => Kind::Stop,
        });
        Request::on_terms(&place, kind, &terms, Purity::Allow).map_err(invalid)?;
        Ok(FileBreakpoint { place, kind, terms })
    };
    document
        .breakpoint
        .into_iter()
        .enumerate()
        .map(check)
        .collect()
}

impl Row {
    fn place(&self, folder: &Path) -> Result<Place, String> {
        let (file, line) = match (&self.function, &self.file, self.line, self.column) {
            (Some(function), None, None, None) => return Ok(Place::Function(function.clone())),
            (Some(_), ..) => {
                return Err("function stands in place of file, line and column".to_owned());
            }
            (None, Some(file), Some(line), _) => (file, line),
            (None, Some(_), None, _) => return Err("line is missing".to_owned()),
            (None, None, ..) => return Err("file and line are missing, or function".to_owned()),
        };
        let file = resolve(file, folder);
        Ok(Place::Line {
            file: file
                .into_os_string()
                .into_string()
                .map_err(|file| format!("{} is not UTF-8", file.display()))?,
            line,
            column: self.column,
        })
    }
}

fn resolve(file: &Path, folder: &Path) -> PathBuf {
    let beside = folder.join(file);
    let chosen = if beside.exists() {
        beside
    } else {
        file.to_owned()
    };
    chosen
        .canonicalize()
        .or_else(|_| std::path::absolute(&chosen))
        .unwrap_or(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> String {
        parse(text, Path::new("points.toml"))
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn reads_every_key() {
        let text = "[[breakpoint]]\nfile='/a.py'\nline=3\n[[breakpoint]]\nfile='/a.py'\nline=4\nkind='log'\nmessage='m'\n";
        let found = parse(text, Path::new("points.toml")).expect("valid");
        assert_eq!(found.len(), 2);
        let line_3 = Place::Line {
            file: "/a.py".to_owned(),
            line: 3,
            column: None,
        };
        assert_eq!((&found[0].place, found[0].kind), (&line_3, Kind::Stop));
        assert_eq!(
            (found[1].kind, found[1].terms.log_message.as_deref()),
            (Kind::Log, Some("m"))
        );
    }

    #[test]
    fn refuses_with_the_file_and_the_cause() {
        assert!(messages("[[breakpoint]]\nfile='a'\nline=0\n").contains("breakpoint 1: line 0"));
        assert!(
            messages("[[breakpoint]]\nfile='a'\nline=1\nkind='log'\n")
                .contains("needs a log_message")
        );
        assert!(messages("[[breakpoint]]\nfile='a'\nline=1\nstop=1\n").contains("stop"));
        assert!(
            messages("[[breakpoint]]\nfile='a'\nline=1\nhit_condition='often'\n")
                .contains("breakpoint 1: `often` is no hit rule")
        );
        let column = "[[breakpoint]]\nfile='a'\nline=1\ncolumn=0\n";
        assert!(messages(column).contains("breakpoint 1: column 0"));
        let both = "[[breakpoint]]\nfunction='m:f'\nline=1\n";
        assert!(messages(both).contains("in place of file, line"));
        assert!(messages("[[breakpoint]]\nfunction='f'\n").contains("names no module"));
        assert!(messages("[[breakpoint]]\nfile='a'\n").contains("line is missing"));
        assert!(messages("[[breakpoint]]\nkind='count'\n").contains("or function"));
        assert!(messages("[[breakpoint]").starts_with("points.toml: "));
        assert!(
            messages("[[breakpoint]]\nfile='a'\nline=1\n[breakpoint.capture]\ndepth=1\n")
                .contains("unknown field `depth`, expected one of `stack_depth`")
        );
        assert!(
            messages("[[breakpoint]]\nfile='a'\nline=1\ncapture='yes'\n")
                .contains("expected true, false or a table of options")
        );
        assert!(
            messages("[[breakpoint]]\nfile='a'\nline=1\ncapture={max_count=0}\n")
                .contains("breakpoint 1: capture: a max_count of 0")
        );
    }

    #[test]
    fn a_capture_makes_a_snapshot_unless_there_is_a_kind() {
        let kinds = |rows: &[&str]| -> Vec<(Kind, bool)> {
            let row = |row: &&str| format!("[[breakpoint]]\nfile='/a.py'\nline=3\n{row}\n");
            let text: String = rows.iter().map(row).collect();
            let found = parse(&text, Path::new("points.toml")).expect("valid");
            let captures = |row: &FileBreakpoint| (row.kind, row.terms.capture.is_some());
            found.iter().map(captures).collect()
        };
        let found = kinds(&[
            "capture = true",
            "[breakpoint.capture]\nexpressions = ['x']",
            "capture = true\nkind = 'stop'",
            "capture = false",
            "kind = 'snapshot'",
            "capture = true\nkind = 'count'",
        ]);
        let expected = [
            (Kind::Snapshot, true),
            (Kind::Snapshot, true),
            (Kind::Stop, true),
            (Kind::Stop, false),
            (Kind::Snapshot, false),
            (Kind::Count, true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn files_are_found_beside_the_breakpoint_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("m.py"), "x = 1\n").expect("writes");
        let points = folder.path().join("points.toml");
        let found = parse("[[breakpoint]]\nfile='m.py'\nline=1\n", &points).expect("valid");
        let expected = folder.path().join("m.py").canonicalize().expect("exists");
        let Place::Line { file, .. } = &found[0].place else {
            panic!("a line");
        };
        assert_eq!(Path::new(file), expected);
    }
}
