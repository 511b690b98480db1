//! `dis`: the bytecode as compiled and with probes, side by side.
//!
//! Both sides are `instrument::disassemble`. A variant is its original plus inserted
//! instructions, so rows pair up greedily: a row that only the right side has stands alone, and
//! label numbers, which inserting can shift, do not keep rows apart.

use std::io::{self, Write};

use instrument::Wanted;
use serde::Serialize;

use super::arguments::{self, split_function};
use super::terminal::Environment;
use super::{Failure, code, report};

#[derive(Serialize)]
struct Output {
    file: String,
    python: String,
    function: Option<String>,
    lines: Vec<Snapped>,
    untouched: Vec<String>,
    original: String,
    variant: String,
}

#[derive(Serialize)]
struct Snapped {
    requested_line: u32,
    line: Option<u32>,
    reason: Option<String>,
}

/// Runs the command.
pub(super) fn run(
    arguments: &arguments::Dis,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let (file, function) = split_function(&arguments.target);
    let refused = |error: instrument::Error| Failure::file(format!("{}: {error}", file.display()));
    let code = code::load(&file, &arguments.python, environment)?;
    let wanted = match &*arguments.lines {
        [] => Wanted::EveryLine,
        lines => Wanted::Lines(lines),
    };
    let variant =
        instrument::instrument(code.version, &code.marshalled, wanted).map_err(refused)?;
    let text = |marshalled: &[u8]| {
        instrument::disassemble(code.version, marshalled, function.as_deref()).map_err(refused)
    };
    let lines = variant.lines.iter().map(|snapped| Snapped {
        requested_line: snapped.requested,
        line: snapped.actual.as_ref().ok().copied(),
        reason: snapped.actual.as_ref().err().map(ToString::to_string),
    });
    let untouched = variant.untouched.iter().map(|untouched| {
        format!(
            "{} (line {}): {}",
            untouched.qualname, untouched.first_line, untouched.reason
        )
    });
    let output = Output {
        file: file.display().to_string(),
        python: code.version.to_string(),
        lines: lines.collect(),
        untouched: untouched.collect(),
        original: text(&code.marshalled)?,
        variant: text(&variant.code)?,
        function,
    };
    let printed = if json {
        report::json(out, &output)
    } else {
        print(out, &output)
    };
    printed.map_err(Failure::output)?;
    Ok(0)
}

fn print(out: &mut dyn Write, output: &Output) -> io::Result<()> {
    writeln!(out, "{} (CPython {})", output.file, output.python)?;
    for line in &output.lines {
        let requested = line.requested_line;
        match (line.line, &line.reason) {
            (Some(actual), _) if actual == requested => writeln!(out, "line {requested}: probe")?,
            (Some(actual), _) => writeln!(out, "line {requested}: probe on line {actual}")?,
            (None, Some(reason)) => writeln!(out, "line {requested}: {reason}")?,
            (None, None) => {}
        }
    }
    for untouched in &output.untouched {
        writeln!(out, "untouched: {untouched}")?;
    }
    writeln!(out)?;
    let original: Vec<&str> = output.original.lines().collect();
    let variant: Vec<&str> = output.variant.lines().collect();
    let width = original
        .iter()
        .map(|row| row.chars().count())
        .max()
        .unwrap_or_default();
    for (left, right) in pairs(&original, &variant) {
        let sign = if left.is_empty() && !right.is_empty() {
            '+'
        } else {
            '|'
        };
        let row = format!("{left:<width$} {sign} {right}");
        writeln!(out, "{}", row.trim_end().trim_end_matches('|').trim_end())?;
    }
    Ok(())
}

/// Pairs rows that are the same but for labels; every other row stands alone on its side.
fn pairs<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut rows = Vec::with_capacity(right.len());
    let mut behind = right.iter().copied().peekable();
    for &row in left {
        while let Some(inserted) = behind.next_if(|next| is_inserted(row, next)) {
            rows.push(("", inserted));
        }
        rows.push((row, behind.next().unwrap_or_default()));
    }
    rows.extend(behind.map(|inserted| ("", inserted)));
    rows
}

fn is_inserted(expected: &str, row: &str) -> bool {
    shape(expected) != shape(row)
}

/// What does not change when instructions are inserted: the opcode, or what the row is about.
fn shape(row: &str) -> Vec<&str> {
    if !row.starts_with(' ') {
        // A heading counts constants and stack, which probes raise.
        return row.split(" (line").take(1).collect();
    }
    row.split_whitespace()
        .filter(|word| !word.starts_with('>'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn inserted_rows_stand_alone() {
        let left = [
            "f (line 1, stack 1, constants 2)",
            "    1:0-4   RESUME 0",
            "    2:0-4 >1 POP_TOP",
        ];
        let right = [
            "f (line 1, stack 2, constants 3)",
            "    1:0-4   RESUME 0",
            "    2  >1 LOAD_CONST 2",
            "    2   POP_TOP",
            "    2:0-4   POP_TOP",
        ];
        let rows = pairs(&left, &right);
        let alone: Vec<&str> = rows
            .iter()
            .filter(|row| row.0.is_empty())
            .map(|row| row.1)
            .collect();
        assert_eq!(alone, ["    2  >1 LOAD_CONST 2", "    2   POP_TOP"]);
        assert_eq!(rows.len(), right.len());
    }
}
