//! Conditions and messages, compiled into the line that holds a probe.
//!
//! It works on an instrumented module: a plain probe gives way to a [`Fragment`] that evaluates
//! the condition, asks the probe, and builds the message. Expressions come as code that CPython
//! compiled; they are moved, never generated. What cannot be moved keeps its plain probe and is
//! reported, so that it is evaluated out of line. Every edited code object is proved.

mod bound;
mod fragment;
mod host;
mod part;
mod prove;
mod snippet;
#[cfg(test)]
mod tests;
mod weave;

use std::sync::Arc;

use self::fragment::Fragment;
use self::host::Host;
use self::part::{Constants, Spot};
pub use self::part::{Part, Piece};
use self::prove::{Claim, Extent};
pub use self::snippet::{condition_source, value_source};
use self::weave::{Insertion, weave};
use crate::PyVersion;
use crate::analysis::tables;
use crate::assemble::{Assembled, assemble};
use crate::decode::{decode, index};
use crate::error::{Error, ErrorKind, Reason};
use crate::instr::{Body, Instr};
use crate::marshal::Module;
use crate::spec::{Spec, spec};
use crate::stack::{self, UNREACHED};
use crate::variant::{Role, Site};

/// What the breakpoints of one line want, in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Wish<'a> {
    /// A line that has a probe.
    pub line: u32,
    /// The only code object that is meant; `None` for all of the line.
    pub path: Option<Arc<[u32]>>,
    /// At least one.
    pub parts: Vec<Part<'a>>,
}

impl Wish<'_> {
    fn is_for(&self, site: &Site) -> bool {
        self.line == site.line
            && self
                .path
                .as_ref()
                .is_none_or(|path| *path == site.code.path)
    }
}

/// A module whose probes evaluate conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insets {
    /// The marshalled module code object.
    pub code: Vec<u8>,
    /// All probe constants: those that were there and those of further parts.
    pub sites: Vec<Site>,
    /// Parts that are left to the probe.
    pub refused: Vec<Refused>,
}

/// A part that is evaluated out of line in one code object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The line of the probe.
    pub line: u32,
    /// Where its code object is in the module.
    pub path: Arc<[u32]>,
    /// Index in [`Wish::parts`].
    pub part: u32,
    /// `co_qualname` of the code object.
    pub qualname: String,
    /// Why.
    pub reason: Reason,
}

/// Why a part is not moved: it is left to the probe, or nothing can be read.
enum Failed {
    Kept(Reason),
    Broken(Error),
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self::Kept(reason)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

const UNREADABLE: Reason = Reason::OutOfLine("its compiled form is not understood");

/// Compiles conditions and messages into an instrumented module.
pub fn inset(
    version: PyVersion,
    marshalled: &[u8],
    sites: &[Site],
    wishes: &[Wish<'_>],
) -> Result<Insets, Error> {
    let spec = spec(version);
    let mut module = Module::read(marshalled)?;
    let mut done = Insets {
        code: Vec::new(),
        sites: Vec::new(),
        refused: Vec::new(),
    };
    for sites in sites.chunk_by(|a, b| a.code.path == b.code.path) {
        let wanted = |site: &Site| wishes.iter().any(|wish| wish.is_for(site));
        if sites.iter().any(wanted) {
            let code = module.at(&sites[0].code.path)?;
            edit(spec, &mut module, code, sites, wishes, &mut done)?;
        } else {
            done.sites.extend_from_slice(sites);
        }
    }
    done.code = module.write();
    Ok(done)
}

/// Edits one code object, whose sites these are.
fn edit(
    spec: &Spec,
    module: &mut Module<'_>,
    code: usize,
    sites: &[Site],
    wishes: &[Wish<'_>],
    done: &mut Insets,
) -> Result<(), Error> {
    let mut original = Body::default();
    let mut depths = Vec::new();
    let tables = tables(module, code)?;
    let first_line = tables.first_line;
    let read = decode(spec, tables, &mut original)
        .and_then(|()| stack::depths(spec, &original, &mut depths));
    // INVARIANT: a code object with probes was understood when it got them.
    read.map_err(|_| ErrorKind::BadField("co_code"))?;
    let stacksize = module.codes[code].stacksize;
    let mut work = Work {
        spec,
        body: &original,
        depths: &depths,
        host: Host::new(module, code)?,
        insertions: Vec::new(),
        sites: Vec::new(),
        refused: Vec::new(),
    };
    for site in sites {
        match wishes.iter().find(|wish| wish.is_for(site)) {
            Some(wish) => work.grant(site, wish)?,
            None => work.sites.push(site.clone()),
        }
    }
    let Work {
        host,
        mut insertions,
        sites: edited_sites,
        refused,
        ..
    } = work;
    insertions.sort_unstable_by_key(|(insertion, _)| insertion.position);
    let (insertions, probes): (Vec<_>, Vec<_>) = insertions.into_iter().unzip();
    let numbers = (first_line, stacksize);
    let result = woven(spec, &original, &insertions, probes, numbers).and_then(|woven| {
        let claim = Claim {
            original: &original,
            extents: &woven.extents,
            stacksize: woven.stacksize,
            n_constants: host.n_constants(),
            n_names: host.n_names(),
            n_variables: host.n_variables(),
        };
        prove::check(spec, woven.tables.tables(first_line), &claim)?;
        Ok(woven)
    });
    match result {
        Ok(woven) => {
            host.extend()?;
            module.replace(code, &woven.tables, woven.stacksize, 0)?;
            done.sites.extend(edited_sites);
            done.refused.extend(refused);
        }
        Err(reason) => {
            // As it was: every part is left to the plain probe.
            for site in sites {
                let wish = wishes.iter().find(|wish| wish.is_for(site));
                let parts = wish.map_or(0, |wish| wish.parts.len());
                done.refused.extend((0..parts).map(|part| Refused {
                    line: site.line,
                    path: Arc::clone(&site.code.path),
                    part: index(part),
                    qualname: site.code.qualname.to_string(),
                    reason: reason.clone(),
                }));
            }
            done.sites.extend_from_slice(sites);
        }
    }
    Ok(())
}

/// Code with its fragments, and what is claimed of it.
struct Woven {
    tables: Assembled,
    stacksize: i32,
    extents: Vec<Extent>,
}

/// Weaves and assembles; `stacksize` is that of the code with plain probes.
fn woven(
    spec: &Spec,
    original: &Body,
    insertions: &[Insertion],
    probes: Vec<Vec<u32>>,
    (first_line, stacksize): (i32, i32),
) -> Result<Woven, Reason> {
    let (body, starts) = weave(spec, original, insertions)?;
    let mut depths = Vec::new();
    stack::depths(spec, &body, &mut depths)?;
    let mut needed = stacksize;
    for (instr, &depth) in body.instrs.iter().zip(&depths) {
        if depth != UNREACHED {
            let effect = spec.effect(instr.op, instr.arg).ok_or(Reason::StackDepth)?;
            // An exception may come on top of what is there.
            needed = needed.max(depth.saturating_add(effect.max(1)));
        }
    }
    let tables = assemble(spec, &body, first_line, &mut Vec::new())?;
    let parts = insertions.iter().zip(starts).zip(probes);
    let extents = parts.map(|((insertion, start), probes)| Extent {
        position: insertion.position,
        start,
        length: index(insertion.fragment.steps.len()),
        probes,
    });
    Ok(Woven {
        tables,
        stacksize: needed,
        extents: extents.collect(),
    })
}

/// One code object while its fragments are made.
struct Work<'w, 'm, 'a> {
    spec: &'w Spec,
    body: &'w Body,
    depths: &'w [i32],
    host: Host<'m, 'a>,
    /// Each with the constants of its probes.
    insertions: Vec<(Insertion, Vec<u32>)>,
    sites: Vec<Site>,
    refused: Vec<Refused>,
}

impl Work<'_, '_, '_> {
    /// Makes the fragments of one line: one wherever its probe stands.
    fn grant(&mut self, site: &Site, wish: &Wish<'_>) -> Result<(), Error> {
        let mut constants = Vec::new();
        for (nth, part) in wish.parts.iter().enumerate() {
            let probe = match nth {
                0 => site.constant,
                _ => self.host.placeholder()?,
            };
            let meter = if part.metered {
                let none = self.host.module.none()?;
                Some((self.host.placeholder()?, self.host.constant(none)))
            } else {
                None
            };
            let passes = if part.counted {
                Some(self.host.placeholder()?)
            } else {
                None
            };
            constants.push(Constants {
                probe,
                meter,
                passes,
            });
        }
        let load = |&(_, instr): &(usize, &Instr)| {
            instr.op == self.spec.load_const && instr.arg == site.constant
        };
        let instrs = self.body.instrs.iter().enumerate();
        let places: Vec<usize> = instrs.filter(load).map(|(position, _)| position).collect();
        let mut fragments = vec![Fragment::default(); places.len()];
        let mut compiled = Vec::new();
        for (nth, part) in wish.parts.iter().enumerate() {
            let made = self.fragments(part, constants[nth], &places);
            compiled.push(made.is_ok());
            let made = match made {
                Ok(made) => made,
                Err(Failed::Broken(error)) => return Err(error),
                Err(Failed::Kept(reason)) => {
                    self.refused.push(Refused {
                        line: site.line,
                        path: Arc::clone(&site.code.path),
                        part: index(nth),
                        qualname: site.code.qualname.to_string(),
                        reason,
                    });
                    vec![part::plain(self.spec, constants[nth].probe); places.len()]
                }
            };
            for (whole, fragment) in fragments.iter_mut().zip(&made) {
                whole.append(self.spec, fragment);
            }
        }
        for (position, fragment) in places.into_iter().zip(fragments) {
            if self.depths[position] == UNREACHED {
                continue;
            }
            let insertion = Insertion {
                position: index(position),
                depth: u32::try_from(self.depths[position]).unwrap_or_default(),
                fragment,
            };
            let probes = constants.iter().map(|part| part.probe).collect();
            self.insertions.push((insertion, probes));
        }
        for (nth, part) in wish.parts.iter().enumerate() {
            let mut add = |constant, role| {
                self.sites.push(Site {
                    constant,
                    part: Some(index(nth)),
                    role,
                    ..site.clone()
                });
            };
            let role = match (compiled[nth], part.condition, part.message) {
                (true, None, None) | (false, ..) => Role::Hit,
                (true, _, message) => Role::Compiled {
                    message: message.is_some(),
                },
            };
            add(constants[nth].probe, role);
            if let (Some((meter, _)), true) = (constants[nth].meter, compiled[nth]) {
                add(meter, Role::Meter);
            }
            if let (Some(passes), true) = (constants[nth].passes, compiled[nth]) {
                add(passes, Role::Pass);
            }
        }
        Ok(())
    }

    /// One part, wherever the probe of its line stands: compiled everywhere or nowhere.
    fn fragments(
        &mut self,
        part: &Part<'_>,
        constants: Constants,
        places: &[usize],
    ) -> Result<Vec<Fragment>, Failed> {
        let body = self.body;
        let fragment = |&position: &usize| {
            let position = index(position);
            let spot = Spot { body, position };
            part::fragment(self.spec, &mut self.host, spot, part, constants)
        };
        places.iter().map(fragment).collect()
    }
}
