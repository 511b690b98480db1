//! `lines`: the functions of a file, their spans, and the lines that can hold a breakpoint.
//!
//! The compiled code decides; where the source can be parsed, the last line of a function is
//! that of its text, which counts a closing docstring or `pass`.

use std::io::{self, Write};

use instrument::FunctionLines;
use instrument::source::{self, SourceFunction};
use serde::Serialize;

use super::arguments;
use super::terminal::Environment;
use super::{Failure, code, report};

#[derive(Serialize)]
struct Output<'a> {
    file: String,
    python: String,
    functions: Vec<Function<'a>>,
    breakable: Vec<u32>,
}

#[derive(Serialize)]
struct Function<'a> {
    qualname: &'a str,
    first_line: u32,
    last_line: u32,
    depth: u32,
    lines: &'a [u32],
    untouched: Option<String>,
}

/// Runs the command.
pub(super) fn run(
    arguments: &arguments::Lines,
    json: bool,
    environment: &Environment<'_>,
    out: &mut dyn Write,
) -> Result<i32, Failure> {
    let file = &arguments.file;
    let code = code::load(file, &arguments.python, environment)?;
    let map = instrument::line_map(code.version, &code.marshalled)
        .map_err(|error| Failure::file(format!("{}: {error}", file.display())))?;
    let parsed = code
        .source
        .as_deref()
        .and_then(source::functions)
        .unwrap_or_default();
    let function = |function: &'_ FunctionLines| last_line(function, &parsed);
    let last_lines: Vec<u32> = map.functions.iter().map(function).collect();
    let functions = map
        .functions
        .iter()
        .zip(last_lines)
        .map(|(function, last_line)| Function {
            qualname: &function.qualname,
            first_line: function.first_line,
            last_line,
            depth: function.depth,
            lines: &function.lines,
            untouched: function.untouched.as_ref().map(ToString::to_string),
        });
    let output = Output {
        file: file.display().to_string(),
        python: code.version.to_string(),
        functions: functions.collect(),
        breakable: map.breakable(),
    };
    let printed = if json {
        report::json(out, &output)
    } else {
        print(out, &output)
    };
    printed.map_err(Failure::output)?;
    Ok(0)
}

/// Source and code must agree on a function's name and first line, else the code alone counts.
fn last_line(function: &FunctionLines, parsed: &[SourceFunction]) -> u32 {
    let same = |candidate: &&SourceFunction| {
        candidate.qualname == function.qualname && candidate.decorator_line == function.first_line
    };
    let end = parsed.iter().find(same).map(|found| found.end_line);
    end.unwrap_or_default().max(function.last_line)
}

fn print(out: &mut dyn Write, output: &Output<'_>) -> io::Result<()> {
    writeln!(out, "{} (CPython {})", output.file, output.python)?;
    let name = |function: &Function<'_>| {
        let indent = usize::try_from(function.depth).unwrap_or_default() * 2;
        format!("{:indent$}{}", "", function.qualname)
    };
    let width = output
        .functions
        .iter()
        .map(|function| name(function).chars().count())
        .max();
    let width = width.unwrap_or_default().min(60);
    for function in &output.functions {
        let span = format!("{}-{}", function.first_line, function.last_line);
        let lines = match &function.untouched {
            Some(reason) => format!("none: {reason}"),
            None => ranges(function.lines),
        };
        writeln!(out, "  {:<width$}  {span:>11}  {lines}", name(function))?;
    }
    Ok(())
}

/// `1 2 3 7` as `1-3 7`.
fn ranges(lines: &[u32]) -> String {
    let run = |run: &[u32]| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    let runs: Vec<String> = lines
        .chunk_by(|line, next| line.checked_add(1) == Some(*next))
        .map(run)
        .collect();
    if runs.is_empty() {
        "none".to_owned()
    } else {
        runs.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn runs_of_lines_are_ranges() {
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3 7 9-10");
        assert_eq!(ranges(&[]), "none");
    }
}
