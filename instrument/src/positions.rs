//! Which of the code objects that share a line a column means (PEP 657).
//!
//! A lambda, a generator expression or a one-line `def` raises line events of its own on a line
//! of other code. The line table knows the columns of their instructions: of a `def` those of
//! its body count, of what has no name also the place where it is made, so that the word
//! `lambda` belongs to it. Columns are UTF-8 bytes from 0: who has one in characters or UTF-16
//! units converts it with the text of the line. What a prologue stands for has width 0 and does
//! not count.

use std::collections::BTreeSet;

use crate::analysis::{Analysis, tables};
use crate::error::{Error, Reason};
use crate::linemap::LineMap;
use crate::linetable::{Decoder, Location};
use crate::marshal::Module;
use crate::pattern::{FunctionPattern, last_part};
use crate::spec::Spec;

/// The columns that a code object takes on a line which it shares with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The line.
    pub line: u32,
    /// Index in [`LineMap::functions`].
    pub function: usize,
    /// The first column, where a breakpoint in it begins.
    pub start: u32,
    /// The column behind the last; `u32::MAX` where it goes on below the line.
    pub end: u32,
}

/// Where a breakpoint went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line that holds the probe.
    pub line: u32,
    /// Index in [`LineMap::functions`] of the one that is meant; `None` for all of the line.
    pub function: Option<usize>,
}

/// Where a function that a pattern means starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index in [`LineMap::functions`].
    pub function: usize,
    /// The line of its first statement behind the docstring, or why it has none.
    pub line: Result<u32, Reason>,
}

impl LineMap {
    /// Where a breakpoint at a column of a line goes: the line as [`LineMap::snap`] has it, and
    /// the code object meant.
    ///
    /// That is the innermost whose span holds the column, else the one that ends last in front
    /// of it, else the first. All code of the line is meant without a column, where the
    /// breakpoint moved to another line, where the line is shared by nothing, and where the
    /// code was compiled without columns (`-X no_debug_ranges`).
    pub fn snap_at(&self, line: u32, column: Option<u32>) -> Result<Position, Reason> {
        let snapped = self.snap(line)?;
        let column = column.filter(|_| snapped == line);
        let function = column.and_then(|column| {
            let spans = self.spans(snapped);
            let holds = |span: &&Span| (span.start..span.end).contains(&column);
            let around = spans.iter().filter(holds);
            // Of the same width, the inner one comes later.
            let innermost = around.rev().min_by_key(|span| span.end - span.start);
            let before = spans.iter().filter(|span| span.start <= column);
            let last = before.max_by_key(|span| (span.end, span.start));
            innermost.or(last).or(spans.first())
        });
        Ok(Position {
            line: snapped,
            function: function.map(|span| span.function),
        })
    }

    /// The code objects that share a line, by the columns at which they begin; nothing for a
    /// line of one code object alone.
    #[must_use]
    pub fn spans(&self, line: u32) -> &[Span] {
        let start = self.shared.partition_point(|span| span.line < line);
        let end = self.shared.partition_point(|span| span.line <= line);
        &self.shared[start..end]
    }

    /// The functions that a pattern means, with the lines where they start.
    #[must_use]
    pub fn entries(&self, pattern: &FunctionPattern) -> Vec<Entry> {
        let functions = self.functions.iter().enumerate();
        let meant = functions.filter(|(_, it)| it.is_function && pattern.matches(&it.qualname));
        let entry = |(function, it): (usize, &crate::FunctionLines)| {
            let reason = || {
                it.untouched
                    .clone()
                    .unwrap_or(Reason::NoCodeAtLine(it.first_line))
            };
            Entry {
                function,
                line: it.entry_line.ok_or_else(reason),
            }
        };
        meant.map(entry).collect()
    }
}

/// The spans of all shared lines, ascending by line, first column and function.
pub(crate) fn shared(
    spec: &Spec,
    module: &Module<'_>,
    map: &LineMap,
    analysis: &mut Analysis,
) -> Result<Vec<Span>, Error> {
    let lines = shared_lines(map);
    let mut shared = Vec::new();
    if lines.is_empty() {
        return Ok(shared);
    }
    // The code objects around the current one, as indices in the module.
    let mut open: Vec<usize> = Vec::new();
    let mut function = 0;
    module.walk(&mut |code, path| {
        open.truncate(path.len());
        let about = &map.functions[function];
        let on_shared = about.lines.iter().filter(|line| lines.contains(line));
        let on_shared: Vec<u32> = on_shared.copied().collect();
        if !on_shared.is_empty() && !is_made_by_compiler(&about.qualname) {
            let mut columns = Columns::of(&on_shared);
            let tables = tables(module, code)?;
            let mut entries = Decoder::new(tables.linetable, tables.first_line);
            while !entries.is_done() {
                // What has lines was decoded before.
                let Some((_, location)) = entries.entry() else {
                    break;
                };
                columns.add(location);
            }
            let is_unnamed = last_part(&about.qualname).starts_with('<');
            if (is_unnamed || columns.is_unknown())
                && let (Some(&outer), Some(&constant)) = (open.last(), path.last())
                && let Some(location) = creation(spec, module, outer, constant, analysis)?
                // On the first line of a longer `def`, a column means the `def`.
                && (is_unnamed || location.end_line == location.line)
            {
                columns.add(location);
            }
            let spans = on_shared.iter().zip(columns.found);
            shared.extend(spans.filter_map(|(&line, columns)| {
                let (start, end) = columns?;
                Some(Span {
                    line,
                    function,
                    start,
                    end,
                })
            }));
        }
        open.push(code);
        function += 1;
        Ok(())
    })?;
    shared.sort_unstable_by_key(|span| (span.line, span.start, span.function));
    Ok(shared)
}

/// The lines at which several code objects that were written there raise events.
fn shared_lines(map: &LineMap) -> BTreeSet<u32> {
    let written = map
        .functions
        .iter()
        .filter(|it| !is_made_by_compiler(&it.qualname));
    let mut lines: Vec<u32> = written.flat_map(|it| it.lines.iter().copied()).collect();
    lines.sort_unstable();
    let pairs = lines.windows(2).filter(|pair| pair[0] == pair[1]);
    pairs.map(|pair| pair[0]).collect()
}

/// Code for annotations and type parameters stands at the line of a `def` or `class`, and has
/// no place in it that could be pointed at.
fn is_made_by_compiler(qualname: &str) -> bool {
    let last = last_part(qualname);
    last == "__annotate__" || last.starts_with("<generic parameters of ")
}

/// The location of the instruction that loads a code object to make a function of it: the whole
/// lambda, generator expression or `def`.
fn creation(
    spec: &Spec,
    module: &Module<'_>,
    outer: usize,
    constant: u32,
    analysis: &mut Analysis,
) -> Result<Option<Location>, Error> {
    if analysis.analyse(spec, tables(module, outer)?).is_err() {
        return Ok(None);
    }
    let body = &analysis.body;
    let mut instrs = body.instrs.iter();
    let loads = instrs.find(|instr| instr.op == spec.load_const && instr.arg == constant);
    Ok(loads.map(|instr| body.locations[instr.location as usize]))
}

/// The columns found on each of some lines.
struct Columns<'l> {
    lines: &'l [u32],
    found: Vec<Option<(u32, u32)>>,
}

impl<'l> Columns<'l> {
    fn of(lines: &'l [u32]) -> Self {
        Self {
            lines,
            found: vec![None; lines.len()],
        }
    }

    fn add(&mut self, location: Location) {
        let goes_on = location.end_line > location.line;
        let (Ok(line), Ok(start), Ok(end)) = (
            u32::try_from(location.line),
            u32::try_from(location.column),
            u32::try_from(location.end_column),
        ) else {
            return;
        };
        let end = if goes_on { u32::MAX } else { end };
        let Ok(index) = self.lines.binary_search(&line) else {
            return;
        };
        if start < end {
            let found = self.found[index].get_or_insert((start, end));
            *found = (found.0.min(start), found.1.max(end));
        }
    }

    fn is_unknown(&self) -> bool {
        self.found.iter().all(Option::is_none)
    }
}
