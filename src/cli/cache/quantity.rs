//! Sizes, ages and counts, as they are shown.

use std::time::SystemTime;

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
    fn figures_have_units() {
        assert_eq!(shown_size(1_572_864), "1.5 MiB");
        assert_eq!(
            (shown_age(59), shown_age(7_300)),
            ("59 s".into(), "2 h".into())
        );
    }
}
