//! Lines that are watched: those of frames that no variant can reach any more, and all of them
//! where the backend changes no code.
//!
//! A frame goes on with the code that it was entered with. What its original is to hold and that
//! code does not is watched in this frame until it leaves; later frames run the variant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::figures::FRAMES_WATCHED;
use super::file::LoadedFile;
use super::tree::{Key, address, constants, key, own_probe};
use crate::breakpoint::{Breakpoint, Tier};
use crate::link::Targets;
use crate::probe::Probe;
use crate::scoped;
use crate::variant::Site;

type Watched = HashMap<usize, (Py<PyAny>, Key)>;
/// Probes by line, and the lines with their breakpoints.
type Lacking = (Vec<(u32, Py<Probe>)>, Key);

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
        let watched = scoped::watch(self.py, original, probes, None, self.setting.backend)?;
        if watched.is_ok() {
            let entry = (original.clone().unbind(), lines);
            self.state.watched.insert(address(original), entry);
        }
        Ok(watched)
    }

    /// Watches what the code of running and suspended frames lacks.
    pub(super) fn watch_frames(&mut self, before: &Watched) -> PyResult<Result<(), String>> {
        let mut frames: HashMap<usize, (Bound<'py, PyAny>, Vec<Py<PyAny>>)> = HashMap::new();
        for live in &self.holders.frames {
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
            if before
                .get(&address)
                .is_none_or(|(_, known)| *known != lines)
            {
                FRAMES_WATCHED.fetch_add(frames.len() as u64, Ordering::Relaxed);
                let backend = self.setting.backend;
                let watched = scoped::watch(self.py, &code, probes, Some(frames), backend)?;
                if watched.is_err() {
                    result = result.and(watched);
                    continue;
                }
            }
            self.state.watched.insert(address, (code.unbind(), lines));
        }
        Ok(result)
    }

    /// Probes for what frames of `code` would do if they ran the variant, and do not.
    fn lacking(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Lacking>> {
        let Ok(original) = self.original_of(code)? else {
            return Ok(None);
        };
        let Some(variant) = self.current(&original) else {
            return Ok(None);
        };
        let held: HashMap<u32, Vec<u64>> = key(code)?.into_iter().collect();
        let mut probes = Vec::new();
        let mut lines = Key::new();
        for constant in constants(&variant)? {
            let Ok(probe) = constant.cast_into::<Probe>() else {
                continue;
            };
            let probe = probe.get();
            let known = held.get(&probe.line);
            let lacks = |point: &&Arc<Breakpoint>| known.is_none_or(|ids| !ids.contains(&point.id));
            let breakpoints: Vec<_> = probe.breakpoints.iter().filter(lacks).cloned().collect();
            if breakpoints.is_empty() || lines.iter().any(|(line, _)| *line == probe.line) {
                continue;
            }
            let ids = breakpoints.iter().map(|breakpoint| breakpoint.id);
            lines.push((probe.line, ids.collect()));
            let probe = Probe {
                breakpoints: breakpoints.into_boxed_slice(),
                function: Arc::clone(&probe.function),
                line: probe.line,
                tier: Tier::Tracing,
                path: Arc::clone(&probe.path),
            };
            probes.push((probe.line, Py::new(self.py, probe)?));
        }
        lines.sort_unstable();
        Ok((!lines.is_empty()).then_some((probes, lines)))
    }

    /// Ends the watches of `before` that are not wanted any more.
    pub(super) fn unwatch(&mut self, before: Watched) -> PyResult<()> {
        for (address, (code, _)) in before {
            if !self.state.watched.contains_key(&address) {
                scoped::unwatch(self.py, code.bind(self.py))?;
            }
        }
        Ok(())
    }

    /// The lines that are reached now, and how.
    pub(super) fn placed(&mut self) -> PyResult<HashMap<u32, Tier>> {
        let mut placed = HashMap::new();
        for (_, lines) in self.state.watched.values() {
            placed.extend(lines.iter().map(|(line, _)| (*line, Tier::Tracing)));
        }
        let held = self.held_originals()?;
        for (original, variant) in &self.state.current {
            let Some(variant) = self.state.variants.get(variant) else {
                continue;
            };
            if held.contains(original) {
                let probe = own_probe(variant.code.bind(self.py))?;
                let tier = probe.map_or(self.setting.tier(), |probe| probe.get().tier);
                placed.extend(variant.key.iter().map(|(line, _)| (*line, tier)));
            }
        }
        Ok(placed)
    }

    /// The originals that something will run again: a function, or code that makes functions.
    fn held_originals(&mut self) -> PyResult<HashSet<usize>> {
        let mut held = HashSet::new();
        let mut roots = Vec::new();
        for function in std::mem::take(&mut self.holders.functions) {
            let code = function.getattr(pyo3::intern!(self.py, "__code__"))?;
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
