//! `cache export` and `cache import`: the store in one file.
//!
//! The file is written beside its name and renamed when it is complete; it is read without
//! following a link. The key comes from `DAPPER_CACHE_KEY` and is never printed.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ::cache::archive::{
    self, Archive, ArchiveError, BuildSummary, Demand, Exported, Imported, Signature, SigningKey,
};
use ::cache::{Access, FORMAT_VERSION, Step, Store, Tag};
use indicatif::ProgressBar;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::arguments::{Export, Import};
use super::list::patterns;
use super::quantity::{n_entries, shown_size};
use super::sources::Sources;
use super::{Command, asked, folder, known, known_tags, shown, shown_source};
use crate::cli::Failure;
use crate::variant::ENGINE;

const KEY: &str = "DAPPER_CACHE_KEY";
const FIGURE: &str = "{pos}/{len} entries";

/// Runs `export`; the status is 1 when an entry had to be left out.
pub(super) fn export(command: &mut Command<'_>, options: &Export) -> Result<i32, Failure> {
    let key = signing_key(command)?;
    let wanted = patterns(&options.path)?;
    let bases = match &options.root {
        Some(root) => folder(root)?.to_vec(),
        None => Vec::new(),
    };
    let root = command.open_root()?;
    let tags = command.chosen(&root, &options.parts)?;
    let open = |tag: &Tag| command.open(tag, Access::ReadOnly);
    let stores: Vec<Store> = tags.iter().map(open).collect::<Result<_, _>>()?;
    let temporary = beside(&options.file)?;
    let file = temporary
        .reopen()
        .map_err(|error| cannot_write(&options.file, &error))?;
    let outside = Cell::new(0_u64);
    let relative = |path: String| {
        let below = bases
            .iter()
            .find_map(|base| Path::new(&path).strip_prefix(base).ok());
        if let Some(below) = below.and_then(Path::to_str) {
            return below.to_owned();
        }
        outside.set(outside.get() + 1);
        path
    };
    let bar = command.environment.progress_in(0, FIGURE);
    let exported = archive::export(
        &stores,
        file,
        &archive::Export {
            engine: ENGINE,
            wanted: &|origin| wanted.matches(&origin.path),
            path: &relative,
            key: key.as_ref(),
        },
        &mut |step| advance(&bar, step),
    );
    bar.finish_and_clear();
    let exported = exported.map_err(|error| of_archive(&options.file, error))?;
    let Some(exported) = exported else {
        let root = command.root.display();
        return Err(Failure::file(format!(
            "the store at {root} has nothing to export for engine {ENGINE}: fill it with \
             dapper-instrument precompile, or ask for less"
        )));
    };
    let placed = temporary.persist(&options.file);
    placed.map_err(|error| cannot_write(&options.file, &error.error))?;
    let outside = if bases.is_empty() { 0 } else { outside.get() };
    let report = json!({
        "file": options.file.display().to_string(),
        "entries": exported.entries,
        "bytes": exported.bytes,
        "archive_bytes": exported.archive_bytes,
        "digest": exported.digest.to_string(),
        "signed": key.is_some(),
        "engine": ENGINE,
        "format": FORMAT_VERSION,
        "interpreters": interpreters(&exported.builds),
        "other_engines": exported.other_engines,
        "outside_root": outside,
        "left_out": exported.left_out,
    });
    command.print(&report, |out| {
        print_exported(out, &options.file, &exported, outside, key.is_some())
    })?;
    Ok(i32::from(!exported.left_out.is_empty()))
}

fn print_exported(
    out: &mut dyn Write,
    file: &Path,
    exported: &Exported,
    outside: u64,
    signed: bool,
) -> io::Result<()> {
    for path in &exported.left_out {
        let path = shown_source(path);
        writeln!(out, "left out: {path}: its entry is damaged or too large")?;
    }
    if exported.other_engines > 0 {
        let count = n_entries(exported.other_engines);
        writeln!(out, "left out: {count} that engine {ENGINE} did not make")?;
    }
    if outside > 0 {
        writeln!(
            out,
            "outside --root, with their own paths: {}",
            n_entries(outside)
        )?;
    }
    for build in &exported.builds {
        writeln!(out, "{}: {}", build.tag, n_entries(build.entries))?;
    }
    let (bytes, packed) = (
        shown_size(exported.bytes),
        shown_size(exported.archive_bytes),
    );
    let (count, file) = (n_entries(exported.entries), file.display());
    let signed = if signed { ", signed" } else { "" };
    writeln!(
        out,
        "exported {count} ({bytes}) to {file} ({packed}{signed})"
    )?;
    writeln!(out, "digest: {}", exported.digest)
}

/// Runs `import`.
pub(super) fn import(command: &mut Command<'_>, options: &Import) -> Result<i32, Failure> {
    let key = signing_key(command)?;
    let bases = options.root.as_deref().map(folder).transpose()?;
    let base = bases.as_ref().map(|[absolute, _]| absolute.as_path());
    let asked = asked(&options.parts)?;
    let refused = |error| of_archive(&options.file, error);
    let file = open(&options.file)?;
    let demand = Demand {
        digest: options.digest,
        key: key.as_ref(),
        max_len: options.max_size,
    };
    let archive = Archive::open(&file, &demand).map_err(refused)?;
    let bar = command
        .environment
        .progress_in(archive.entries_len(), FIGURE);
    let trust = command.environment.trust();
    let sources = Sources::default();
    let import = archive::Import {
        root: &command.root,
        trust: &trust,
        engine: ENGINE,
        known: &|tag| known(tag).is_some() || asked.as_ref().is_some_and(|a| a.contains(tag)),
        known_in_words: &known_tags(),
        wanted: &|tag| asked.as_ref().is_none_or(|asked| asked.contains(tag)),
        path: &|path| below(base, path),
        met: &|origin| sources.note(origin),
        dry_run: options.dry_run,
    };
    let imported = import.run(&archive, &mut |step| advance(&bar, step));
    bar.finish_and_clear();
    let imported = imported.map_err(refused)?;
    let compared = match &bases {
        Some(bases) => {
            let taken = archive.builds().iter().map(|build| &build.tag);
            let tag = taken.into_iter().find(|tag| (import.wanted)(tag));
            let open = |tag| command.open(tag, Access::ReadWrite);
            let store = tag.filter(|_| !options.dry_run).map(open).transpose()?;
            Some(sources.compare(bases, store.as_ref()))
        }
        None => None,
    };
    let signature = match archive.signature() {
        Signature::Absent => "none",
        Signature::Unchecked => "unchecked",
        Signature::Verified => "verified",
    };
    let report = json!({
        "file": options.file.display().to_string(),
        "digest": archive.digest().to_string(),
        "signature": signature,
        "engine": archive.engine(),
        "interpreters": interpreters(archive.builds()),
        "dry_run": options.dry_run,
        "added": imported.added,
        "bytes": imported.bytes,
        "present": imported.present,
        "unwanted": imported.unwanted,
        "sources": compared,
    });
    let unchecked = archive.signature() == Signature::Unchecked;
    let root = command.root.display().to_string();
    command.print(&report, |out| {
        if unchecked {
            let file = options.file.display();
            writeln!(
                out,
                "{file} is signed, which was not checked: {KEY} is not set"
            )?;
        }
        print_imported(out, options, &root, &imported)?;
        if let (Some(compared), Some(root)) = (compared, &options.root) {
            writeln!(out, "sources below {}: {compared}", root.display())?;
        }
        Ok(())
    })?;
    Ok(0)
}

fn print_imported(
    out: &mut dyn Write,
    options: &Import,
    root: &str,
    imported: &Imported,
) -> io::Result<()> {
    let (added, present) = (n_entries(imported.added), imported.present);
    let bytes = shown_size(imported.bytes);
    let verb = if options.dry_run {
        "would add"
    } else {
        "added"
    };
    writeln!(
        out,
        "{verb} {added} ({bytes}) to {root}; {present} were there"
    )?;
    if imported.unwanted > 0 {
        let count = n_entries(imported.unwanted);
        writeln!(out, "left out: {count} of other interpreters")?;
    }
    Ok(())
}

fn interpreters(builds: &[BuildSummary]) -> Vec<Value> {
    let of = |build: &BuildSummary| {
        json!({
            "tag": build.tag.as_str(),
            "entries": build.entries,
            "bytes": build.bytes,
        })
    };
    builds.iter().map(of).collect()
}

fn advance(bar: &ProgressBar, step: Step) {
    match step {
        Step::Total(total) => bar.set_length(total),
        Step::Done(more) => bar.inc(more),
    }
}

fn below(base: Option<&Path>, path: String) -> String {
    match base {
        Some(base) if !path.is_empty() && Path::new(&path).is_relative() => {
            base.join(path).display().to_string()
        }
        _ => path,
    }
}

/// The key, if one is set. A key that is set and empty is a mistake: what it should have
/// demanded would go unnoticed.
fn signing_key(command: &Command<'_>) -> Result<Option<SigningKey>, Failure> {
    let Some(text) = (command.environment.variable)(KEY) else {
        return Ok(None);
    };
    let key = SigningKey::from_text(text.as_bytes());
    if key.is_none() {
        let message = format!("{KEY} is set but empty: unset it, or set it to the key");
        return Err(Failure::new(message));
    }
    Ok(key)
}

fn open(path: &Path) -> Result<File, Failure> {
    // Without NONBLOCK, opening a FIFO would wait for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let refused = |why: &str| Failure::file(format!("{}: {why}", path.display()));
    let file = match opened {
        Ok(file) => file,
        Err(_) if is_link(path) => {
            return Err(refused(
                "is a symbolic link: name the file that it points to",
            ));
        }
        Err(error) => return Err(refused(&format!("cannot be read: {error}"))),
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(refused(
            "is not a regular file: name one that cache export wrote",
        )),
        Err(error) => Err(refused(&format!("cannot be read: {error}"))),
    }
}

/// A temporary file beside the one to be written.
fn beside(path: &Path) -> Result<tempfile::NamedTempFile, Failure> {
    let refused = |why: &str| Failure::new(format!("{}: {why}", path.display()));
    if is_link(path) {
        return Err(refused(
            "is a symbolic link: name the file that it points to",
        ));
    }
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(refused("is not a regular file: name another"));
    }
    let parent: PathBuf = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // As the user's umask leaves it: an archive is made to be given away.
    tempfile::Builder::new()
        .prefix(".dapper-export-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(|error| cannot_write(path, &error))
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(format!(
        "{path}: cannot be written: {error}; make room or name another file"
    ))
}

fn of_archive(path: &Path, error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Open(error) => Failure::of(error),
        error => Failure::file(shown(&format!("{}: {error}", path.display()))),
    }
}
