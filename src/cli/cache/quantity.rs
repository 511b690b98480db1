//! Sizes and ages, as they are typed and as they are shown.

use std::time::{Duration, SystemTime};

const SIZE_UNITS: [(&str, u64); 5] = [
    ("", 1),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
];
const AGE_UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("h", 60 * 60),
    ("d", 24 * 60 * 60),
    ("w", 7 * 24 * 60 * 60),
];

/// Reads `500M`, `2G` or a number of bytes; units are powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 500M or 2G");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let unit = unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, factor) = factor.ok_or_else(wrong)?;
    number.checked_mul(*factor).ok_or_else(wrong)
}

/// Reads `12h` or `30d`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not an age such as 12h or 30d");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor = AGE_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, factor) = factor.ok_or_else(wrong)?;
    let seconds = number.checked_mul(*factor).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

fn split(text: &str) -> Option<(u64, String)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

/// `17 bytes`, `1.5 MiB`.
#[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
pub(super) fn shown_size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (name, unit) in units {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes as f64 / unit as f64);
        }
    }
    format!("{bytes} bytes")
}

/// `1 entry`, `2 entries`.
pub(super) fn n_entries(count: u64) -> String {
    format!("{count} {}", if count == 1 { "entry" } else { "entries" })
}

/// `1 file`, `2 files`.
pub(super) fn n_files(count: u64) -> String {
    format!("{count} file{}", if count == 1 { "" } else { "s" })
}

/// Seconds since a moment; none for one that is still to come.
pub(super) fn seconds_since(moment: SystemTime) -> u64 {
    let since = SystemTime::now().duration_since(moment);
    since.unwrap_or_default().as_secs()
}

/// `3 d`, `5 h`, `12 min`.
pub(super) fn shown_age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_numbers_with_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("500M", 500 << 20),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("2 GB", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in [
            "",
            "G",
            "-1",
            "1.5G",
            "5x",
            "99999999999T",
            "99999999999999999999",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(age("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(age("30d"), Ok(Duration::from_secs(2_592_000)));
        for wrong in ["", "30", "d", "-1d", "1y", "9999999999999999999w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shown_size(1_572_864), "1.5 MiB");
        assert_eq!(
            (shown_age(59), shown_age(7_300)),
            ("59 s".into(), "2 h".into())
        );
    }
}
