//! A variant without its probes: what is left must be the original, which `dapper-instrument verify`
//! compares. It relies on what the proof found the units of the variant to be.

use super::Verifier;
use crate::assemble::Assembled;
use crate::decode::decode;
use crate::error::Reason;
use crate::instr::{Body, Instr};
use crate::spec::{Spec, Target};

impl Verifier {
    /// The variant checked last, without its probes.
    pub(crate) fn without_probes(
        &self,
        spec: &Spec,
        original: &Body,
        variant: &Assembled,
        first_line: i32,
    ) -> Result<Body, Reason> {
        let mut body = Body::default();
        decode(spec, variant.tables(first_line), &mut body)?;
        let kept: Vec<Instr> = body
            .instrs
            .iter()
            .zip(&body.units)
            .filter(|&(_, unit)| self.original(original, *unit).is_some())
            .map(|(instr, _)| match spec.ops[usize::from(instr.op)].target {
                Target::None => Ok(*instr),
                _ => Ok(Instr {
                    arg: self.edge(original, body.units[instr.arg as usize])?,
                    ..*instr
                }),
            })
            .collect::<Result<_, Reason>>()?;
        body.instrs = kept;
        body.handlers.clear();
        Ok(body)
    }
}
