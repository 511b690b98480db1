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
use super::setting::{Setting, unavailable};
use super::source::{self, Module};
use super::tree::{Key, address, constants, dumps, key, nested, own_probe};
use crate::breakpoint::Tier;
use crate::ffi::{self, extra};
use crate::interpreter;
use crate::link::{self, Targets};
use crate::registry::WantedFile;
use crate::variant::{self, Placement, SnappedLine};

/// A code object with probes, and what it stands in for.
struct Variant {
    code: Py<PyAny>,
    original: Py<PyAny>,
    key: Key,
}

/// An original that is in no other known original.
struct Root {
    code: Py<PyAny>,
    marshalled: Arc<[u8]>,
    breakable: Arc<[u32]>,
    /// The source that it was compared with.
    digest: Option<[u8; 32]>,
}

/// What is remembered about a file between two changes of its breakpoints.
#[derive(Default)]
pub(super) struct FileState {
    /// Every variant that may still be somewhere, by its address.
    variants: HashMap<usize, Variant>,
    /// The variant to run, by the address of its original.
    pub(super) current: HashMap<usize, usize>,
    roots: HashMap<usize, Root>,
    /// Originals whose extra slot names a variant.
    pub(super) swapped: HashMap<usize, Py<PyAny>>,
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
        self.variants.is_empty() && self.roots.is_empty() && self.swapped.is_empty()
    }
}

/// What the breakpoints of a file ask of its loaded code.
pub(super) struct Demand<'a> {
    pub(super) wanted: &'a WantedFile,
    pub(super) snapped: Vec<SnappedLine>,
}

/// One file whose functions are being changed.
pub(super) struct LoadedFile<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) setting: &'a Setting,
    pub(super) holders: Holders<'py>,
    pub(super) state: FileState,
    /// The module as its source says, or why there is none.
    pub(super) module: Result<Module, String>,
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
        self.state.roots.clear();
        self.forget_unused();
        Ok(())
    }

    /// Brings functions and constants in line with `demand`; a reason when that cannot be done.
    pub(super) fn follow(&mut self, demand: &Demand<'_>) -> PyResult<Result<(), String>> {
        let roots = match self.roots()? {
            Ok(roots) => roots,
            Err(reason) => return Ok(Err(reason)),
        };
        for root in &roots {
            if let Err(reason) = self.pristine(root)? {
                // What was bound before stays bound.
                self.relink(&roots)?;
                return Ok(Err(reason));
            }
        }
        self.state.current.clear();
        let mut result = Ok(());
        for root in &roots {
            result = result.and(self.demand_of_root(root, demand)?);
        }
        self.relink(&roots)?;
        self.bind_functions()?;
        self.mark_swapped()?;
        self.forget_unused();
        Ok(result)
    }

    /// The originals that hold all other known ones; a reason when code has no known original.
    fn roots(&mut self) -> PyResult<Result<Vec<Bound<'py, PyAny>>, String>> {
        let mut originals = Vec::new();
        for code in self.held_codes()? {
            match self.original_of(&code)? {
                Ok(original) => originals.push(original),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let mut inner = HashSet::new();
        let mut seen = HashSet::new();
        originals.retain(|code| seen.insert(address(code)));
        for original in &originals {
            self.visit(original, &mut |_, code, path| {
                if !path.is_empty() {
                    inner.insert(address(code));
                }
                Ok(())
            })?;
        }
        originals.retain(|code| !inner.contains(&address(code)));
        Ok(Ok(originals))
    }

    fn held_codes(&self) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut codes = Vec::new();
        for function in &self.holders.functions {
            codes.push(function.getattr(pyo3::intern!(self.py, "__code__"))?);
        }
        codes.extend(self.holders.frames.iter().map(|live| live.code.clone()));
        let known = self.state.roots.values();
        codes.extend(known.map(|root| root.code.bind(self.py).clone()));
        Ok(codes)
    }

    /// What a code object stands in for: itself, unless it holds probes.
    pub(super) fn original_of(
        &mut self,
        code: &Bound<'py, PyAny>,
    ) -> PyResult<Result<Bound<'py, PyAny>, String>> {
        if let Some(variant) = self.state.variants.get(&address(code)) {
            return Ok(Ok(variant.original.bind(self.py).clone()));
        }
        match own_probe(code)? {
            None => Ok(Ok(code.clone())),
            Some(probe) => self.adopt(code, &probe.get().path),
        }
    }

    /// Finds the original of code that was born with probes, in the module compiled anew. The
    /// code inside it becomes that which the program has.
    fn adopt(
        &mut self,
        code: &Bound<'py, PyAny>,
        path: &[u32],
    ) -> PyResult<Result<Bound<'py, PyAny>, String>> {
        let module = match &self.module {
            Ok(module) => module.code.bind(self.py).clone(),
            Err(reason) => return Ok(Err(reason.clone())),
        };
        let original = link::descend(&module, path)?;
        let mut inner = Vec::new();
        for (index, nested) in nested(code)? {
            match self.original_of(&nested)? {
                Ok(nested) => inner.push((index, nested.unbind())),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        // Where the constants are shared, functions made later run code of their own: as good,
        // but not the same.
        ffi::consts::replace(&original, &inner)?;
        self.remember(code, &original)?;
        Ok(Ok(original))
    }

    fn remember(&mut self, code: &Bound<'py, PyAny>, original: &Bound<'py, PyAny>) -> PyResult<()> {
        let variant = Variant {
            code: code.clone().unbind(),
            original: original.clone().unbind(),
            key: key(code)?,
        };
        self.state.variants.insert(address(code), variant);
        Ok(())
    }

    /// Visits an original and the originals inside it, with the path to each.
    pub(super) fn visit(
        &mut self,
        root: &Bound<'py, PyAny>,
        visit: &mut Visit<'_, Self, Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        self.visit_from(root, &mut Vec::new(), visit)
    }

    fn visit_from(
        &mut self,
        code: &Bound<'py, PyAny>,
        path: &mut Vec<u32>,
        visit: &mut Visit<'_, Self, Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        visit(self, code, path)?;
        for (index, inner) in nested(code)? {
            // Code without a known original is left as it is.
            if let Ok(inner) = self.original_of(&inner)? {
                path.push(u32::try_from(index).unwrap_or(u32::MAX));
                self.visit_from(&inner, path, visit)?;
                path.pop();
            }
        }
        Ok(())
    }

    /// Makes or finds the variants that `demand` asks of one root.
    fn demand_of_root(
        &mut self,
        root: &Bound<'py, PyAny>,
        demand: &Demand<'_>,
    ) -> PyResult<Result<(), String>> {
        let version = match interpreter::current(self.py) {
            Ok(interpreter) => interpreter.version,
            Err(reason) => return Ok(Err(reason.to_owned())),
        };
        let (marshalled, breakable) = match self.pristine(root)? {
            Ok(root) => root,
            Err(reason) => return Ok(Err(reason)),
        };
        // Lines outside of this root would snap to lines that nobody asked for.
        let lines: Vec<u32> = demand
            .snapped
            .iter()
            .filter_map(|line| line.actual.clone().ok())
            .filter(|line| breakable.binary_search(line).is_ok())
            .collect();
        let every_line = demand.wanted.every_line;
        if lines.is_empty() && !every_line {
            return Ok(Ok(()));
        }
        let probes = if every_line {
            Wanted::EveryLine
        } else {
            Wanted::Lines(&lines)
        };
        let made = match variant::make(version, &marshalled, probes) {
            Ok(made) => made,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let placement = Placement {
            lines: demand.snapped.clone(),
            ..made.placement
        };
        let mut targets = Targets::new(demand.wanted, &placement);
        let mut missing = HashMap::new();
        for sites in placement.sites.chunk_by(|a, b| a.path == b.path) {
            let path = &sites[0].path;
            let original = match self.original_at(root, path)? {
                Ok(original) => original,
                Err(reason) => return Ok(Err(reason)),
            };
            let wanted = targets.key(sites);
            if let Some(variant) = self.variant_with(&original, &wanted) {
                self.state.current.insert(address(&original), variant);
            } else {
                missing.insert(Arc::clone(path), original);
            }
        }
        if !missing.is_empty() {
            let tier = self.setting.tier();
            let parts = link::load_parts(
                self.py,
                &made.code,
                &placement,
                &mut targets,
                tier,
                &missing,
            )?;
            for (path, part) in parts {
                let original = &missing[&path];
                match part {
                    Ok(code) => {
                        count(&VARIANTS_MADE);
                        self.remember(&code, original)?;
                        self.state.current.insert(address(original), address(&code));
                    }
                    Err(reason) => return Ok(Err(reason)),
                }
            }
        }
        Ok(Ok(()))
    }

    fn original_at(
        &mut self,
        root: &Bound<'py, PyAny>,
        path: &[u32],
    ) -> PyResult<Result<Bound<'py, PyAny>, String>> {
        let mut code = root.clone();
        for index in path {
            let inner = constants(&code)?.get_item(*index as usize)?;
            match self.original_of(&inner)? {
                Ok(inner) => code = inner,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok(code))
    }

    fn variant_with(&self, original: &Bound<'_, PyAny>, wanted: &Key) -> Option<usize> {
        let fits = |variant: &&Variant| variant.original.is(original) && variant.key == *wanted;
        let mut known = self.state.variants.values();
        known
            .find(fits)
            .map(|variant| variant.code.as_ptr() as usize)
    }

    /// The marshalled form of a root and the lines that it can hold, once it is known to be what
    /// its source says.
    fn pristine(&mut self, root: &Bound<'py, PyAny>) -> PyResult<Result<Pristine, String>> {
        let digest = self.module.as_ref().ok().map(|module| module.digest);
        if let Some(known) = self.state.roots.get(&address(root))
            && known.digest == digest
        {
            return Ok(Ok((known.marshalled.clone(), known.breakable.clone())));
        }
        let mut undo = Vec::new();
        self.visit(root, &mut |file, code, _| {
            for (index, inner) in nested(code)? {
                if let Ok(original) = file.original_of(&inner)?
                    && !original.is(&inner)
                {
                    undo.push((code.clone(), index, original));
                }
            }
            Ok(())
        })?;
        for (code, index, original) in undo {
            self.setting.relink(&code, index, &original)?;
        }
        if let Ok(module) = &self.module
            && !holds(module.code.bind(self.py), root)?
        {
            return Ok(Err(source::CHANGED.to_owned()));
        }
        let marshalled: Arc<[u8]> = dumps(root)?.into();
        let version = match interpreter::current(self.py) {
            Ok(interpreter) => interpreter.version,
            Err(reason) => return Ok(Err(reason.to_owned())),
        };
        let mut breakable = match instrument::line_map(version, &marshalled) {
            Ok(map) => map.breakable(),
            Err(error) => return Ok(Err(error.to_string())),
        };
        breakable.sort_unstable();
        let breakable: Arc<[u32]> = breakable.into();
        let known = Root {
            code: root.clone().unbind(),
            marshalled: marshalled.clone(),
            breakable: breakable.clone(),
            digest,
        };
        self.state.roots.insert(address(root), known);
        Ok(Ok((marshalled, breakable)))
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
        for root in roots {
            self.visit(root, &mut |file, code, _| {
                for (index, inner) in nested(code)? {
                    let Ok(original) = file.original_of(&inner)? else {
                        continue;
                    };
                    let wanted = file.code_for(&original);
                    let variants = stale.get(&address(code)).into_iter().flatten();
                    for parent in std::iter::once(code).chain(variants) {
                        if !constants(parent)?.get_item(index)?.is(&wanted) {
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

    /// The lines that hold probes now, and how the probes got there.
    pub(super) fn placed(&self) -> PyResult<HashMap<u32, Tier>> {
        let mut placed = HashMap::new();
        for variant in self.state.current.values() {
            let Some(variant) = self.state.variants.get(variant) else {
                continue;
            };
            let probe = own_probe(variant.code.bind(self.py))?;
            let tier = probe.map_or(self.setting.tier(), |probe| probe.get().tier);
            placed.extend(variant.key.iter().map(|(line, _)| (*line, tier)));
        }
        Ok(placed)
    }

    fn bind_functions(&mut self) -> PyResult<()> {
        for function in std::mem::take(&mut self.holders.functions) {
            let code = function.getattr(pyo3::intern!(self.py, "__code__"))?;
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

type Pristine = (Arc<[u8]>, Arc<[u32]>);
type Visit<'a, F, C> = dyn FnMut(&mut F, &C, &[u32]) -> PyResult<()> + 'a;

/// Whether the code of a module holds this code, or code equal to it.
fn holds<'py>(module: &Bound<'py, PyAny>, code: &Bound<'py, PyAny>) -> PyResult<bool> {
    if module.is(code) {
        return Ok(true);
    }
    let same_place = module
        .getattr("co_firstlineno")?
        .eq(code.getattr("co_firstlineno")?)?;
    if same_place && module.eq(code)? {
        return Ok(true);
    }
    for (_, inner) in nested(module)? {
        if holds(&inner, code)? {
            return Ok(true);
        }
    }
    Ok(false)
}
