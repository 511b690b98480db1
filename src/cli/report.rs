//! What a command tells at its end: refusals with their reasons, as text or as JSON.
//!
//! Results go to standard output, so that they can be piped; progress and errors do not.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// A file that was left out or that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Refusal {
    /// The file, as far as it can be written as text.
    pub file: String,
    /// The reason, to be read after the path.
    pub reason: String,
    /// The interpreter that it was to be prepared for, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
}

impl Refusal {
    /// Makes the record of `path` being refused.
    #[must_use]
    pub(super) fn new(path: &Path, reason: String) -> Self {
        Self {
            file: path.display().to_string(),
            reason,
            python: None,
        }
    }

    /// The same for one of several interpreters.
    #[must_use]
    pub(super) fn for_python(self, python: &str) -> Self {
        Self {
            python: Some(python.to_owned()),
            ..self
        }
    }
}

/// Writes `value` as one line of JSON.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

/// Files that share a reason are told in one line when there are more of them than this.
const TOLD_APART: usize = 5;

/// Writes a heading with a count, and the refusals below it; nothing when there are none.
pub(super) fn refusals(out: &mut dyn Write, heading: &str, refusals: &[Refusal]) -> io::Result<()> {
    if refusals.is_empty() {
        return Ok(());
    }
    writeln!(out, "{heading}: {}", refusals.len())?;
    let mut sharing: HashMap<(&str, &Option<String>), usize> = HashMap::new();
    for refusal in refusals {
        let shared = (&*refusal.reason, &refusal.python);
        *sharing.entry(shared).or_default() += 1;
    }
    for refusal in refusals {
        let (file, reason) = (&refusal.file, &refusal.reason);
        let python = refusal.python.as_deref();
        let python = python.map_or_else(String::new, |python| format!(" ({python})"));
        match sharing.get_mut(&(&**reason, &refusal.python)) {
            Some(0) | None => {}
            Some(count) if *count > TOLD_APART => {
                writeln!(out, "  {file} and {} more{python}: {reason}", *count - 1)?;
                *count = 0;
            }
            Some(_) => writeln!(out, "  {file}{python}: {reason}")?,
        }
    }
    Ok(())
}

/// `1 file`, `2 files`.
#[must_use]
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_with_one_reason_take_one_line() {
        let refused = |index: usize, reason: &str| {
            Refusal::new(Path::new(&format!("{index}.py")), reason.to_owned())
        };
        let mut list: Vec<Refusal> = (0..7).map(|index| refused(index, "disk full")).collect();
        list.push(refused(7, "does not compile"));
        let mut out = Vec::new();
        refusals(&mut out, "failed", &list).expect("writes");
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(
            text,
            "failed: 8\n  0.py and 6 more: disk full\n  7.py: does not compile\n"
        );
    }
}
