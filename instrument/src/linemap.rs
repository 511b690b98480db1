//! Which lines can hold a probe, and where a requested line snaps to.

use std::sync::Arc;

use crate::PyVersion;
use crate::analysis::{Analysis, tables};
use crate::error::{Error, Reason};
use crate::marshal::Module;
use crate::positions::{self, Span};
use crate::spec::spec;

/// `CO_OPTIMIZED`: set for functions, not for modules and class bodies.
const OPTIMIZED: i32 = 1;

/// The code objects of a module with their lines, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineMap {
    /// One for each code object.
    pub functions: Vec<FunctionLines>,
    /// See [`LineMap::spans`].
    pub(crate) shared: Vec<Span>,
}

/// The lines of one code object (a function, a class body, the module, a comprehension).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionLines {
    /// `co_qualname`.
    pub qualname: String,
    /// `co_firstlineno`: of the first decorator where there is one.
    pub first_line: u32,
    /// The last line that any of its instructions, or of the code inside it, stands for.
    pub last_line: u32,
    /// 0 for the module.
    pub depth: u32,
    /// Indices into successive `co_consts` that lead from the module to it.
    pub path: Arc<[u32]>,
    /// Whether it is a function: no module and no class body.
    pub is_function: bool,
    /// The line of the first statement, behind the docstring (which makes no code); of code
    /// that cannot be instrumented or does nothing there is none.
    pub entry_line: Option<u32>,
    /// Lines at which a line event is raised, ascending, without those of the code inside.
    pub lines: Vec<u32>,
    /// Why it cannot be instrumented, if so.
    pub untouched: Option<Reason>,
}

/// Reads the line map of a marshalled module.
pub fn line_map(version: PyVersion, marshalled: &[u8]) -> Result<LineMap, Error> {
    let module = Module::read(marshalled)?;
    let mut analysis = Analysis::default();
    let mut map = LineMap::of(version, &module, &mut analysis)?;
    map.shared = positions::shared(spec(version), &module, &map, &mut analysis)?;
    Ok(map)
}

/// Fails where [`line_map`] does, in a fraction of its time: what is no marshalled module, or one
/// whose code objects lack what they consist of.
pub fn check_module(marshalled: &[u8]) -> Result<(), Error> {
    let module = Module::read(marshalled)?;
    module.walk(&mut |code, _| {
        tables(&module, code)?;
        module.text(module.codes[code].qualname, "co_qualname")?;
        Ok(())
    })
}

impl LineMap {
    /// The map without the columns of shared lines.
    pub(crate) fn of(
        version: PyVersion,
        module: &Module<'_>,
        analysis: &mut Analysis,
    ) -> Result<Self, Error> {
        let spec = spec(version);
        let mut functions: Vec<FunctionLines> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        module.walk(&mut |code, path| {
            let outcome = analysis.analyse(spec, tables(module, code)?);
            let code = &module.codes[code];
            let first_line = u32::try_from(code.firstlineno).unwrap_or_default();
            let ends = analysis.body.locations.iter();
            let last_line = ends
                .filter_map(|location| u32::try_from(location.end_line).ok())
                .max()
                .unwrap_or_default()
                .max(first_line);
            open.truncate(path.len());
            for &outer in &open {
                let outer = &mut functions[outer];
                outer.last_line = outer.last_line.max(last_line);
            }
            open.push(functions.len());
            functions.push(FunctionLines {
                qualname: module.text(code.qualname, "co_qualname")?.into_owned(),
                first_line,
                last_line,
                depth: u32::try_from(path.len()).unwrap_or(u32::MAX),
                path: path.into(),
                is_function: code.flags & OPTIMIZED != 0,
                entry_line: outcome.as_ref().ok().and_then(|()| analysis.entry_line()),
                lines: match outcome {
                    Ok(()) => analysis.breakable(),
                    Err(_) => Vec::new(),
                },
                untouched: outcome.err(),
            });
            Ok(())
        })?;
        Ok(Self {
            functions,
            shared: Vec::new(),
        })
    }

    /// All lines that can hold a probe, ascending.
    #[must_use]
    pub fn breakable(&self) -> Vec<u32> {
        let mut lines: Vec<u32> = self
            .functions
            .iter()
            .flat_map(|function| function.lines.iter().copied())
            .collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    /// The line where a breakpoint requested at `line` really stops.
    ///
    /// The line itself where it raises an event; else the next such line of the innermost
    /// function around it; else, at the end of a function, its last one.
    pub fn snap(&self, line: u32) -> Result<u32, Reason> {
        let holds = |function: &&FunctionLines| function.lines.binary_search(&line).is_ok();
        if self.functions.iter().any(|function| holds(&function)) {
            return Ok(line);
        }
        let around = self.functions.iter().filter(|function| {
            function.depth == 0 || (function.first_line..=function.last_line).contains(&line)
        });
        // Later ones of the same depth win: the walk goes down the file.
        let innermost = around.max_by_key(|function| function.depth);
        let innermost = innermost.ok_or(Reason::NoCodeAtLine(line))?;
        if let Some(reason) = &innermost.untouched {
            return Err(reason.clone());
        }
        let after = innermost.lines.iter().find(|&&candidate| candidate > line);
        let inside = innermost.last_line >= line;
        let before = innermost.lines.last().filter(|_| inside);
        after.or(before).copied().ok_or(Reason::NoCodeAtLine(line))
    }
}
