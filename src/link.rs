//! From marshal bytes to code that can run: loads a variant and puts its probes in place.
//!
//! A variant that `marshal.loads` has just made is known to nobody else, so its placeholders can
//! be replaced (`ffi::consts` says why). One that cannot be linked as a whole is given up: half of
//! the probes of a module would be worse than none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use instrument::Spot;
use instrument::inset::Wish;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::allowance;
use crate::breakpoint::{Breakpoint, Tier};
use crate::ffi;
use crate::ffi::name::name;
use crate::inline::{self, Group};
use crate::interpreter;
use crate::probe::Probe;
use crate::registry::{self, WantedFile};
use crate::stands::Stands;
use crate::telemetry::{self, ReasonCode};
use crate::variant::{Placement, Site, Variant};

/// Loads and links a variant; the inner error is the reason why the original has to run.
pub(crate) fn load<'py>(
    py: Python<'py>,
    code: &[u8],
    placement: &Placement,
    wanted: &WantedFile,
    stands: &Stands,
    tier: Tier,
) -> PyResult<Result<Bound<'py, PyAny>, String>> {
    let mut targets = Targets::new(wanted, stands);
    let (code, sites) = targets.inset(py, code, &placement.sites);
    let module = ffi::unmarshal::loads(py, &code)?;
    for group in sites.chunk_by(|a, b| a.code.path == b.code.path) {
        let probes: Vec<(usize, Py<PyAny>)> = group
            .iter()
            .map(|site| {
                let probe = targets.probe(py, site, tier)?;
                Ok((site.constant as usize, probe.into_any()))
            })
            .collect::<PyResult<_>>()?;
        let code = descend(&module, &group[0].code.path)?;
        if !ffi::consts::replace(&code, &probes)? {
            return Ok(Err(format!(
                "the constants of {} are shared",
                group[0].code.qualname
            )));
        }
    }
    targets.report(placement, stands, tier);
    Ok(Ok(module))
}

/// The path of a code object with its variant, or why it cannot have one.
pub(crate) type Part<'py> = (Arc<[u32]>, Result<Bound<'py, PyAny>, String>);

/// Loads a variant and takes single code objects out of it: those at the paths of `originals`.
///
/// Each of them shares its constants with the original of its path, the code inside it included,
/// so that the program cannot tell by the identity of a constant which of the two has run.
pub(crate) fn load_parts<'py>(
    py: Python<'py>,
    variant: &Variant,
    targets: &mut Targets<'_>,
    tier: Tier,
    originals: &HashMap<Arc<[u32]>, Bound<'py, PyAny>>,
) -> PyResult<Vec<Part<'py>>> {
    let (code, sites) = targets.inset(py, &variant.code, &variant.placement.sites);
    let module = ffi::unmarshal::loads(py, &code)?;
    let mut parts = Vec::new();
    for sites in sites.chunk_by(|a, b| a.code.path == b.code.path) {
        if originals.contains_key(&sites[0].code.path) {
            parts.push((sites, descend(&module, &sites[0].code.path)?));
        }
    }
    drop(module);
    let mut linked = Vec::new();
    for (sites, part) in parts {
        let path = &sites[0].code.path;
        let own = originals[path].getattr(name!("co_consts"))?;
        let mut constants = Vec::new();
        for (index, constant) in own.cast_into::<PyTuple>()?.iter().enumerate() {
            constants.push((index, constant.unbind()));
        }
        for site in sites {
            let probe = targets.probe(py, site, tier)?;
            constants.push((site.constant as usize, probe.into_any()));
        }
        let part = if ffi::consts::replace(&part, &constants)? {
            Ok(part)
        } else {
            Err(format!(
                "the constants of {} are shared",
                sites[0].code.qualname
            ))
        };
        linked.push((Arc::clone(path), part));
    }
    Ok(linked)
}

/// The code object at the end of a path of indices into successive `co_consts`.
pub(crate) fn descend<'py>(code: &Bound<'py, PyAny>, path: &[u32]) -> PyResult<Bound<'py, PyAny>> {
    let mut code = code.clone();
    for index in path {
        code = code.getattr(name!("co_consts"))?.get_item(*index)?;
    }
    Ok(code)
}

/// Whether a code object, or one inside it, holds a probe of ours.
pub(crate) fn carries_probe(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let constants = code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?;
    for constant in constants {
        if constant.is_instance_of::<Probe>()
            || (constant.get_type().is(code.get_type()) && carries_probe(&constant)?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A breakpoint on a line, in one code object of the module or in all.
struct Standing {
    breakpoint: Arc<Breakpoint>,
    spot: Spot,
}

/// Which breakpoints stand on which line of a file.
pub(crate) struct Targets<'a> {
    wanted: &'a WantedFile,
    /// Where the code that paths of sites begin at is in its module.
    within: Arc<[u32]>,
    lines: HashMap<u32, Vec<Standing>>,
    /// The lines where probes were made, by the breakpoints that they are for.
    placed: HashMap<u64, BTreeSet<u32>>,
}

impl<'a> Targets<'a> {
    pub(crate) fn new(wanted: &'a WantedFile, stands: &Stands) -> Self {
        let mut lines: HashMap<u32, Vec<Standing>> = HashMap::new();
        for (breakpoint, stand) in wanted.breakpoints.iter().zip(stands.iter()) {
            for spot in stand.iter().flatten() {
                lines.entry(spot.line).or_default().push(Standing {
                    breakpoint: Arc::clone(breakpoint),
                    spot: spot.clone(),
                });
            }
        }
        Self {
            wanted,
            within: Arc::from([]),
            lines,
            placed: HashMap::new(),
        }
    }

    /// The same for sites of code that is somewhere inside its module.
    pub(crate) fn within(self, path: Arc<[u32]>) -> Self {
        Self {
            within: path,
            ..self
        }
    }

    /// The breakpoints that stand on the line of a site, in its code object.
    fn breakpoints_at(&self, site: &Site) -> Vec<Arc<Breakpoint>> {
        let path = self.path_of(site);
        let standing = self.lines.get(&site.line).into_iter().flatten();
        let here = standing.filter(|standing| standing.spot.is_in(&path));
        let mut breakpoints: Vec<_> = here
            .map(|standing| Arc::clone(&standing.breakpoint))
            .collect();
        if self.wanted.every_line {
            breakpoints.push(registry::line_breakpoint(&self.wanted.file, site.line));
        }
        breakpoints
    }

    /// Where the code object of a site is in the module.
    fn path_of(&self, site: &Site) -> Arc<[u32]> {
        if self.within.is_empty() {
            return Arc::clone(&site.code.path);
        }
        [&*self.within, &*site.code.path].concat().into()
    }

    /// The line of a site: in its code object alone, where the breakpoints are not the same in
    /// all code of the line.
    fn meant(&self, site: &Site) -> Spot {
        let mut standing = self.lines.get(&site.line).into_iter().flatten();
        let picks = standing.any(|standing| standing.spot.path.is_some());
        Spot {
            line: site.line,
            path: picks.then(|| Arc::clone(&site.code.path)),
        }
    }

    /// The lines of `sites` with the breakpoints on each, sorted.
    pub(crate) fn key(&self, sites: &[Site]) -> Vec<(u32, Vec<u64>)> {
        let mut key: Vec<_> = sites
            .iter()
            .map(|site| {
                let breakpoints = self.breakpoints_at(site);
                let ids = breakpoints.iter().map(|breakpoint| breakpoint.id);
                let mut ids: Vec<u64> = ids.collect();
                ids.sort_unstable();
                (site.line, ids)
            })
            .collect();
        key.sort_unstable();
        key.dedup();
        key
    }

    /// Compiles what the breakpoints evaluate into the lines of an instrumented module. Where
    /// that cannot be done for a line, its probe evaluates, and the breakpoint says why.
    fn inset<'v>(
        &self,
        py: Python<'_>,
        code: &'v [u8],
        sites: &'v [Site],
    ) -> (Cow<'v, [u8]>, Cow<'v, [Site]>) {
        let as_it_is = (Cow::Borrowed(code), Cow::Borrowed(sites));
        let Ok(interpreter) = interpreter::current(py) else {
            return as_it_is;
        };
        let mut lines = BTreeMap::new();
        for site in sites {
            lines.entry(self.meant(site)).or_insert(site);
        }
        let groups: Vec<(Spot, Vec<Group>)> = lines
            .into_iter()
            .map(|(place, site)| (place, inline::groups(self.breakpoints_at(site))))
            .filter(|(_, groups)| groups.iter().any(Group::is_inline))
            .collect();
        if groups.is_empty() {
            return as_it_is;
        }
        let pieces: Vec<Vec<_>> = groups
            .iter()
            .map(|(_, groups)| groups.iter().map(Group::pieces).collect())
            .collect();
        let metered = allowance::measures();
        let mut wishes = Vec::new();
        for ((spot, groups), pieces) in groups.iter().zip(&pieces) {
            let parts = groups.iter().zip(pieces);
            wishes.push(Wish {
                line: spot.line,
                path: spot.path.clone(),
                parts: parts
                    .map(|(group, pieces)| group.part(pieces.as_deref(), metered))
                    .collect(),
            });
        }
        match instrument::inset::inset(interpreter.version, code, sites, &wishes) {
            Ok(made) => {
                for refused in &made.refused {
                    let is_meant =
                        |spot: &Spot| spot.line == refused.line && spot.is_in(&refused.path);
                    let groups = groups.iter().find(|(spot, _)| is_meant(spot));
                    let group = groups.and_then(|(_, groups)| groups.get(refused.part as usize));
                    for breakpoint in group.into_iter().flat_map(|group| &group.breakpoints) {
                        breakpoint.take_detour(&refused.reason.to_string());
                    }
                }
                (Cow::Owned(made.code), Cow::Owned(made.sites))
            }
            Err(error) => {
                let detour = format!("evaluated out of line: {error}");
                let groups = groups.iter().flat_map(|(_, groups)| groups);
                for breakpoint in groups.flat_map(|group| &group.breakpoints) {
                    breakpoint.take_detour(&detour);
                }
                as_it_is
            }
        }
    }

    /// The probe of one site.
    pub(crate) fn probe(&mut self, py: Python<'_>, site: &Site, tier: Tier) -> PyResult<Py<Probe>> {
        let mut breakpoints = self.breakpoints_at(site);
        for breakpoint in &breakpoints {
            let lines = self.placed.entry(breakpoint.id).or_default();
            lines.insert(site.line);
        }
        if let Some(part) = site.part {
            let group = inline::groups(breakpoints).into_iter().nth(part as usize);
            breakpoints = group.unwrap_or_default().breakpoints;
        }
        let path = self.path_of(site);
        let function = Arc::clone(&site.code.qualname);
        let probe = Probe::new(breakpoints.into(), function, site.line, tier, path);
        Py::new(py, probe.with_role(site.role, allowance::measures()))
    }

    /// Tells every breakpoint of the file where it is now.
    fn report(&self, placement: &Placement, stands: &Stands, tier: Tier) {
        for (breakpoint, stand) in self.wanted.breakpoints.iter().zip(stands.iter()) {
            let spots = match stand {
                Ok(spots) => spots,
                Err(reason) => {
                    if breakpoint.request.function.is_some() {
                        // A reload may have taken the functions away.
                        breakpoint.lose(reason);
                    }
                    breakpoint.refuse(reason);
                    continue;
                }
            };
            let placed = self.placed.get(&breakpoint.id);
            if let Some(lines) = placed {
                breakpoint.place(lines.iter().copied().collect(), tier);
            }
            let is_missing = |spot: &&Spot| placed.is_none_or(|lines| !lines.contains(&spot.line));
            if let Some(missing) = spots.iter().find(is_missing) {
                let reason = untouched_reason(placement, missing.line);
                breakpoint.refuse(&reason);
                breakpoint.remark(&reason);
                telemetry::record(ReasonCode::BytecodeInjectionFailed, reason);
            }
        }
    }
}

/// Why `line` holds no probe although it is the line of some code.
fn untouched_reason(placement: &Placement, line: u32) -> String {
    let before = placement
        .untouched
        .iter()
        .filter(|code| code.first_line <= line);
    before.max_by_key(|code| code.first_line).map_or_else(
        || format!("no probe could be placed on line {line}"),
        |code| format!("{} was left alone: {}", code.qualname, code.reason),
    )
}
