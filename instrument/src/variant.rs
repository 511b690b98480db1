//! Module in, variant out: which code objects are edited, and the report of what was done.

use std::cell::Cell;
use std::sync::Arc;

use crate::PyVersion;
use crate::analysis::{Analysis, tables};
use crate::decode::{Tables, index};
use crate::error::{Error, Reason};
use crate::inject::Injection;
use crate::linemap::LineMap;
use crate::marshal::{Module, Walk};
use crate::spec::{Spec, spec};
use crate::splice::Splice;
use crate::verify::{Claim, Verifier};

/// The lines that get a probe.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Every line that raises a line event.
    EveryLine,
    /// Lines as a user asked for them; each snaps to one that can hold a probe.
    Lines(&'a [u32]),
    /// Lines that can hold a probe, each in all code or in one code object: see [`Spot`].
    Spots(&'a [Spot]),
}

/// A line that gets a probe.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The line itself: it does not snap.
    pub line: u32,
    /// Where the only code object that is meant is in the module; `None` for all of the line.
    pub path: Option<Arc<[u32]>>,
}

impl Spot {
    /// Whether the code object at `path` is meant.
    #[must_use]
    pub fn is_in(&self, path: &[u32]) -> bool {
        self.path.as_deref().is_none_or(|own| own == path)
    }
}

/// An instrumented module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The marshalled module code object. Probe constants are `None` until they are linked,
    /// which makes an unlinked probe do nothing.
    pub code: Vec<u8>,
    /// The constants that stand for probes.
    pub sites: Vec<Site>,
    /// For [`Wanted::Lines`], in the order of the request.
    pub lines: Vec<Snapped>,
    /// Code objects that were left as they are though they were to be instrumented.
    pub untouched: Vec<Untouched>,
    /// Code objects in the module.
    pub code_objects: u32,
}

/// A constant that stands for a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The code object, shared by all its sites.
    pub code: Arc<ProbedCode>,
    /// Index in its `co_consts`.
    pub constant: u32,
    /// The line whose event the probe stands for.
    pub line: u32,
    /// Which of the parts of its line it stands for, where they were taken apart: see
    /// [`crate::inset::Wish`].
    pub part: Option<u32>,
    /// What the code has done when it asks the probe.
    pub role: Role,
}

/// A code object that has probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedCode {
    /// Indices into successive `co_consts` that lead from the module to it.
    pub path: Arc<[u32]>,
    /// `co_qualname`.
    pub qualname: Arc<str>,
}

/// What the code does with a probe constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Asks it at every pass of the line.
    #[default]
    Hit,
    /// Asks it when the condition holds; then it may make the message of the probe.
    Compiled {
        /// Whether the message is made in the line.
        message: bool,
    },
    /// Asks it before the condition.
    Meter,
    /// Tells it of every pass, before the condition that is compiled in.
    Pass,
}

/// Where a requested line went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapped {
    /// The line asked for.
    pub requested: u32,
    /// The line that got the probe, or why none did.
    pub actual: Result<u32, Reason>,
}

/// A code object that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouched {
    /// `co_qualname`.
    pub qualname: String,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// Why.
    pub reason: Reason,
}

/// Instruments a marshalled module.
pub fn instrument(
    version: PyVersion,
    marshalled: &[u8],
    wanted: Wanted<'_>,
) -> Result<Variant, Error> {
    let mut engine = ENGINE.take();
    let variant = instrument_with(&mut engine, version, marshalled, wanted);
    if engine.analysis.body.starts.capacity() <= KEPT_UNITS {
        ENGINE.set(engine);
    }
    variant
}

thread_local! {
    /// The buffers of the module before, so that they need not grow again for each.
    static ENGINE: Cell<Box<Engine>> = Cell::default();
}

/// Buffers that were needed for longer code are not kept.
const KEPT_UNITS: usize = 1 << 16;

/// Few modules have more lines for their size.
const BYTES_OF_A_LINE: usize = 64;

fn instrument_with(
    engine: &mut Engine,
    version: PyVersion,
    marshalled: &[u8],
    wanted: Wanted<'_>,
) -> Result<Variant, Error> {
    let spec = spec(version);
    let mut module = Module::read(marshalled)?;
    let mut lines = Vec::new();
    let mut actual = Vec::new();
    // For each code object in the order of the walk: whether there is nothing to do.
    let mut idle: Vec<bool> = Vec::new();
    if let Wanted::Lines(requested) = wanted {
        let map = LineMap::of(version, &module, &mut engine.analysis)?;
        for &requested in requested {
            let snapped = map.snap(requested);
            actual.extend(snapped.as_ref().ok());
            lines.push(Snapped {
                requested,
                actual: snapped,
            });
        }
        actual.sort_unstable();
        let wants = |line: &u32| actual.binary_search(line).is_ok();
        idle.extend(
            map.functions
                .iter()
                .map(|function| function.untouched.is_none() && !function.lines.iter().any(wants)),
        );
    }
    let mut sites = match wanted {
        Wanted::EveryLine => Vec::with_capacity(marshalled.len() / BYTES_OF_A_LINE),
        Wanted::Lines(_) | Wanted::Spots(_) => Vec::new(),
    };
    let mut untouched = Vec::new();
    let mut code_objects = 0;
    let mut walk = Walk::new(&module);
    while let Some(code) = walk.next(&module)? {
        code_objects += 1;
        if idle.get(code_objects - 1) == Some(&true) {
            continue;
        }
        if let Wanted::Spots(spots) = wanted
            && !spots.iter().any(|spot| spot.is_in(walk.path()))
        {
            continue;
        }
        let accepts = |line: u32| match wanted {
            Wanted::EveryLine => true,
            Wanted::Lines(_) => actual.binary_search(&line).is_ok(),
            Wanted::Spots(spots) => {
                let is_meant = |spot: &Spot| spot.line == line && spot.is_in(walk.path());
                spots.iter().any(is_meant)
            }
        };
        match engine.edit(spec, &module, code, accepts)? {
            Ok(None) => {}
            Ok(Some(edited)) => {
                let lines = &engine.injection.lines;
                let tables = &engine.splice.written;
                let placeholders = index(lines.len());
                module.replace(code, tables, edited.stacksize, placeholders)?;
                let qualname = module.text(module.codes[code].qualname, "co_qualname")?;
                let code = Arc::new(ProbedCode {
                    path: walk.path().into(),
                    qualname: qualname.into(),
                });
                let constants = edited.first_constant..;
                sites.extend(lines.iter().zip(constants).map(|(&line, constant)| Site {
                    code: Arc::clone(&code),
                    constant,
                    line,
                    part: None,
                    role: Role::Hit,
                }));
            }
            Err(reason) => untouched.push(left_alone(&module, code, reason)?),
        }
    }
    Ok(Variant {
        code: module.write(),
        sites,
        lines,
        untouched,
        code_objects: index(code_objects),
    })
}

/// The record of a code object that is left alone.
pub(crate) fn left_alone(
    module: &Module<'_>,
    code: usize,
    reason: Reason,
) -> Result<Untouched, Error> {
    let code = &module.codes[code];
    Ok(Untouched {
        qualname: module.text(code.qualname, "co_qualname")?.into_owned(),
        first_line: u32::try_from(code.firstlineno).unwrap_or_default(),
        reason,
    })
}

/// An edited code object; its tables and lines are in the engine.
#[derive(Clone, Copy)]
pub(crate) struct Edited {
    pub(crate) stacksize: i32,
    pub(crate) first_constant: u32,
}

/// The buffers that all code objects share.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) analysis: Analysis,
    pub(crate) injection: Injection,
    pub(crate) splice: Splice,
    pub(crate) verifier: Verifier,
    pub(crate) offsets: Vec<u32>,
}

impl Engine {
    /// Analyses, injects, assembles and verifies; `None` when no wanted line is here.
    pub(crate) fn edit(
        &mut self,
        spec: &Spec,
        module: &Module<'_>,
        code: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Result<Option<Edited>, Reason>, Error> {
        let tables = tables(module, code)?;
        let first_constant = index(module.constants(code)?.len());
        let stacksize = module.codes[code].stacksize;
        if let Err(reason) = self.analysis.analyse(spec, tables) {
            return Ok(Err(reason));
        }
        Ok(self.inject(spec, tables, first_constant, stacksize, wanted))
    }

    fn inject(
        &mut self,
        spec: &Spec,
        tables: Tables<'_>,
        first_constant: u32,
        stacksize: i32,
        wanted: impl Fn(u32) -> bool,
    ) -> Result<Option<Edited>, Reason> {
        let Analysis {
            body,
            depths,
            events,
            ..
        } = &self.analysis;
        let injection = &mut self.injection;
        injection.plan(spec, body, events, depths, first_constant, wanted)?;
        if injection.lines.is_empty() {
            return Ok(None);
        }
        self.splice
            .write(spec, tables, body, events, &injection.placements)?;
        let edited = &self.splice.written;
        let stacksize = stacksize.max(injection.depth);
        let claim = Claim {
            original: tables,
            first_constant,
            lines: &injection.lines,
            stacksize,
        };
        self.verifier.check(spec, body, depths, edited, &claim)?;
        Ok(Some(Edited {
            stacksize,
            first_constant,
        }))
    }
}

#[cfg(test)]
mod tests;
