//! The check that `dapper-instrument verify` runs: every code object of a module, every line.

use crate::PyVersion;
use crate::analysis::tables;
use crate::assemble::{Assembled, assemble};
use crate::error::{Error, Reason};
use crate::marshal::Module;
use crate::spec::{Spec, spec};
use crate::variant::{Engine, Untouched, left_alone};

/// What a check of a module found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Code objects in the module.
    pub code_objects: u32,
    /// Code objects that took a probe on every line, were proved and gave back the original.
    pub instrumented: u32,
    /// Code objects without a line that raises an event (nothing to probe), also proved to
    /// come out byte for byte.
    pub without_lines: u32,
    /// Code objects that are not understood, each with its reason.
    pub untouched: Vec<Untouched>,
    /// Broken promises; there must be none.
    pub failures: Vec<Failure>,
}

/// A code object for which a promise of the engine does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `co_qualname`.
    pub qualname: String,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// What does not hold.
    pub message: String,
}

/// Checks a marshalled module: the byte-identical round trip of the whole and of every code
/// object, a probe on every line, the proof of the result, and that removal gives the original.
pub fn verify(version: PyVersion, marshalled: &[u8]) -> Result<Verification, Error> {
    let spec = spec(version);
    let module = Module::read(marshalled)?;
    let mut report = Verification::default();
    let mut engine = Engine::default();
    let fail = |code: usize, message: String, failures: &mut Vec<Failure>| {
        let known = left_alone(&module, code, Reason::NotReproducible)?;
        failures.push(Failure {
            qualname: known.qualname,
            first_line: known.first_line,
            message,
        });
        Ok::<(), Error>(())
    };
    if module.write() != marshalled {
        let message = "marshal round trip changed the bytes".to_owned();
        fail(module.root_code(), message, &mut report.failures)?;
    }
    module.walk(&mut |code, _| {
        report.code_objects += 1;
        let original = tables(&module, code)?;
        let original = Assembled {
            code: original.code.to_vec(),
            linetable: original.linetable.to_vec(),
            exceptiontable: original.exceptiontable.to_vec(),
        };
        match engine.edit(spec, &module, code, |_| true)? {
            // A result that the proof rejects is our fault, not a property of the code.
            Err(Reason::Verification(message)) => {
                fail(code, message.to_owned(), &mut report.failures)?;
            }
            Err(reason) => report.untouched.push(left_alone(&module, code, reason)?),
            Ok(edited) => {
                let first_line = module.codes[code].firstlineno;
                match engine.unchanged(spec, first_line, &original, edited.is_some()) {
                    Err(message) => fail(code, message, &mut report.failures)?,
                    Ok(()) if edited.is_some() => report.instrumented += 1,
                    Ok(()) => report.without_lines += 1,
                }
            }
        }
        Ok(())
    })?;
    Ok(report)
}

impl Engine {
    /// Assembles the analysed code, and the one left when the probes are taken out again.
    fn unchanged(
        &mut self,
        spec: &Spec,
        first_line: i32,
        original: &Assembled,
        edited: bool,
    ) -> Result<(), String> {
        let body = &self.analysis.body;
        let again = assemble(spec, body, first_line, &mut self.offsets);
        if again.as_ref() != Ok(original) {
            return Err(difference("round trip", again, original));
        }
        if !edited {
            return Ok(());
        }
        let variant = &self.splice.written;
        let removed = self
            .verifier
            .without_probes(spec, body, variant, first_line);
        let mut removed = removed.map_err(|reason| format!("removal: {reason}"))?;
        for (ours, theirs) in removed.instrs.iter_mut().zip(&body.instrs) {
            ours.prefixes = theirs.prefixes;
        }
        removed.handlers.clone_from(&body.handlers);
        let removed = assemble(spec, &removed, first_line, &mut self.offsets);
        if removed.as_ref() != Ok(original) {
            return Err(difference("removal", removed, original));
        }
        Ok(())
    }
}

fn difference(step: &str, got: Result<Assembled, Reason>, original: &Assembled) -> String {
    match got {
        Err(reason) => format!("{step}: {reason}"),
        Ok(got) if got.code != original.code => format!("{step} changed co_code"),
        Ok(got) if got.linetable != original.linetable => format!("{step} changed co_linetable"),
        Ok(_) => format!("{step} changed co_exceptiontable"),
    }
}
