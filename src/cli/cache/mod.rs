//! `cache`: what the store holds, its health and its size, and how it gets to other machines.
//!
//! Each subcommand prints one result, as text or as one line of JSON. The work is done by the
//! `cache` crate; here are the words, the files named by the user and the key from the
//! environment. Paths come out of files that others may have written, so control characters in
//! them are escaped before they reach a terminal.

pub(super) mod arguments;
mod carry;
mod info;
mod list;
mod quantity;
mod sources;
mod tidy;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use ::cache::{Access, Limits, Root, Store, Tag};
use instrument::PyVersion;
use serde::Serialize;

use super::Failure;
use super::interpreter::Interpreter;
use super::precompile::cache_dir;
use super::report;
use super::terminal::Environment;
use arguments::{Action, Cache, Parts};

/// Runs the command; the status is that of the subcommand.
pub(super) fn run(
    arguments: &Cache,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let root = cache_dir(arguments.cache_dir.as_deref(), environment)?;
    let mut command = Command {
        root,
        json,
        environment,
        out,
    };
    match &arguments.action {
        Action::Path => command.path(),
        Action::Info(parts) => info::run(&mut command, parts),
        Action::List(options) => list::run(&mut command, options),
        Action::Verify(options) => verify::run(&mut command, options),
        Action::Gc(options) => tidy::gc(&mut command, options),
        Action::Clear(parts) => tidy::clear(&mut command, parts),
        Action::Export(options) => carry::export(&mut command, options),
        Action::Import(options) => carry::import(&mut command, options),
    }
}

/// What every subcommand works with.
struct Command<'a> {
    root: PathBuf,
    json: bool,
    environment: &'a Environment<'a>,
    out: &'a mut dyn Write,
}

impl Command<'_> {
    fn path(&mut self) -> Result<i32, Failure> {
        let exists = self.root.is_dir();
        let path = self.root.display().to_string();
        let report = serde_json::json!({ "path": path, "exists": exists });
        self.print(&report, |out| writeln!(out, "{path}"))?;
        Ok(0)
    }

    /// Prints the result: as JSON when that is asked for, else as `text` writes it.
    fn print(
        &mut self,
        report: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        let printed = if self.json {
            report::json(self.out, report)
        } else {
            text(self.out)
        };
        printed.map_err(Failure::output)
    }

    /// What every writer keeps the store within.
    fn limits(&self) -> Result<Limits, Failure> {
        let (limits, problem) = self.environment.limits();
        problem.map_or(Ok(limits), |problem| Err(Failure::new(problem)))
    }

    fn open_root(&self) -> Result<Root, Failure> {
        Root::open(&self.root, &self.environment.trust()).map_err(Failure::of)
    }

    /// Opens the part of one interpreter.
    fn open(&self, tag: &Tag, access: Access) -> Result<Store, Failure> {
        Store::open(&self.root, tag, access, &self.environment.trust()).map_err(Failure::of)
    }

    /// The interpreters of the store that are asked for; one it does not have is an error.
    fn chosen(&self, root: &Root, parts: &Parts) -> Result<Vec<Tag>, Failure> {
        let there = root.tags();
        let Some(asked) = asked(parts)? else {
            return Ok(there);
        };
        if let Some(absent) = asked.iter().find(|tag| !there.contains(tag)) {
            let names: Vec<&str> = there.iter().map(Tag::as_str).collect();
            let has = if names.is_empty() {
                "is empty".to_owned()
            } else {
                format!("has {}", names.join(", "))
            };
            let root = self.root.display();
            return Err(Failure::new(format!(
                "the store at {root} has nothing for {absent}: it {has}"
            )));
        }
        Ok(there
            .into_iter()
            .filter(|tag| asked.contains(tag))
            .collect())
    }

    /// Says that another process holds the lock of the store.
    fn busy(&self) -> Failure {
        Failure::file(format!(
            "another process is removing or repairing entries of {}: try again when it is done",
            self.root.display()
        ))
    }
}

/// The interpreters that `--python` and `--tag` name; none when neither is given.
fn asked(parts: &Parts) -> Result<Option<Vec<Tag>>, Failure> {
    let mut tags = parts.tag.clone();
    for python in &parts.python {
        let interpreter = Interpreter::ask(python, 0, None).map_err(Failure::of)?;
        tags.push(interpreter.target().build().tag());
    }
    let any = !tags.is_empty();
    Ok(any.then_some(tags))
}

/// The version of CPython that a directory of the store is for, when it is one we know.
fn known(tag: &Tag) -> Option<PyVersion> {
    let version = PyVersion::from_magic(tag.magic()?)?;
    (tag_of(version) == *tag).then_some(version)
}

fn tag_of(version: PyVersion) -> Tag {
    let cache_tag = format!("cpython-{}", version.to_string().replace('.', ""));
    Tag::new(&cache_tag, version.magic())
}

/// The directories of all versions that we know.
fn known_tags() -> String {
    let tags = PyVersion::ALL.map(|version| tag_of(version).to_string());
    tags.join(", ")
}

/// Text from a file of the store, with control characters escaped.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The path of an entry, or words for one that is lost.
fn shown_source(path: &str) -> String {
    if path.is_empty() {
        "(unknown source)".to_owned()
    } else {
        shown(path)
    }
}

/// A folder that the user named, as it is written and without links.
fn folder(path: &Path) -> Result<[PathBuf; 2], Failure> {
    let named = || path.display();
    let canonical = path
        .canonicalize()
        .map_err(|error| Failure::new(format!("--root {}: {error}", named())))?;
    if !canonical.is_dir() {
        let named = named();
        return Err(Failure::new(format!(
            "--root {named}: it is not a directory"
        )));
    }
    let absolute = std::path::absolute(path).map_err(Failure::of)?;
    Ok([absolute, canonical])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_supported_interpreters_are_known() {
        for version in PyVersion::ALL {
            let tag = Tag::new(&format!("cpython-3{}", version.minor()), version.magic());
            assert_eq!(known(&tag), Some(version));
        }
        for name in ["cpython-313-3572", "cpython-312-3571", "pypy310-3571"] {
            assert_eq!(known(&Tag::from_name(name).expect("a tag")), None, "{name}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(shown("a\x1b[2Jé\n"), "a\\u{1b}[2Jé\\n");
    }
}
