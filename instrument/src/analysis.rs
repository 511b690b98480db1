//! One code object, read and understood: instructions, stack depths, line events.

use crate::decode::{Tables, decode_with_depths};
use crate::error::{Error, Reason};
use crate::events::Events;
use crate::instr::Body;
use crate::marshal::Module;
use crate::spec::Spec;
use crate::stack::{self, UNREACHED};

/// The analysis of the code object looked at last; buffers are reused.
#[derive(Default)]
pub(crate) struct Analysis {
    pub(crate) body: Body,
    pub(crate) depths: Vec<i32>,
    pub(crate) events: Events,
}

/// The byte strings of a code object in a module.
pub(crate) fn tables<'m>(module: &'m Module<'_>, code: usize) -> Result<Tables<'m>, Error> {
    let code = &module.codes[code];
    Ok(Tables {
        code: module.bytes(code.code, "co_code")?,
        linetable: module.bytes(code.linetable, "co_linetable")?,
        exceptiontable: module.bytes(code.exceptiontable, "co_exceptiontable")?,
        first_line: code.firstlineno,
    })
}

impl Analysis {
    /// Analyses one code object; a [`Reason`] means that it is not understood.
    pub(crate) fn analyse(&mut self, spec: &Spec, tables: Tables<'_>) -> Result<(), Reason> {
        if !decode_with_depths(spec, tables, &mut self.body, &mut self.depths)? {
            stack::depths(spec, &self.body, &mut self.depths)?;
        }
        self.events.compute(spec, &self.body, &self.depths)
    }

    /// The lines that raise a line event, ascending.
    pub(crate) fn breakable(&self) -> Vec<u32> {
        let mut lines = Vec::new();
        self.events.sites(&self.body, |index, line| {
            if self.depths[index] != UNREACHED {
                lines.push(line);
            }
        });
        lines.sort_unstable();
        lines.dedup();
        lines
    }

    /// The line of the first event: instructions stand in the order in which a call runs them.
    pub(crate) fn entry_line(&self) -> Option<u32> {
        let mut first = None;
        self.events.sites(&self.body, |index, line| {
            if self.depths[index] != UNREACHED {
                first.get_or_insert(line);
            }
        });
        first
    }
}
