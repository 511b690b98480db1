//! Which code is original: the trees of code objects as the compiler made them.
//!
//! Every code object without a probe of its own is an original. For a variant made here the
//! original is remembered; for code that was born with probes, at import, it is found at the same
//! place of the module compiled anew, and takes in the code that the program has inside it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use instrument::LineMap;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::file::{LoadedFile, Root, Variant};
use super::source;
use super::tree::{address, constants, dumps, key, nested};
use crate::ffi::name::{Name, name};
use crate::probe::probes_of;
use crate::registry::WantedFile;
use crate::stands::Stands;
use crate::{ffi, interpreter, link};

/// The marshalled form of a root, and the lines that it can hold probes on, sorted.
pub(super) type Pristine = (Arc<[u8]>, Arc<[u32]>);
type Visit<'a, F, C> = dyn FnMut(&mut F, &C, &[u32]) -> PyResult<()> + 'a;

impl<'py> LoadedFile<'_, 'py> {
    /// The originals that hold all other known ones; a reason when code has no known original.
    pub(super) fn roots(&mut self) -> PyResult<Result<Vec<Bound<'py, PyAny>>, String>> {
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

    /// Where the breakpoints stand, by the source of the module, or, where that cannot
    /// be had (a module out of an archive, code without a file), by the code that is loaded.
    pub(super) fn stands(&mut self, wanted: &WantedFile) -> PyResult<Result<Stands, String>> {
        match &self.module {
            Ok(module) => {
                let reads = wanted.picks_code();
                let source = reads.then(|| std::fs::read(&*wanted.file).ok()).flatten();
                let source = source.as_deref();
                Ok(Ok(Stands::in_module(self.py, wanted, &module.map, source)))
            }
            Err(reason) if reason == source::CHANGED => Ok(Err(reason.clone())),
            Err(reason) => {
                let reason = reason.clone();
                let maps = self.maps_of_roots()?;
                if maps.is_empty() {
                    return Ok(Err(reason));
                }
                Ok(Ok(Stands::in_parts(wanted, &maps, &reason)))
            }
        }
    }

    fn maps_of_roots(&mut self) -> PyResult<Vec<Arc<LineMap>>> {
        let Ok(interpreter) = interpreter::current(self.py) else {
            return Ok(Vec::new());
        };
        let mut maps = Vec::new();
        for root in self.roots()?.unwrap_or_default() {
            if let Ok((marshalled, _)) = self.pristine(&root)?
                && let Ok(map) = instrument::line_map(interpreter.version, &marshalled)
            {
                maps.push(Arc::new(map));
            }
        }
        Ok(maps)
    }

    fn held_codes(&self) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut codes = Vec::new();
        for function in &self.holders.functions {
            codes.push(function.getattr(name!("__code__"))?);
        }
        codes.extend(self.holders.frames.iter().map(|live| live.code.clone()));
        codes.extend(self.holders.codes.iter().cloned());
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
        match probes_of(code)?.next() {
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
        let found = link::descend(&module, path)
            .and_then(|found| Ok(is_same(&found, code)?.then_some(found)));
        let Ok(Some(found)) = found else {
            return Ok(Err(REWRITTEN.to_owned()));
        };
        let original = with_traits(&found, code)?;
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

    pub(super) fn remember(
        &mut self,
        code: &Bound<'py, PyAny>,
        original: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
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

    pub(super) fn original_at(
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

    /// The roots that are what their source says. Others are left alone where they are copies that
    /// the program made in its own way (unpickled code, say), and what they are copies of is there
    /// too; else there is a reason to leave the whole file alone.
    pub(super) fn faithful(
        &mut self,
        roots: &[Bound<'py, PyAny>],
    ) -> PyResult<Result<Vec<Bound<'py, PyAny>>, String>> {
        let mut faithful = Vec::new();
        let mut odd = Vec::new();
        for root in roots {
            match self.compare(root)? {
                Ok(()) => faithful.push(root.clone()),
                Err(reason) => odd.push((root, reason)),
            }
        }
        if odd.is_empty() {
            return Ok(Ok(faithful));
        }
        let mut places = HashSet::new();
        for root in &faithful {
            self.visit(root, &mut |_, code, _| {
                places.insert(place(code)?);
                Ok(())
            })?;
        }
        for (root, reason) in odd {
            if !places.contains(&place(root)?) {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(faithful))
    }

    /// A reason when a root is not what the source of its module says.
    pub(super) fn compare(&mut self, root: &Bound<'py, PyAny>) -> PyResult<Result<(), String>> {
        if self.known(root).is_some() {
            return Ok(Ok(()));
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
        if self.module.is_ok() && self.place_in_module(root)?.is_none() {
            return Ok(Err(source::CHANGED.to_owned()));
        }
        Ok(Ok(()))
    }

    fn known(&self, root: &Bound<'_, PyAny>) -> Option<&Root> {
        let digest = self.module.as_ref().ok().map(|module| module.digest);
        let known = self.state.roots.get(&address(root));
        known.filter(|known| known.digest == digest)
    }

    /// The marshalled form of a root and the lines that it can hold, once it is known to be what
    /// its source says.
    pub(super) fn pristine(
        &mut self,
        root: &Bound<'py, PyAny>,
    ) -> PyResult<Result<Pristine, String>> {
        if let Some(known) = self.known(root) {
            return Ok(Ok((known.marshalled.clone(), known.breakable.clone())));
        }
        if let Err(reason) = self.compare(root)? {
            return Ok(Err(reason));
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
            path: self.place_in_module(root)?.unwrap_or_else(|| Arc::from([])),
            digest: self.module.as_ref().ok().map(|module| module.digest),
        };
        self.state.roots.insert(address(root), known);
        Ok(Ok((marshalled, breakable)))
    }

    /// Where the code of the module holds this code, or code equal to it but for its traits.
    fn place_in_module(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Arc<[u32]>>> {
        let Ok(module) = &self.module else {
            return Ok(None);
        };
        if self.by_first_line.is_empty() {
            let module = module.code.bind(self.py).clone();
            index_by_first_line(module, &mut Vec::new(), &mut self.by_first_line)?;
        }
        let first: u32 = code.getattr(name!("co_firstlineno"))?.extract()?;
        for (path, known) in self.by_first_line.get(&first).into_iter().flatten() {
            if known.is(code) || with_traits(known, code)?.eq(code)? {
                return Ok(Some(Arc::clone(path)));
            }
        }
        Ok(None)
    }
}

/// The code objects of a module by their first line, each with its place.
pub(super) type ByFirstLine<'py> = HashMap<u32, Vec<(Arc<[u32]>, Bound<'py, PyAny>)>>;

fn index_by_first_line<'py>(
    code: Bound<'py, PyAny>,
    path: &mut Vec<u32>,
    index: &mut ByFirstLine<'py>,
) -> PyResult<()> {
    for (at, inner) in nested(&code)? {
        path.push(u32::try_from(at).unwrap_or(u32::MAX));
        index_by_first_line(inner, path, index)?;
        path.pop();
    }
    let first = code.getattr(name!("co_firstlineno"))?.extract()?;
    let place = Arc::from(path.as_slice());
    index.entry(first).or_default().push((place, code));
    Ok(())
}

/// Where code is defined, and by what name.
fn place(code: &Bound<'_, PyAny>) -> PyResult<(u32, String)> {
    let line = code.getattr(name!("co_firstlineno"))?.extract()?;
    Ok((line, code.getattr(name!("co_name"))?.extract()?))
}

/// What a decorator may change in a copy of the code (`types.coroutine` sets a flag): probes stand
/// on the same lines whatever it is.
static TRAITS: [Name; 4] = [
    Name::new("co_flags"),
    Name::new("co_name"),
    Name::new("co_qualname"),
    Name::new("co_filename"),
];

/// Why code of a module that is loaded is left as it is.
const REWRITTEN: &str = "its code was rewritten before it was loaded";

/// Whether two code objects stand at the same place of a source.
fn is_same(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    for name in [name!("co_qualname"), name!("co_firstlineno")] {
        if !one.getattr(name)?.eq(other.getattr(name)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A compiled code object with the traits of a copy of it; itself when they are the same.
fn with_traits<'py>(
    compiled: &Bound<'py, PyAny>,
    copy: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let changed = PyDict::new(copy.py());
    for name in &TRAITS {
        let trait_ = copy.getattr(name)?;
        if !compiled.getattr(name)?.eq(&trait_)? {
            changed.set_item(name, trait_)?;
        }
    }
    if changed.is_empty() {
        return Ok(compiled.clone());
    }
    compiled.call_method(name!("replace"), (), Some(&changed))
}
