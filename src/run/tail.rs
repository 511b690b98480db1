//! `dapper tail`: shows what was recorded, and what is being recorded.
//!
//! Reads a file of JSON lines as log targets write it, one record a line; a line that is none of
//! ours is shown as it is. Following, it waits for whole lines, starts again when the file was
//! cut short or replaced, and waits for a file that is not there yet.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

const PAUSE: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  dapper log app.py:7 'x={x}' --to jsonl:log.jsonl -- python app.py &
  dapper tail --follow log.jsonl
  dapper tail --json log.jsonl | jq .message";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Tail {
    /// A file of JSON lines that log messages were written to.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Go on showing what is added, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Show the lines as they are, those that are JSON and no others.
    #[arg(long)]
    json: bool,
}

/// How it ended, other than well.
pub(super) enum End {
    /// The file cannot be read, or the output not written.
    Failed(String),
    /// The user has seen enough.
    Interrupted,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A closed pipe means that the reader has seen enough, as in `| head`.
            io::ErrorKind::BrokenPipe => Self::Interrupted,
            _ => Self::Failed(format!("cannot write: {error}")),
        }
    }
}

/// Shows the file; `interrupted` is asked while there is nothing to do.
pub(super) fn run(
    tail: &Tail,
    out: &mut dyn Write,
    interrupted: &dyn Fn() -> bool,
) -> Result<(), End> {
    let mut reading = Reading::default();
    loop {
        match reading.open(&tail.file) {
            Ok(()) => {}
            Err(error) if tail.follow && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = tail.file.display();
                return Err(End::Failed(format!("cannot read {file}: {error}")));
            }
        }
        while let Some(line) = reading.line(!tail.follow) {
            show(&line, tail.json, out)?;
            if interrupted() {
                return Err(End::Interrupted);
            }
        }
        out.flush()?;
        if !tail.follow {
            return Ok(());
        }
        if interrupted() {
            return Err(End::Interrupted);
        }
        std::thread::sleep(PAUSE);
    }
}

/// A file that may grow, shrink or be replaced.
#[derive(Default)]
struct Reading {
    file: Option<BufReader<File>>,
    position: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Reading {
    /// Opens the file, or starts again where it is not the one that was read so far.
    fn open(&mut self, path: &Path) -> io::Result<()> {
        let found = path.metadata()?;
        if let Some(file) = &self.file {
            let known = file.get_ref().metadata()?;
            if is_same(&found, &known) && found.len() >= self.position {
                return Ok(());
            }
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(0))?;
        *self = Self {
            file: Some(BufReader::new(file)),
            ..Self::default()
        };
        Ok(())
    }

    /// The next line; one without an end only when it is `last`.
    fn line(&mut self, last: bool) -> Option<Vec<u8>> {
        let file = self.file.as_mut()?;
        // What cannot be read now is asked for again when the file is looked at again.
        let read = file.read_until(b'\n', &mut self.begun).unwrap_or(0);
        self.position += read as u64;
        let ended = self.begun.last() == Some(&b'\n');
        let has_line = ended || (last && !self.begun.is_empty());
        has_line.then(|| std::mem::take(&mut self.begun))
    }
}

#[cfg(unix)]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    one.created().ok() == other.created().ok()
}

fn show(line: &[u8], as_json: bool, out: &mut dyn Write) -> io::Result<()> {
    let line = line.trim_ascii_end();
    let record = serde_json::from_slice::<Map<String, Value>>(line);
    match record {
        Ok(_) if as_json => {
            out.write_all(line)?;
            out.write_all(b"\n")
        }
        Ok(record) => out.write_all(readable(&record).as_bytes()),
        Err(_) if as_json => Ok(()),
        Err(_) => {
            out.write_all(line)?;
            out.write_all(b"\n")
        }
    }
}

/// A record as a person reads it, with its line end.
fn readable(record: &Map<String, Value>) -> String {
    let time = text(record, "time");
    let file = text(record, "file");
    let line = record
        .get("line")
        .map_or_else(String::new, Value::to_string);
    let function = text(record, "function");
    let place = format!("{file}:{line} {function}");
    let thread = text(record, "thread");
    match text(record, "event").as_str() {
        "log" => format!("{time} {place} [{thread}] {}\n", text(record, "message")),
        "dropped" => {
            let count = record.get("count").and_then(Value::as_u64).unwrap_or(0);
            format!("{time} {count} dropped: {}\n", text(record, "reason"))
        }
        "snapshot" => snapshot(record, &format!("{time} {place} [{thread}]")),
        _ => format!("{}\n", Value::Object(record.clone())),
    }
}

fn snapshot(record: &Map<String, Value>, opening: &str) -> String {
    let mut first = format!("{opening} snapshot");
    if let Some(hits @ 1..) = record.get("hits").and_then(Value::as_u64) {
        let _ = write!(first, " of hit {hits}");
    }
    if let Some(task) = record.get("task").and_then(Value::as_str) {
        let _ = write!(first, " in task {task}");
    }
    if record.get("truncated").and_then(Value::as_bool) == Some(true) {
        first.push_str(", cut short");
    }
    let mut lines = vec![first];
    for row in list(record, "expressions") {
        let expression = field(row, "expression");
        lines.push(match row.get("error").and_then(Value::as_str) {
            Some(error) => format!("    {expression} = <error: {}>", indented(error)),
            None => format!("    {expression} = {}", indented(field(row, "value"))),
        });
    }
    for frame in list(record, "stack") {
        let line = frame.get("line").map_or_else(String::new, Value::to_string);
        let (file, function) = (field(frame, "file"), field(frame, "function"));
        lines.push(format!("  {file}:{line} {function}"));
        let locals = frame.get("locals").and_then(Value::as_object);
        for (name, value) in locals.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            lines.push(format!("    {name} = {}", indented(value)));
        }
    }
    lines.join("\n") + "\n"
}

/// A value of several lines below its name.
fn indented(value: &str) -> String {
    value.replace('\n', "\n      ")
}

fn list<'a>(record: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    record
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn field<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn text(record: &Map<String, Value>, key: &str) -> String {
    record
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, as_json: bool) -> String {
        let mut out = Vec::new();
        show(line.as_bytes(), as_json, &mut out).expect("writes");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn records_are_shown_for_people_or_as_they_are() {
        let line = r#"{"event":"log","time":"T","file":"a.py","line":7,"function":"f","thread":"Main","message":"x=1"}"#;
        assert_eq!(shown(line, false), "T a.py:7 f [Main] x=1\n");
        assert_eq!(shown(line, true), format!("{line}\n"));
        assert_eq!(shown("plain", false), "plain\n");
        assert_eq!(shown("plain", true), "");
    }

    #[test]
    fn snapshots_are_shown_line_by_line() {
        let line = r#"{"event":"snapshot","time":"T","file":"a.py","line":7,"function":"f","thread":"Main","hits":3,"task":"t","truncated":true,"stack":[{"file":"a.py","line":7,"function":"f","locals":{"x":"1","a":"2\n3"}},{"file":"b.py","line":1,"function":"g"}],"expressions":[{"expression":"x + 1","value":"2"},{"expression":"y","error":"NameError: y"}]}"#;
        let expected = "\
T a.py:7 f [Main] snapshot of hit 3 in task t, cut short
    x + 1 = 2
    y = <error: NameError: y>
  a.py:7 f
    a = 2
      3
    x = 1
  b.py:1 g
";
        assert_eq!(shown(line, false), expected);
    }

    #[test]
    fn a_file_that_grows_and_is_cut_short_is_followed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let mut reading = Reading::default();
        let mut lines = || {
            reading.open(&path).expect("opens");
            let lines = std::iter::from_fn(|| reading.line(false));
            String::from_utf8(lines.flatten().collect()).expect("UTF-8")
        };
        std::fs::write(&path, "one\ntw").expect("writes");
        assert_eq!(lines(), "one\n");
        std::fs::write(&path, "one\ntwo\n").expect("writes");
        assert_eq!(lines(), "two\n");
        std::fs::write(&path, "new\n").expect("writes");
        assert_eq!(lines(), "new\n");
    }
}
