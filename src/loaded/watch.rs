//! Lines that are watched: those of frames that no variant can reach any more, and all of them
//! where the backend changes no code.
//!
//! A frame goes on with the code that it was entered with. What its original is to hold and that
//! code does not is watched in this frame until it leaves; later frames run the variant.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::figures::FRAMES_WATCHED;
use super::file::LoadedFile;
use super::tree::{Key, address, constants, key};
use crate::breakpoint::{Breakpoint, Tier};
use crate::ffi::name::name;
use crate::link::Targets;
use crate::probe::{Probe, probes_of};
use crate::scoped::{self, Backend};
use crate::variant::Site;

/// Code whose lines are watched.
pub(super) struct Watched {
    code: Py<PyAny>,
    lines: Key,
    /// By what frames are watched that run it; `None` when all of them are.
    frames: Option<Backend>,
}

impl Watched {
    fn new(code: &Bound<'_, PyAny>, lines: Key, frames: Option<Backend>) -> Self {
        let code = code.clone().unbind();
        Self {
            code,
            lines,
            frames,
        }
    }
}

/// Probes by line, and the lines with their breakpoints.
type Lacking = (Vec<(u32, Py<Probe>)>, Key);

/// How each line of each breakpoint is reached.
pub(super) type Placed = HashMap<(u32, u64), Tier>;

/// Each line of `key` with each of its breakpoints.
fn each(key: &Key, tier: Tier) -> impl Iterator<Item = ((u32, u64), Tier)> {
    key.iter()
        .flat_map(move |(line, ids)| ids.iter().map(move |id| ((*line, *id), tier)))
}

impl<'py> LoadedFile<'_, 'py> {
    /// Watches all frames of one original at the lines of `sites`.
    pub(super) fn watch_all(
        &mut self,
        original: &Bound<'py, PyAny>,
        sites: &[Site],
        targets: &mut Targets<'_>,
        lines: Key,
    ) -> PyResult<Result<(), String>> {
        let mut probes = Vec::new();
        let mut seen = HashSet::new();
        for site in sites.iter().filter(|site| seen.insert(site.line)) {
            let probe = targets.probe(self.py, site, Tier::Tracing)?;
            probes.push((site.line, probe));
        }
        let asked = probes.iter().map(|(_, probe)| probe.clone_ref(self.py));
        self.asked.insert(address(original), asked.collect());
        let backend = self.setting.backend;
        let watched = scoped::watch(self.py, original, probes, None, backend)?;
        if watched.is_ok() {
            let entry = Watched::new(original, lines, None);
            self.state.watched.insert(address(original), entry);
        }
        Ok(watched)
    }

    /// Watches what the code of running and suspended frames lacks.
    pub(super) fn watch_frames(
        &mut self,
        before: &HashMap<usize, Watched>,
    ) -> PyResult<Result<(), String>> {
        let mut frames: HashMap<usize, (Bound<'py, PyAny>, Vec<Py<PyAny>>)> = HashMap::new();
        for live in &self.holders.frames {
            // All frames that run this code are watched.
            if self.state.watched.contains_key(&address(&live.code)) {
                continue;
            }
            let of = frames.entry(address(&live.code));
            let (_, frames) = of.or_insert_with(|| (live.code.clone(), Vec::new()));
            frames.push(live.frame.clone().unbind());
        }
        let mut result = Ok(());
        for (address, (code, frames)) in frames {
            let Some((probes, lines)) = self.lacking(&code)? else {
                continue;
            };
            if !self.setting.watches_frames {
                let reason = "scoped tracing is off";
                result = Err(reason.to_owned());
                continue;
            }
            let backend = self.setting.backend;
            if before
                .get(&address)
                .is_none_or(|known| known.lines != lines || known.frames != Some(backend))
            {
                FRAMES_WATCHED.fetch_add(frames.len() as u64, Ordering::Relaxed);
                let watched = scoped::watch(self.py, &code, probes, Some(frames), backend)?;
                if watched.is_err() {
                    result = result.and(watched);
                    continue;
                }
            }
            let entry = Watched::new(&code, lines, Some(backend));
            self.state.watched.insert(address, entry);
        }
        Ok(result)
    }

    /// Probes for what frames of `code` would do if they ran the variant, or the original while it
    /// is watched, and do not.
    fn lacking(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Lacking>> {
        let Ok(original) = self.original_of(code)? else {
            return Ok(None);
        };
        let asked: Vec<Py<Probe>> = match self.asked.get(&address(&original)) {
            Some(probes) => probes.iter().map(|p| p.clone_ref(self.py)).collect(),
            None => match self.current(&original) {
                Some(variant) => constants(&variant)?
                    .into_iter()
                    .filter_map(|constant| constant.cast_into::<Probe>().ok())
                    .map(Bound::unbind)
                    .collect(),
                None => return Ok(None),
            },
        };
        let held: HashMap<u32, Vec<u64>> = key(code)?.into_iter().collect();
        // The breakpoints of a line may have probes of their own in the variant; here one probe
        // stands for all of them.
        let mut wanted: BTreeMap<u32, (&Probe, Vec<Arc<Breakpoint>>)> = BTreeMap::new();
        for probe in &asked {
            let probe = probe.get();
            let known = held.get(&probe.line);
            let breakpoints = probe.breakpoints.iter();
            let breakpoints = breakpoints.filter(|point| !point.leaves_frames());
            for breakpoint in breakpoints {
                let (_, lacking) = wanted.entry(probe.line).or_insert((probe, Vec::new()));
                let lacks = known.is_none_or(|ids| !ids.contains(&breakpoint.id));
                if lacks && lacking.iter().all(|other| other.id != breakpoint.id) {
                    lacking.push(Arc::clone(breakpoint));
                }
            }
        }
        let mut probes = Vec::new();
        let mut lines = Key::new();
        for (line, (probe, breakpoints)) in wanted {
            if breakpoints.is_empty() {
                continue;
            }
            let mut ids: Vec<u64> = breakpoints.iter().map(|point| point.id).collect();
            ids.sort_unstable();
            lines.push((line, ids));
            let function = Arc::clone(&probe.function);
            let path = Arc::clone(&probe.path);
            let probe = Probe::new(breakpoints.into(), function, line, Tier::Tracing, path);
            probes.push((line, Py::new(self.py, probe)?));
        }
        lines.sort_unstable();
        Ok((!lines.is_empty()).then_some((probes, lines)))
    }

    /// Goes on watching frames that nobody looked for this time.
    pub(super) fn keep_watching_frames(&mut self, before: &mut HashMap<usize, Watched>) {
        let watched = &mut self.state.watched;
        for (address, kept) in before.extract_if(|_, watched| watched.frames.is_some()) {
            watched.entry(address).or_insert(kept);
        }
    }

    /// Ends the watches of `before` that are not wanted any more.
    pub(super) fn unwatch(&mut self, before: HashMap<usize, Watched>) -> PyResult<()> {
        for (address, watched) in before {
            if !self.state.watched.contains_key(&address) {
                scoped::unwatch(self.py, watched.code.bind(self.py))?;
            }
        }
        Ok(())
    }

    /// What is reached now, and how.
    pub(super) fn placed(&mut self) -> PyResult<Placed> {
        let mut placed = Placed::new();
        for watched in self.state.watched.values() {
            placed.extend(each(&watched.lines, Tier::Tracing));
        }
        let held = self.held_originals()?;
        for (original, variant) in &self.state.current {
            let Some(variant) = self.state.variants.get(variant) else {
                continue;
            };
            if held.contains(original) {
                let probe = probes_of(variant.code.bind(self.py))?.next();
                let tier = probe.map_or(self.setting.tier(), |probe| probe.get().tier);
                placed.extend(each(&variant.key, tier));
            }
        }
        Ok(placed)
    }

    /// The originals that something will run again: a function, or code that makes functions.
    fn held_originals(&mut self) -> PyResult<HashSet<usize>> {
        let mut held = HashSet::new();
        let mut roots = Vec::new();
        for function in std::mem::take(&mut self.holders.functions) {
            let code = function.getattr(name!("__code__"))?;
            if let Ok(original) = self.original_of(&code)?
                && held.insert(address(&original))
            {
                roots.push(original);
            }
            self.holders.functions.push(function);
        }
        let known: Vec<_> = self.state.roots.values().collect();
        roots.extend(
            known
                .into_iter()
                .map(|root| root.code.bind(self.py).clone()),
        );
        for root in roots {
            self.visit(&root, &mut |_, code, path| {
                if !path.is_empty() {
                    held.insert(address(code));
                }
                Ok(())
            })?;
        }
        Ok(held)
    }
}
