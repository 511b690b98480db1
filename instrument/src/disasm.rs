//! The printed form of code: stable, one instruction a line, jumps as labels.
//!
//! Example of a line: `    12:4-17  >3  LOAD_NAME 0`, that is the source range (line, columns),
//! label 3, and the instruction.

use std::fmt::Write as _;

use crate::PyVersion;
use crate::analysis::{Analysis, tables};
use crate::error::{Error, ErrorKind};
use crate::instr::Body;
use crate::marshal::Module;
use crate::spec::{Spec, Target, spec};

/// Disassembles a marshalled module, or the functions of one qualified name in it.
pub fn disassemble(
    version: PyVersion,
    marshalled: &[u8],
    function: Option<&str>,
) -> Result<String, Error> {
    let spec = spec(version);
    let module = Module::read(marshalled)?;
    let mut analysis = Analysis::default();
    let mut out = String::new();
    module.walk(&mut |code, _| {
        let record = &module.codes[code];
        let qualname = module.text(record.qualname, "co_qualname")?;
        if function.is_some_and(|wanted| wanted != qualname) {
            return Ok(());
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let constants = module.constants(code)?.len();
        let _ = writeln!(
            out,
            "{qualname} (line {}, stack {}, constants {constants})",
            record.firstlineno, record.stacksize,
        );
        match analysis.analyse(spec, tables(&module, code)?) {
            Ok(()) => print(spec, &analysis.body, &mut out),
            Err(reason) => {
                let _ = writeln!(out, "    untouched: {reason}");
            }
        }
        Ok(())
    })?;
    match function {
        Some(name) if out.is_empty() => Err(ErrorKind::NoFunction(name.to_owned()).into()),
        _ => Ok(out),
    }
}

fn print(spec: &Spec, body: &Body, out: &mut String) {
    let labels = labels(spec, body);
    let label = |index: u32| match labels.binary_search(&index) {
        Ok(number) => format!(">{number}"),
        Err(_) => String::new(),
    };
    for (position, instr) in (0u32..).zip(&body.instrs) {
        let detail = &spec.details[usize::from(instr.op)];
        let location = body.locations[instr.location as usize];
        let range = match (location.line, location.column) {
            (..0, _) => "-".to_owned(),
            (line, ..0) => line.to_string(),
            (line, column) if location.end_line == line => {
                format!("{line}:{column}-{}", location.end_column)
            }
            (line, column) => format!(
                "{line}:{column}-{}:{}",
                location.end_line, location.end_column
            ),
        };
        let argument = match spec.ops[usize::from(instr.op)].target {
            Target::None if detail.has_arg => format!(" {}", instr.arg),
            Target::None => String::new(),
            _ => format!(" {}", label(instr.arg)),
        };
        let _ = writeln!(
            out,
            "    {range:<14} {:<5} {}{argument}",
            label(position),
            detail.name
        );
    }
    for handler in &body.handlers {
        let lasti = if handler.lasti { ", offset" } else { "" };
        let _ = writeln!(
            out,
            "    {} to {}: handler {}, depth {}{lasti}",
            label(handler.start),
            label(handler.end),
            label(handler.target),
            handler.depth,
        );
    }
}

/// Instructions that something points at, ascending; the n-th has label n.
fn labels(spec: &Spec, body: &Body) -> Vec<u32> {
    let jumps = body.instrs.iter().filter_map(|instr| {
        let jumps = spec.ops[usize::from(instr.op)].target != Target::None;
        jumps.then_some(instr.arg)
    });
    let ranges = body
        .handlers
        .iter()
        .flat_map(|handler| [handler.start, handler.end, handler.target]);
    let mut labels: Vec<u32> = jumps.chain(ranges).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}
