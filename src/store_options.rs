//! What a store is kept within and whose stores are used: how it is written, and what it means.
//!
//! The extension takes both from its session or from the environment, the command line from the
//! environment; neither reads anything here.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use cache::{Limits, Trust};

/// Names the stores of other users that are used, as `PATH` names folders.
pub const TRUST: &str = "DAPPER_CACHE_TRUST";
/// How many bytes a store may take.
pub const MAX_SIZE: &str = "DAPPER_CACHE_MAX_SIZE";
/// How long something may be unused before it goes.
pub const MAX_AGE: &str = "DAPPER_CACHE_MAX_AGE";

const NO_LIMIT: &str = "none";

/// The stores that a list of folders names. A relative one counts from the working directory.
#[must_use]
pub fn trust(list: Option<&OsStr>) -> Trust {
    let folders = list.into_iter().flat_map(std::env::split_paths);
    let absolute = |folder: PathBuf| std::path::absolute(folder).ok();
    Trust::of(folders.filter_map(absolute))
}

/// Sets the limits that texts say; what is not said stays.
pub fn say(
    limits: &mut Limits,
    max_size: Option<&str>,
    max_age: Option<&str>,
) -> Result<(), String> {
    if let Some(text) = max_size {
        limits.max_bytes = or_none(text, size)?;
    }
    if let Some(text) = max_age {
        limits.max_age = or_none(text, age)?;
    }
    Ok(())
}

/// The limits that the environment says, and what is wrong with it, if something is.
pub fn limits_of(variable: &dyn Fn(&str) -> Option<OsString>) -> (Limits, Option<String>) {
    let mut limits = Limits::STANDARD;
    let mut problem = None;
    let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
    for (name, size, age) in [
        (MAX_SIZE, text(MAX_SIZE), None),
        (MAX_AGE, None, text(MAX_AGE)),
    ] {
        if let Err(why) = say(&mut limits, size.as_deref(), age.as_deref()) {
            problem = Some(format!("{name}: {why}"));
        }
    }
    (limits, problem)
}

fn or_none<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == NO_LIMIT {
        return Ok(None);
    }
    read(text).map(Some)
}

/// Reads a number of bytes such as `500M` or `2G`.
pub fn size(text: &str) -> Result<u64, String> {
    let units = [
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("T", 1 << 40),
    ];
    number(text, &units, 1)
        .ok_or_else(|| format!("{text:?} is not a size: use a number of bytes, 500M or 2G"))
}

/// Reads a time such as `30d` or `12h`.
pub fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];
    number(text, &units, 0)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not an age: use 30d or 12h"))
}

/// A whole number and one of the units; without a unit it counts `bare`, which 0 forbids.
fn number(text: &str, units: &[(&str, u64)], bare: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit {
        "" if bare > 0 => bare,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_have_units() {
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("500M"), Ok(500 << 20));
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86400)));
        for text in ["", "M", "-1", "1.5G", "2 G", "2g", "99999999999T", "x"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(age("30").is_err() && age("d").is_err());
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        let mut said = Limits::STANDARD;
        say(&mut said, Some("none"), None).expect("is well formed");
        assert_eq!(
            (said.max_bytes, said.max_age),
            (None, Limits::STANDARD.max_age)
        );
        assert!(say(&mut said, None, Some("soon")).is_err());
        let value = |name: &str| (name == MAX_SIZE).then(|| "much".into());
        let (kept, problem) = limits_of(&value);
        assert_eq!(kept.max_bytes, Limits::STANDARD.max_bytes);
        let problem = problem.expect("is told");
        assert!(
            problem.contains(MAX_SIZE) && problem.contains("much"),
            "{problem}"
        );
    }
}
