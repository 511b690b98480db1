//! `cache verify`: every checksum of every file, and the repair of what is damaged.

use std::collections::HashMap;
use std::io::{self, Write};

use ::cache::{Access, Damage, FORMAT_VERSION, Key, Origin, Repair, Root, Store};
use serde::Serialize;

use super::arguments::Verify;
use super::quantity::{n_entries, n_files, shown_size};
use super::{Command, shown, shown_source};
use crate::cli::Failure;

/// The report, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
struct Report {
    interpreters: usize,
    entries: u64,
    bytes: u64,
    damage: Vec<Found>,
    repaired: bool,
    /// Files that a repair removed or replaced.
    repaired_files: u64,
    /// Sound entries of those files.
    kept: u64,
    /// Entries that were damaged and are gone.
    lost: Vec<Lost>,
    /// More of them, of which not even the source is known.
    lost_of_unknown_source: u64,
    /// What a repair did not touch.
    left: Vec<Found>,
}

/// Something damaged.
#[derive(Debug, Serialize)]
struct Found {
    file: String,
    /// Path of the source; none when it is not known, or the file as a whole is meant.
    source: Option<String>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Lost {
    path: String,
    source: String,
    variant: String,
}

/// Runs the command; the status is 1 when damage is left.
pub(super) fn run(command: &mut Command<'_>, options: &Verify) -> Result<i32, Failure> {
    let root = command.open_root()?;
    let tags = command.chosen(&root, &options.parts)?;
    let mut report = Report {
        interpreters: tags.len(),
        ..Report::default()
    };
    let mut total = 0;
    for tag in &tags {
        let usage = root.usage(tag).map_err(Failure::of)?;
        total += usage.bytes();
        report.entries += usage.pack_entries + usage.overlay_files;
        for reason in usage.untrusted {
            let file = tag.to_string();
            report.left.push(Found {
                file,
                source: None,
                reason,
            });
        }
    }
    report.bytes = total;
    let bar = command
        .environment
        .progress_in(total, "{bytes}/{total_bytes}");
    let mut repaired = Ok(());
    for tag in &tags {
        let store = command.open(tag, Access::ReadOnly)?;
        let damage = store.damage_with(&mut |bytes| bar.inc(bytes));
        if !damage.is_empty() {
            let sources = sources(&store);
            report
                .damage
                .extend(damage.iter().map(|found| of(found, &sources)));
            drop(store);
            if options.repair {
                let store = command.open(tag, Access::ReadWrite)?;
                repaired = mend(command, &store, &mut report, &sources);
            } else {
                report
                    .left
                    .extend(damage.iter().map(|found| of(found, &sources)));
            }
        }
        if repaired.is_err() {
            break;
        }
    }
    bar.finish_and_clear();
    repaired?;
    verify_memo(command, &root, options.repair, &mut report)?;
    report.repaired = options.repair && !report.damage.is_empty();
    command.print(&report, |out| print(out, &report))?;
    Ok(i32::from(!report.left.is_empty()))
}

fn mend(
    command: &Command<'_>,
    store: &Store,
    report: &mut Report,
    sources: &HashMap<Key, Origin>,
) -> Result<(), Failure> {
    let repair = store.repair().map_err(Failure::of)?;
    let Repair {
        files,
        kept,
        lost,
        lost_nameless,
        left,
    } = repair.ok_or_else(|| command.busy())?;
    report.repaired_files += files;
    report.kept += kept;
    report.lost_of_unknown_source += lost_nameless;
    report.lost.extend(lost.into_iter().map(|origin| Lost {
        path: origin.path,
        source: origin.source.to_string(),
        variant: origin.variant,
    }));
    report
        .left
        .extend(left.iter().map(|found| of(found, sources)));
    Ok(())
}

fn verify_memo(
    command: &Command<'_>,
    root: &Root,
    repair: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let memo = root.memo();
    let Some(why) = memo.damage else {
        return Ok(());
    };
    let file = command.root.join(format!("v{FORMAT_VERSION}/memo"));
    let found = || Found {
        file: file.display().to_string(),
        source: None,
        reason: why.to_string(),
    };
    report.damage.push(found());
    let ours = !matches!(why.slug(), "untrusted" | "unreadable");
    if repair && ours {
        root.repair_memo().map_err(Failure::of)?;
        report.repaired_files += 1;
    } else {
        report.left.push(found());
    }
    Ok(())
}

/// Where the entries came from that can be listed still.
fn sources(store: &Store) -> HashMap<Key, Origin> {
    let listed = store.list().into_iter();
    listed.map(|listed| (listed.key, listed.origin)).collect()
}

fn of(damage: &Damage, sources: &HashMap<Key, Origin>) -> Found {
    let origin = damage.key.and_then(|key| sources.get(&key));
    Found {
        file: damage.file.display().to_string(),
        source: origin.map(|origin| origin.path.clone()),
        reason: damage.why.to_string(),
    }
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for found in &report.damage {
        tell(out, found)?;
    }
    let (entries, size) = (n_entries(report.entries), shown_size(report.bytes));
    if report.damage.is_empty() && report.left.is_empty() {
        return writeln!(out, "{entries} ({size}): all sound");
    }
    if report.repaired {
        let (files, kept) = (n_files(report.repaired_files), n_entries(report.kept));
        writeln!(out, "repaired {files}: {kept} in them sound, and kept")?;
        for lost in &report.lost {
            let (path, variant) = (shown_source(&lost.path), shown(&lost.variant));
            writeln!(out, "lost: {path} ({variant})")?;
        }
        if report.lost_of_unknown_source > 0 {
            let count = n_entries(report.lost_of_unknown_source);
            writeln!(out, "lost: {count} of unknown sources")?;
        }
        for left in &report.left {
            write!(out, "left: ")?;
            tell(out, left)?;
        }
        return Ok(());
    }
    for left in report.left.iter().filter(|_| report.damage.is_empty()) {
        tell(out, left)?;
    }
    let count = report.left.len();
    writeln!(
        out,
        "{entries} ({size}): {count} damaged; mend what can be mended with --repair"
    )
}

fn tell(out: &mut dyn Write, found: &Found) -> io::Result<()> {
    let (file, reason) = (shown(&found.file), &found.reason);
    match &found.source {
        Some(source) => writeln!(out, "{file}: entry of {}: {reason}", shown_source(source)),
        None => writeln!(out, "{file}: {reason}"),
    }
}
