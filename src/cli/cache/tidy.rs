//! `cache gc` and `cache clear`: less in the store, or nothing.

use ::cache::{Access, Limits};

use super::arguments::{Gc, Parts};
use super::quantity::{n_files, shown_size};
use super::{Command, asked};
use crate::cli::Failure;

/// Runs `gc`.
pub(super) fn gc(command: &mut Command<'_>, options: &Gc) -> Result<i32, Failure> {
    let root = command.open_root()?;
    let limits = if options.max_size.is_none() && options.max_age.is_none() {
        command.limits()?
    } else {
        Limits {
            max_bytes: options.max_size,
            max_age: options.max_age,
        }
    };
    let removal = root.evict(&limits).map_err(Failure::of)?;
    if removal.busy {
        return Err(command.busy());
    }
    let mut merged = 0;
    if options.merge {
        for tag in root.tags() {
            let store = command.open(&tag, Access::ReadWrite)?;
            let before = store.n_packs();
            if before > 1 {
                let done = store.merge_packs(|_, _| true).map_err(Failure::of)?;
                done.ok_or_else(|| command.busy())?;
                merged += before - store.n_packs();
            }
        }
    }
    let report = serde_json::json!({
        "files": removal.files,
        "bytes": removal.bytes,
        "remaining": removal.remaining,
        "merged": merged,
    });
    let (files, bytes) = (n_files(removal.files), shown_size(removal.bytes));
    let remaining = shown_size(removal.remaining);
    command.print(&report, |out| {
        writeln!(
            out,
            "removed {files} ({bytes}); {remaining} of entries stay"
        )?;
        if merged > 0 {
            writeln!(out, "merged: {merged} fewer packs")?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// Runs `clear`.
pub(super) fn clear(command: &mut Command<'_>, parts: &Parts) -> Result<i32, Failure> {
    let root = command.open_root()?;
    let asked = asked(parts)?;
    let chosen = match asked {
        Some(_) => Some(command.chosen(&root, parts)?),
        None => None,
    };
    let cleared = root.clear(chosen.as_deref()).map_err(Failure::of)?;
    if cleared.busy {
        return Err(command.busy());
    }
    let report = serde_json::json!({
        "files": cleared.files,
        "bytes": cleared.bytes,
        "in_use": cleared.in_use,
    });
    let (files, bytes, in_use) = (
        n_files(cleared.files),
        shown_size(cleared.bytes),
        cleared.in_use,
    );
    command.print(&report, |out| {
        writeln!(out, "removed {files} ({bytes})")?;
        if cleared.in_use > 0 {
            writeln!(out, "left, because they are being written: {in_use}")?;
        }
        Ok(())
    })?;
    Ok(0)
}
