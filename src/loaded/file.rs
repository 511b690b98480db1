//! One file whose loaded code is brought in line with its breakpoints.
//!
//! Code is seen as trees of *originals*: code objects as the compiler made them, nested as their
//! constants say. For each original that is to hold probes there is one current variant. With
//! promotion on, functions hold the variant and the code around it makes functions of the variant;
//! with promotion off both keep the original, and the eval-frame hook finds the variant at it.
//! Everything is undone by the same walk with no variant wanted, so originals come back by
//! identity. Called with the collector paused and runs no bytecode: a thread switch cannot fall
//! between two steps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use instrument::Wanted;
use pyo3::prelude::*;

use super::count;
use super::figures::{CONSTANTS_RELINKED, FUNCTIONS_BOUND, VARIANTS_MADE};
use super::find::Holders;
use super::originals::ByFirstLine;
use super::setting::{Setting, unavailable};
use super::source::Module;
use super::tree::{Key, address, constants, has_line, nested};
use super::watch::Watched;
use crate::ffi::name::name;
use crate::ffi::{self, extra};
use crate::interpreter;
use crate::link::{self, Targets};
use crate::memo;
use crate::probe::Probe;
use crate::registry::WantedFile;
use crate::scoped::Backend;
use crate::stands::Stands;
use crate::variant;

/// A code object with probes, and what it stands in for.
pub(super) struct Variant {
    pub(super) code: Py<PyAny>,
    pub(super) original: Py<PyAny>,
    pub(super) key: Key,
}

/// An original that is in no other known original.
pub(super) struct Root {
    pub(super) code: Py<PyAny>,
    pub(super) marshalled: Arc<[u8]>,
    pub(super) breakable: Arc<[u32]>,
    /// Where it is in the module that its source says.
    pub(super) path: Arc<[u32]>,
    /// The source that it was compared with.
    pub(super) digest: Option<[u8; 32]>,
}

/// What is remembered about a file between two changes of its breakpoints.
#[derive(Default)]
pub(super) struct FileState {
    /// Every variant that may still be somewhere, by its address.
    pub(super) variants: HashMap<usize, Variant>,
    /// The variant to run, by the address of its original.
    pub(super) current: HashMap<usize, usize>,
    pub(super) roots: HashMap<usize, Root>,
    /// The addresses of the originals in all roots, which keep them alive.
    pub(super) originals: HashSet<usize>,
    /// Originals whose extra slot names a variant.
    pub(super) swapped: HashMap<usize, Py<PyAny>>,
    /// Code whose lines are watched, by its address.
    pub(super) watched: HashMap<usize, Watched>,
}

impl FileState {
    /// The variant that frames of `original` are to run.
    pub(super) fn current_of(
        &self,
        py: Python<'_>,
        original: &Bound<'_, PyAny>,
    ) -> Option<Py<PyAny>> {
        let variant = self.variants.get(self.current.get(&address(original))?)?;
        Some(variant.code.clone_ref(py))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.variants.is_empty()
            && self.roots.is_empty()
            && self.swapped.is_empty()
            && self.watched.is_empty()
    }
}

/// What the breakpoints of a file ask of its loaded code.
pub(super) struct Demand<'a> {
    wanted: &'a WantedFile,
    /// Where the breakpoints stand.
    pub(super) stands: Stands,
    /// The lines that are to hold probes.
    lines: HashSet<u32>,
}

impl<'a> Demand<'a> {
    pub(super) fn new(wanted: &'a WantedFile, stands: Stands) -> Self {
        let lines = stands.spots().map(|spot| spot.line).collect();
        Self {
            wanted,
            stands,
            lines,
        }
    }
}

/// One file whose functions are being changed.
pub(super) struct LoadedFile<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) setting: &'a Setting,
    pub(super) holders: Holders<'py>,
    pub(super) state: FileState,
    /// The module as its source says, or why there is none.
    pub(super) module: Result<Module, String>,
    /// What is asked of originals that stay as they are, by their addresses.
    pub(super) asked: HashMap<usize, Vec<Py<Probe>>>,
    /// All code of the module, by its first line, once it was needed.
    pub(super) by_first_line: ByFirstLine<'py>,
}

impl<'py> LoadedFile<'_, 'py> {
    /// Gives everything its original code back.
    pub(super) fn give_back(&mut self) -> PyResult<()> {
        self.state.current.clear();
        // Where the originals of some code are not known, that of the rest comes back.
        let roots = self.roots()?.unwrap_or_default();
        self.relink(&roots)?;
        self.bind_functions()?;
        self.mark_swapped()?;
        let watched = std::mem::take(&mut self.state.watched);
        self.unwatch(watched)?;
        self.state.roots.clear();
        self.state.originals.clear();
        self.forget_unused();
        Ok(())
    }

    /// Brings functions and constants in line with `demand`; a reason when that cannot be done.
    /// What comes back from success is why frames that run already are not reached, if so.
    pub(super) fn follow(
        &mut self,
        demand: &Demand<'_>,
    ) -> PyResult<Result<Option<String>, String>> {
        let roots = match self.roots()? {
            Ok(roots) => roots,
            Err(reason) => return Ok(Err(reason)),
        };
        let roots = match self.faithful(&roots)? {
            Ok(faithful) => faithful,
            Err(reason) => {
                // What was bound before stays bound.
                self.relink(&roots)?;
                self.state.originals.clear();
                return Ok(Err(reason));
            }
        };
        self.state.current.clear();
        self.asked.clear();
        let mut watched_before = std::mem::take(&mut self.state.watched);
        let mut result = Ok(());
        for root in &roots {
            result = result.and(self.demand_of_root(root, demand)?);
        }
        self.relink(&roots)?;
        self.bind_functions()?;
        self.mark_swapped()?;
        let unreached = self.watch_frames(&watched_before)?.err();
        if self.holders.partial {
            self.keep_watching_frames(&mut watched_before);
        }
        self.unwatch(watched_before)?;
        self.forget_unused();
        Ok(result.map(|()| unreached))
    }

    /// Makes or finds the variants that `demand` asks of one root, or has the lines watched where
    /// no code is to be changed.
    fn demand_of_root(
        &mut self,
        root: &Bound<'py, PyAny>,
        demand: &Demand<'_>,
    ) -> PyResult<Result<(), String>> {
        let made = match self.ask(root, demand)? {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(Ok(())),
            Err(reason) => return Ok(Err(reason)),
        };
        let within = self.state.roots.get(&address(root));
        let within = within.map_or_else(|| Arc::from([]), |root| Arc::clone(&root.path));
        let mut targets = Targets::new(demand.wanted, &demand.stands).within(within);
        let mut missing = HashMap::new();
        for sites in made
            .placement
            .sites
            .chunk_by(|a, b| a.code.path == b.code.path)
        {
            let path = &sites[0].code.path;
            let original = match self.original_at(root, path)? {
                Ok(original) => original,
                Err(reason) => return Ok(Err(reason)),
            };
            let wanted = targets.key(sites);
            if self.setting.backend != Backend::EvalFrame {
                let watched = self.watch_all(&original, sites, &mut targets, wanted)?;
                if watched.is_err() {
                    return Ok(watched);
                }
            } else if let Some(variant) = self.variant_with(&original, &wanted) {
                self.state.current.insert(address(&original), variant);
            } else {
                missing.insert(Arc::clone(path), original);
            }
        }
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        let tier = self.setting.tier();
        let parts = link::load_parts(self.py, &made, &mut targets, tier, &missing)?;
        for (path, part) in parts {
            let original = &missing[&path];
            match part {
                Ok(code) => {
                    count(&VARIANTS_MADE);
                    self.remember(&code, original)?;
                    let of = address(original);
                    self.state.current.insert(of, address(&code));
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(()))
    }

    /// Instruments a root; nothing when `demand` asks nothing of it.
    fn ask(
        &mut self,
        root: &Bound<'py, PyAny>,
        demand: &Demand<'_>,
    ) -> PyResult<Result<Option<Arc<variant::Variant>>, String>> {
        let version = match interpreter::current(self.py) {
            Ok(interpreter) => interpreter.version,
            Err(reason) => return Ok(Err(reason.to_owned())),
        };
        if !demand.wanted.every_line && !has_line(root, &demand.lines)? {
            return Ok(Ok(None));
        }
        let (marshalled, breakable) = match self.pristine(root)? {
            Ok(root) => root,
            Err(reason) => return Ok(Err(reason)),
        };
        // Lines outside of this root would snap to lines that nobody asked for.
        let within = self.state.roots.get(&address(root));
        let within = within.map_or_else(|| Arc::from([]), |root| Arc::clone(&root.path));
        let mut spots = demand.stands.within(&within);
        spots.retain(|spot| breakable.binary_search(&spot.line).is_ok());
        let lines: Vec<u32> = spots.iter().map(|spot| spot.line).collect();
        let probes = if demand.wanted.every_line {
            Wanted::EveryLine
        } else if spots.is_empty() {
            return Ok(Ok(None));
        } else if spots.iter().any(|spot| spot.path.is_some()) {
            Wanted::Spots(&spots)
        } else {
            Wanted::Lines(&lines)
        };
        let made = memo::make(version, &marshalled, probes);
        Ok(made.map(Some).map_err(|error| error.to_string()))
    }

    fn variant_with(&self, original: &Bound<'_, PyAny>, wanted: &Key) -> Option<usize> {
        let fits = |variant: &&Variant| variant.original.is(original) && variant.key == *wanted;
        let mut known = self.state.variants.values();
        known
            .find(fits)
            .map(|variant| variant.code.as_ptr() as usize)
    }

    /// Has all code of `roots`, and all variants of it, make functions of the code that
    /// is current.
    fn relink(&mut self, roots: &[Bound<'py, PyAny>]) -> PyResult<()> {
        let mut stale: HashMap<usize, Vec<Bound<'py, PyAny>>> = HashMap::new();
        for variant in self.state.variants.values() {
            let of = stale.entry(variant.original.as_ptr() as usize).or_default();
            of.push(variant.code.bind(self.py).clone());
        }
        let mut changes = Vec::new();
        self.state.originals.clear();
        for root in roots {
            self.visit(root, &mut |file, code, _| {
                file.state.originals.insert(address(code));
                for (index, inner) in nested(code)? {
                    let Ok(original) = file.original_of(&inner)? else {
                        continue;
                    };
                    let wanted = file.code_for(&original);
                    let variants = stale.get(&address(code)).into_iter().flatten();
                    for parent in std::iter::once(code).chain(variants) {
                        // Code that another tool has rewritten keeps no order that is known.
                        let held = constants(parent)?;
                        if index < held.len() && !held.get_item(index)?.is(&wanted) {
                            changes.push((parent.clone(), index, wanted.clone()));
                        }
                    }
                }
                Ok(())
            })?;
        }
        for (parent, index, wanted) in changes {
            self.setting.relink(&parent, index, &wanted)?;
            count(&CONSTANTS_RELINKED);
        }
        Ok(())
    }

    /// The code that functions of `original` are to hold.
    fn code_for(&self, original: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
        if self.setting.keeps_original(original) {
            return original.clone();
        }
        self.current(original).unwrap_or_else(|| original.clone())
    }

    /// The current variant of an original.
    pub(super) fn current(&self, original: &Bound<'_, PyAny>) -> Option<Bound<'py, PyAny>> {
        let variant = self.state.current_of(self.py, original)?;
        Some(variant.into_bound(self.py))
    }

    fn bind_functions(&mut self) -> PyResult<()> {
        for function in std::mem::take(&mut self.holders.functions) {
            let code = function.getattr(name!("__code__"))?;
            if let Ok(original) = self.original_of(&code)? {
                let wanted = self.code_for(&original);
                if !wanted.is(&code) {
                    self.setting.set_code(&function, &wanted)?;
                    count(&FUNCTIONS_BOUND);
                }
            }
            self.holders.functions.push(function);
        }
        Ok(())
    }

    /// Tells the eval-frame hook which originals have a variant, where functions keep them.
    fn mark_swapped(&mut self) -> PyResult<()> {
        let mut wanted = HashMap::new();
        for variant in self.state.current.values() {
            let Some(variant) = self.state.variants.get(variant) else {
                continue;
            };
            let original = variant.original.bind(self.py);
            if self.setting.keeps_original(original) {
                self.setting
                    .swap_at_entry(original, variant.code.bind(self.py))?;
                wanted.insert(address(original), original.clone().unbind());
            }
        }
        for (address, original) in std::mem::replace(&mut self.state.swapped, wanted) {
            if !self.state.swapped.contains_key(&address) {
                extra::set_variant(original.bind(self.py), None).map_err(unavailable)?;
            }
        }
        Ok(())
    }

    /// Drops the variants that nothing but this state holds.
    fn forget_unused(&mut self) {
        let py = self.py;
        let current: HashSet<usize> = self.state.current.values().copied().collect();
        self.state.variants.retain(|address, variant| {
            current.contains(address) || ffi::consts::reference_count(variant.code.bind(py)) > 1
        });
    }
}
