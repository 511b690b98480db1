//! What can be typed after `dapper-instrument cache`, with its help.

use std::path::PathBuf;
use std::time::Duration;

use ::cache::Tag;
use ::cache::archive::ArchiveDigest;
use clap::{Args, Subcommand};

use super::super::arguments::CACHE_DIR;
use crate::store_options::{age, size};

/// `cache`
#[derive(Debug, Args)]
pub(in crate::cli) struct Cache {
    #[arg(long, global = true, value_name = "DIR", help = CACHE_DIR)]
    pub(super) cache_dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) action: Action,
}

/// The subcommands of `cache`.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Print the directory of the store
    #[command(after_help = PATH)]
    Path,
    /// Tell what the store holds for each interpreter, and what in it is not used
    #[command(after_help = INFO)]
    Info(Parts),
    /// List the entries, each with its source
    #[command(after_help = LIST)]
    List(List),
    /// Read every byte, check every checksum, and mend what is damaged when asked to
    #[command(after_help = VERIFY)]
    Verify(Verify),
    /// Remove what was not used for longest, and what dead writers left
    #[command(after_help = GC)]
    Gc(Gc),
    /// Remove all entries, and no file that is not the store's
    #[command(after_help = CLEAR)]
    Clear(Parts),
    /// Write entries to one file that another store can import
    #[command(after_help = EXPORT)]
    Export(Export),
    /// Merge the entries of an exported file into the store: all of them, or none
    #[command(after_help = IMPORT)]
    Import(Import),
}

/// Options that choose interpreters.
#[derive(Debug, Args)]
pub(super) struct Parts {
    /// Only what is for this interpreter; may be repeated
    #[arg(long, value_name = "PYTHON")]
    pub(super) python: Vec<PathBuf>,
    /// Only what is below this directory of the store, such as cpython-313-3571; may be repeated
    #[arg(long, value_name = "TAG", value_parser = tag)]
    pub(super) tag: Vec<Tag>,
}

const PATH: &str = "\
Examples:
  dapper-instrument cache path
  du -sh \"$(dapper-instrument cache path)\"

Exit status: 0 done, 2 there is no place for a store";

const INFO: &str = "\
Examples:
  dapper-instrument cache info
  dapper-instrument cache info --json --python .venv/bin/python

Exit status: 0 done, 2 wrong use, or the store cannot be opened";

const LIST: &str = "\
Examples:
  dapper-instrument cache list --path '**/models.py'
  dapper-instrument cache list --json --tag cpython-313-3571

Exit status: 0 done, 2 wrong use, or the store cannot be opened";

/// `cache list`
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only entries of sources whose path matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(super) path: Vec<String>,
    #[command(flatten)]
    pub(super) parts: Parts,
}

const VERIFY: &str = "\
A repair keeps every sound entry: those of a damaged file are written to a new one before it is
removed. Files that others could have written are never touched.

Examples:
  dapper-instrument cache verify
  dapper-instrument cache verify --repair

Exit status: 0 sound or repaired, 1 damage was found and is left, 2 wrong use, or the store
cannot be opened";

/// `cache verify`
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Remove what is damaged, and tell what was lost
    #[arg(long)]
    pub(super) repair: bool,
    #[command(flatten)]
    pub(super) parts: Parts,
}

const GC: &str = "\
A file goes as a whole; use is noted once a day. Above the size a tenth more is removed, so that
not every run has to. Without an option the limits are those that every writer keeps:
DAPPER_CACHE_MAX_SIZE [1G] and DAPPER_CACHE_MAX_AGE [90d].

Examples:
  dapper-instrument cache gc --max-size 2G
  dapper-instrument cache gc --max-age 30d --merge

Exit status: 0 done, 1 another process is at it, 2 wrong use, or the store cannot be written";

/// `cache gc`
#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Keep at most this much, such as 500M or 2G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) max_size: Option<u64>,
    /// Keep what was used within this time, such as 12h or 30d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) max_age: Option<Duration>,
    /// Afterwards make one pack of all packs of an interpreter
    #[arg(long)]
    pub(super) merge: bool,
}

const CLEAR: &str = "\
Directories, and files that are being written, stay: programs that run go on.

Examples:
  dapper-instrument cache clear
  dapper-instrument cache clear --tag cpython-311-3495

Exit status: 0 done, 1 another process is at it, 2 wrong use, or the store cannot be written";

const EXPORT: &str = "\
The same entries give the same file. With DAPPER_CACHE_KEY set the file is signed: 64 hexadecimal
digits, or any text, known to both sides. The digest that is printed is that of the file (as b3sum
tells it).

Examples:
  dapper-instrument cache export --root . store.dapper
  DAPPER_CACHE_KEY=... dapper-instrument cache export --python .venv/bin/python store.dapper

Exit status: 0 done, 1 there was nothing to export or a damaged entry was left out, 2 wrong use,
or the store cannot be opened";

/// `cache export`
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write; it is replaced when it is there
    pub(super) file: PathBuf,
    /// Write paths below this folder relative to it
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Only entries of sources whose path matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(super) path: Vec<String>,
    #[command(flatten)]
    pub(super) parts: Parts,
}

const IMPORT: &str = "\
Importing makes programs run what the file holds: take it from a place you trust, demand the
digest that the export printed, or set DAPPER_CACHE_KEY on both sides, which demands a signature.
Entries that are there already stay as they are.

Examples:
  dapper-instrument cache import --root . store.dapper
  dapper-instrument cache import --digest blake3:6437... store.dapper
  dapper-instrument cache import --dry-run --json store.dapper

Exit status: 0 done, 1 the file was refused and nothing was stored, 2 wrong use, or the store
cannot be opened";

/// `cache import`
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file to read
    pub(super) file: PathBuf,
    /// Take the file only when this is its digest
    #[arg(long, value_name = "blake3:HEX")]
    pub(super) digest: Option<ArchiveDigest>,
    /// List entries with relative paths as sources below this folder, and remember which of those
    /// are the same here, so that a first run need not read them
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// Refuse a file that unpacks to more
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size)]
    pub(super) max_size: u64,
    /// Check everything and store nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) parts: Parts,
}

fn tag(text: &str) -> Result<Tag, String> {
    let wrong = "expected a cache tag and a magic number, such as cpython-313-3571";
    Tag::from_name(text).ok_or_else(|| wrong.to_owned())
}
