//! The record of hits: JSON lines, in the order in which they happened.
//!
//! Lines are written whole, by one `write` at a time, to a file opened for appending, so that the
//! lines of several processes do not mix. Few lines are written at once, so that a program that is
//! killed leaves its hits behind; many are collected in memory first. What could not be written
//! is counted and told at the end. The buffer is emptied before a fork: no line is written twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::breakpoint::{Breakpoint, Tier};
use crate::probe::Probe;
use crate::snapshot::Snapshot;

const BUFFER_SIZE: usize = 64 * 1024;
/// In each period this many lines are written at once; those beyond wait for company.
const PROMPT_LINES: u32 = 100;
const PERIOD: Duration = Duration::from_millis(10);

enum Target {
    Stdout,
    File(File),
}

struct Record {
    target: Target,
    buffer: Vec<u8>,
    period: Instant,
    lines_in_period: u32,
    lost: u64,
    problem: Option<io::Error>,
}

static RECORD: Mutex<Option<Record>> = Mutex::new(None);

#[derive(Serialize)]
struct HitLine<'a> {
    event: &'static str,
    file: &'a str,
    line: u32,
    function: &'a str,
    hits: u64,
    kind: &'static str,
    tier: &'static str,
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// What a line about one hit says of it beside the breakpoint.
pub(crate) struct HitFacts<'a> {
    /// How often the breakpoint was hit.
    pub(crate) hits: u64,
    /// What a log breakpoint wrote.
    pub(crate) message: Option<&'a str>,
    /// What the condition raised.
    pub(crate) error: Option<&'a str>,
}

#[derive(Serialize)]
struct BreakpointLine<'a> {
    event: &'static str,
    file: &'a str,
    requested_line: u32,
    line: Option<u32>,
    /// All of them, where functions are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    kind: &'static str,
    verified: bool,
    tier: Option<&'static str>,
    condition: Option<&'a str>,
    hit_condition: Option<String>,
    hits: u64,
    fired: u64,
    evaluations: Option<u64>,
    true_share: Option<f64>,
    errors: u64,
    last_error: Option<String>,
    nanoseconds: u64,
    reason: Option<String>,
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshots: Option<u64>,
    pid: u32,
}

fn lock() -> MutexGuard<'static, Option<Record>> {
    RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts recording to `path`, or to standard output when it is `-`.
pub(crate) fn open(path: &str) -> io::Result<()> {
    let target = if path == "-" {
        Target::Stdout
    } else {
        Target::File(OpenOptions::new().create(true).append(true).open(path)?)
    };
    *lock() = Some(Record {
        target,
        buffer: Vec::with_capacity(BUFFER_SIZE),
        period: Instant::now(),
        lines_in_period: 0,
        lost: 0,
        problem: None,
    });
    Ok(())
}

/// Whether hits are recorded.
pub(crate) fn is_open() -> bool {
    lock().is_some()
}

/// Records one hit; false when nothing is recorded.
pub(crate) fn record_hit(probe: &Probe, breakpoint: &Breakpoint, hit: &HitFacts<'_>) -> bool {
    let request = &breakpoint.request;
    append(&HitLine {
        event: "hit",
        file: &breakpoint.file(),
        line: probe.line,
        function: &probe.function,
        hits: hit.hits,
        kind: request.kind.as_str(),
        tier: probe.tier.as_str(),
        message: hit.message,
        error: hit.error,
    })
}

/// Records a snapshot, on the line after that of its hit; false when nothing is recorded.
pub(crate) fn record_snapshot(snapshot: &Snapshot) -> bool {
    append(snapshot)
}

/// Records where a breakpoint ended up; false when nothing is recorded.
pub(crate) fn record_breakpoint(breakpoint: &Breakpoint) -> bool {
    let request = &breakpoint.request;
    let whereabouts = breakpoint.whereabouts();
    let figures = &breakpoint.figures;
    let file = breakpoint.file();
    append(&BreakpointLine {
        event: "breakpoint",
        file: &file,
        function: request.function.as_ref().map(ToString::to_string),
        requested_line: request.line,
        requested_column: request.column,
        line: whereabouts.line(),
        lines: request.function.as_ref().map(|_| whereabouts.lines.clone()),
        kind: request.kind.as_str(),
        verified: whereabouts.tier.is_some(),
        tier: whereabouts.tier.map(Tier::as_str),
        condition: request.condition.as_deref(),
        hit_condition: request.hit_rule.as_ref().map(ToString::to_string),
        hits: breakpoint.hits(),
        fired: breakpoint.fired(),
        evaluations: figures.evaluations(),
        true_share: figures.true_share(),
        errors: figures.errors(),
        last_error: figures.last_error(),
        nanoseconds: figures.nanoseconds(),
        reason: breakpoint
            .exhausted()
            .map(str::to_owned)
            .or(whereabouts.reason),
        message: request.message.as_ref().map(|message| &*message.text),
        snapshots: breakpoint.snapshots(),
        pid: std::process::id(),
    })
}

fn append(line: &impl Serialize) -> bool {
    let mut record = lock();
    let Some(record) = record.as_mut() else {
        return false;
    };
    // INVARIANT: writing plain numbers and text into a vector cannot fail.
    let _ = serde_json::to_writer(&mut record.buffer, line);
    record.buffer.push(b'\n');
    record.lines_in_period += 1;
    if record.lines_in_period > PROMPT_LINES && record.period.elapsed() >= PERIOD {
        record.period = Instant::now();
        record.lines_in_period = 0;
    }
    if record.lines_in_period <= PROMPT_LINES || record.buffer.len() >= BUFFER_SIZE {
        record.write();
    }
    true
}

/// Writes what is waiting.
pub(crate) fn flush() {
    if let Some(record) = lock().as_mut() {
        record.write();
    }
}

/// Writes what is waiting and ends the recording; a message when lines were lost.
pub(crate) fn close() -> Option<String> {
    let mut record = lock().take()?;
    record.write();
    let problem = record.problem?;
    Some(format!(
        "{} events could not be written: {problem}",
        record.lost
    ))
}

impl Record {
    fn write(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let result = match &mut self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&self.buffer).and_then(|()| out.flush())
            }
            Target::File(file) => file.write_all(&self.buffer),
        };
        if let Err(problem) = result {
            self.lost += self.buffer.split(|byte| *byte == b'\n').count() as u64 - 1;
            self.problem.get_or_insert(problem);
        }
        self.buffer.clear();
    }
}
