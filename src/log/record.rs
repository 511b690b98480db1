//! One record of the log, and how it is written: as its message, or as one line of JSON.
//!
//! ```json
//! {"event":"log","time":"2025-03-01T12:00:00.000001Z","pid":41,"file":"/srv/app.py","line":7,
//!  "function":"save","thread":"MainThread","thread_id":1403,"message":"x=1","breakpoint":3}
//! ```
//! A line of JSON begins with its event: `log`, `snapshot` or `dropped`. Times are RFC 3339, in
//! UTC, with microseconds. Readers have to pass over events and fields that they do not know.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// A message of a log breakpoint, made while the program's thread runs.
pub(crate) struct Record<'a> {
    /// The file, as its breakpoint names it.
    pub(crate) file: &'a str,
    /// The line of the probe.
    pub(crate) line: u32,
    /// `co_qualname` of the code that holds the probe.
    pub(crate) function: &'a str,
    /// The breakpoint's id.
    pub(crate) breakpoint: u64,
    /// The finished message.
    pub(crate) message: &'a str,
}

/// The thread that made a record.
#[derive(Clone, Default)]
pub(crate) struct ThreadName {
    /// What `threading.get_ident` says.
    pub(crate) id: u64,
    /// Its name, where `threading` knows it.
    pub(crate) name: Option<String>,
}

#[derive(Serialize)]
struct LogLine<'a> {
    event: &'static str,
    time: &'a str,
    pid: u32,
    file: &'a str,
    line: u32,
    function: &'a str,
    thread: Option<&'a str>,
    thread_id: u64,
    message: &'a str,
    breakpoint: u64,
}

#[derive(Serialize)]
struct DroppedLine<'a> {
    event: &'static str,
    time: &'a str,
    pid: u32,
    count: u64,
    reason: &'a str,
}

/// Appends one value as a line of JSON.
pub(super) fn line_of_json(bytes: &mut Vec<u8>, line: &impl Serialize) {
    // INVARIANT: writing plain numbers and text into a vector cannot fail.
    let _ = serde_json::to_writer(&mut *bytes, line);
    bytes.push(b'\n');
}

/// Appends a record as one line of JSON.
pub(super) fn json(bytes: &mut Vec<u8>, record: &Record<'_>, thread: &ThreadName) {
    let line = LogLine {
        event: "log",
        time: &time_stamp(SystemTime::now()),
        pid: std::process::id(),
        file: record.file,
        line: record.line,
        function: record.function,
        thread: thread.name.as_deref(),
        thread_id: thread.id,
        message: record.message,
        breakpoint: record.breakpoint,
    };
    line_of_json(bytes, &line);
}

/// Appends a text as it is, with the end of a line.
pub(super) fn text(bytes: &mut Vec<u8>, message: &str) {
    bytes.extend_from_slice(message.as_bytes());
    bytes.push(b'\n');
}

/// Appends what tells, in the stream itself, how many records it lacks at this place.
pub(super) fn dropped(bytes: &mut Vec<u8>, count: u64, reason: &str, as_json: bool) {
    if as_json {
        let line = DroppedLine {
            event: "dropped",
            time: &time_stamp(SystemTime::now()),
            pid: std::process::id(),
            count,
            reason,
        };
        line_of_json(bytes, &line);
    } else {
        let messages = if count == 1 { "message" } else { "messages" };
        text(
            bytes,
            &format!("[dapper] {count} {messages} dropped: {reason}"),
        );
    }
}

/// A time as RFC 3339 has it: UTC, microseconds.
pub(crate) fn time_stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The Gregorian date of a day counted from 1970-01-01, in years that begin in March.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let at = |seconds, micros| {
            time_stamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
        };
        assert_eq!(at(0, 7), "1970-01-01T00:00:00.000007Z");
        assert_eq!(at(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000Z");
        assert_eq!(at(1_709_251_199, 0), "2024-02-29T23:59:59.000000Z");
        assert_eq!(at(1_735_689_600, 0), "2025-01-01T00:00:00.000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn a_message_stays_one_line_of_json() {
        let record = Record {
            file: "/a \"b\".py",
            line: 7,
            function: "C.f.<locals>.g",
            breakpoint: 3,
            message: "x\ny\u{1}",
        };
        let mut bytes = Vec::new();
        json(&mut bytes, &record, &ThreadName::default());
        let written = String::from_utf8(bytes).expect("UTF-8");
        assert_eq!(written.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(read["message"], "x\ny\u{1}");
        assert_eq!(read["file"], "/a \"b\".py");
        assert!(read["thread"].is_null());
    }
}
