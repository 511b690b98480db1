//! Code that is loaded already: finds its functions and gives them variants, or the original back.
//!
//! Every function object of a wanted file is found through the garbage collector. Functions are
//! grouped under the outermost code object that any of them runs; a variant of that one holds
//! variants of all code inside it, so that functions made later carry probes too. What has run
//! and left no function behind (a module body, a class body) cannot be reached, and says so.
//! Originals are kept while their variants are bound, and come back by identity.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cache::SourceHash;
use instrument::Wanted;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyTuple, PyType};

use crate::breakpoint::{Breakpoint, Tier};
use crate::registry::{self, WantedFile};
use crate::variant::{Placement, SnappedLine};
use crate::{interpreter, link, variant};

/// A code object and the variant that stands in for it.
struct Pair {
    original: Py<PyAny>,
    variant: Py<PyAny>,
}

/// What was bound in each file, and the digest of the source of each file that was instrumented
/// while it was loaded.
#[derive(Default)]
struct Loaded {
    bound: HashMap<Arc<str>, Vec<Pair>>,
    sources: HashMap<Arc<str>, [u8; 32]>,
}

static LOADED: LazyLock<Mutex<Loaded>> = LazyLock::new(Mutex::default);
/// Held while functions are found and changed.
static TURN: Mutex<()> = Mutex::new(());

fn loaded<T>(read: impl FnOnce(&mut Loaded) -> T) -> T {
    read(&mut LOADED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Remembers the source that an instrumented module was loaded from; `known` is its content, if
/// it has been read already.
pub(crate) fn remember_source(file: &Arc<str>, known: Option<&SourceHash>) {
    let digest = match known {
        Some(hash) => *hash.as_bytes(),
        None => match std::fs::read(&**file) {
            Ok(content) => *SourceHash::of(&content).as_bytes(),
            Err(_) => return,
        },
    };
    loaded(|loaded| loaded.sources.insert(Arc::clone(file), digest));
}

/// Brings the functions of one file in line with the breakpoints that exist now.
#[pyfunction]
pub(crate) fn bind(py: Python<'_>, file: &str) -> PyResult<()> {
    follow(py, &HashSet::from([Arc::from(file)]))
}

/// Gives every function that runs a variant its original code back.
#[pyfunction]
pub(crate) fn restore(py: Python<'_>) -> PyResult<()> {
    let files = loaded(|loaded| {
        loaded
            .bound
            .keys()
            .chain(loaded.sources.keys())
            .cloned()
            .collect()
    });
    follow(py, &files)
}

fn follow(py: Python<'_>, files: &HashSet<Arc<str>>) -> PyResult<()> {
    if files.is_empty() {
        return Ok(());
    }
    let _turn = TURN
        .lock_py_attached(py)
        .unwrap_or_else(PoisonError::into_inner);
    let functions = find_functions(py, files)?;
    for file in files {
        let mut file = LoadedFile::new(py, Arc::clone(file));
        let found = functions
            .get(&file.file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        match registry::wanted(&file.file) {
            None => file.give_back(found)?,
            Some(_) if found.is_empty() => {}
            Some(wanted) => {
                if let Err(reason) = file.take_over(found, &wanted)? {
                    wanted.refuse(&reason);
                }
            }
        }
        file.keep();
    }
    Ok(())
}

/// All function objects whose code comes from one of `files`.
fn find_functions<'py>(
    py: Python<'py>,
    files: &HashSet<Arc<str>>,
) -> PyResult<HashMap<Arc<str>, Vec<Bound<'py, PyAny>>>> {
    let function_type = py
        .import("types")?
        .getattr("FunctionType")?
        .cast_into::<PyType>()?;
    let objects = py
        .import("gc")?
        .call_method0("get_objects")?
        .cast_into::<PyList>()?;
    let mut names: HashMap<String, Option<Arc<str>>> = HashMap::new();
    let mut found: HashMap<Arc<str>, Vec<Bound<'py, PyAny>>> = HashMap::new();
    for object in objects {
        if !object.get_type().is(&function_type) {
            continue;
        }
        let path = object.getattr("__code__")?.getattr("co_filename")?;
        let Ok(path) = path.extract::<String>() else {
            continue;
        };
        let file = names.entry(path).or_insert_with_key(|path| {
            let file = registry::file_name(path);
            files.contains(&file).then_some(file)
        });
        if let Some(file) = file {
            found.entry(Arc::clone(file)).or_default().push(object);
        }
    }
    Ok(found)
}

/// One file whose functions are being changed.
struct LoadedFile<'py> {
    py: Python<'py>,
    file: Arc<str>,
    pairs: Vec<Pair>,
    /// The code of the module as its source says now, compiled when it is first needed.
    compiled: Option<Result<Bound<'py, PyAny>, String>>,
}

impl<'py> LoadedFile<'py> {
    fn new(py: Python<'py>, file: Arc<str>) -> Self {
        let pairs = loaded(|loaded| loaded.bound.remove(&file)).unwrap_or_default();
        Self {
            py,
            file,
            pairs,
            compiled: None,
        }
    }

    fn keep(self) {
        if !self.pairs.is_empty() {
            loaded(|loaded| loaded.bound.insert(self.file, self.pairs));
        }
    }

    /// Gives every function its original code; forgets what was bound.
    fn give_back(&mut self, functions: &[Bound<'py, PyAny>]) -> PyResult<()> {
        for function in functions {
            let code = function.getattr("__code__")?;
            if let Some(original) = self.original_of(&code)?
                && !original.is(&code)
            {
                function.setattr("__code__", original)?;
            }
        }
        self.pairs.clear();
        Ok(())
    }

    /// Gives every function the code that the breakpoints of the file ask for.
    fn take_over(
        &mut self,
        functions: &[Bound<'py, PyAny>],
        wanted: &WantedFile,
    ) -> PyResult<Result<(), String>> {
        let version = match interpreter::current(self.py) {
            Ok(interpreter) => interpreter.version,
            Err(reason) => return Ok(Err(reason.to_owned())),
        };
        let module = match self.module()? {
            Ok(module) => module,
            Err(reason) => return Ok(Err(reason)),
        };
        let map = match instrument::line_map(version, &dumps(&module)?) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let snapped: Vec<SnappedLine> = wanted
            .lines()
            .into_iter()
            .map(|requested| {
                let actual = map.snap(requested).map_err(|reason| reason.to_string());
                SnappedLine { requested, actual }
            })
            .collect();
        let lines: Vec<u32> = snapped
            .iter()
            .filter_map(|line| line.actual.clone().ok())
            .collect();

        let mut holders: HashMap<usize, Vec<&Bound<'py, PyAny>>> = HashMap::new();
        let mut originals = Vec::new();
        for function in functions {
            let code = function.getattr("__code__")?;
            let Some(original) = self.original_of(&code)? else {
                continue;
            };
            holders
                .entry(address(&original))
                .or_default()
                .push(function);
            originals.push(original);
        }
        let mut pairs = Vec::new();
        for root in outermost(originals)? {
            let marshalled = dumps(&root)?;
            let within = match instrument::line_map(version, &marshalled) {
                Ok(map) => map.breakable(),
                Err(error) => return Ok(Err(error.to_string())),
            };
            // Lines that lie outside of this root would snap to lines that nobody asked for.
            let lines: Vec<u32> = lines
                .iter()
                .copied()
                .filter(|line| within.contains(line))
                .collect();
            if lines.is_empty() && !wanted.every_line {
                walk(&root, &mut |original| put(&holders, original, original))?;
                continue;
            }
            let probes = if wanted.every_line {
                Wanted::EveryLine
            } else {
                Wanted::Lines(&lines)
            };
            let made = match variant::make(version, &marshalled, probes) {
                Ok(made) => made,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if !holds(&module, &root)? {
                return Ok(Err("its file changed after it was loaded".to_owned()));
            }
            let placement = Placement {
                lines: snapped.clone(),
                ..made.placement
            };
            let variant = match link::load(self.py, &made.code, &placement, wanted, Tier::Bound)? {
                Ok(variant) => variant,
                Err(reason) => return Ok(Err(reason)),
            };
            pair_up(&root, &variant, &mut |original, variant| {
                pairs.push(Pair {
                    original: original.clone().unbind(),
                    variant: variant.clone().unbind(),
                });
                put(&holders, original, variant)
            })?;
        }
        self.pairs = pairs;
        report(&wanted.breakpoints, &snapped);
        Ok(Ok(()))
    }

    /// The original of a function's code: itself, what a variant was bound over, or what the
    /// source compiles to when the function was born with a variant.
    fn original_of(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(pair) = self.pairs.iter().find(|pair| pair.variant.is(code)) {
            return Ok(Some(pair.original.bind(self.py).clone()));
        }
        if !link::carries_probe(code)? {
            return Ok(Some(code.clone()));
        }
        let Ok(module) = self.module()? else {
            return Ok(None);
        };
        let mut original = None;
        walk(&module, &mut |candidate| {
            if original.is_none() && is_variant_of(code, candidate)? {
                original = Some(candidate.clone());
            }
            Ok(())
        })?;
        if let Some(original) = &original {
            let pair = Pair {
                original: original.clone().unbind(),
                variant: code.clone().unbind(),
            };
            self.pairs.push(pair);
        }
        Ok(original)
    }

    /// The code of the module, compiled from its source as it is now.
    fn module(&mut self) -> PyResult<Result<Bound<'py, PyAny>, String>> {
        if self.compiled.is_none() {
            self.compiled = Some(self.compile()?);
        }
        Ok(self.compiled.clone().unwrap_or_else(|| Err(String::new())))
    }

    fn compile(&self) -> PyResult<Result<Bound<'py, PyAny>, String>> {
        let content = match std::fs::read(&*self.file) {
            Ok(content) => content,
            Err(error) => return Ok(Err(format!("its source cannot be read: {error}"))),
        };
        let digest = *SourceHash::of(&content).as_bytes();
        let known = loaded(|loaded| loaded.sources.get(&self.file).copied());
        if known.is_some_and(|known| known != digest) {
            return Ok(Err("its file changed after it was loaded".to_owned()));
        }
        let loader = self
            .py
            .import("importlib.machinery")?
            .getattr("SourceFileLoader")?;
        let loader = loader.call1(("<dapper>", &*self.file))?;
        let source = PyBytes::new(self.py, &content);
        let code = loader.call_method1("source_to_code", (source, &*self.file));
        Ok(code.map_err(|error| format!("its source does not compile: {error}")))
    }
}

/// Whether the code of a module still holds this code.
fn holds<'py>(module: &Bound<'py, PyAny>, code: &Bound<'py, PyAny>) -> PyResult<bool> {
    let mut held = false;
    walk(module, &mut |candidate| {
        held = held || candidate.is(code) || candidate.eq(code)?;
        Ok(())
    })?;
    Ok(held)
}

/// Records why the breakpoints that no function holds are not bound.
fn report(breakpoints: &[Arc<Breakpoint>], snapped: &[SnappedLine]) {
    for (breakpoint, line) in breakpoints.iter().zip(snapped) {
        match &line.actual {
            Ok(line) => breakpoint.refuse(&format!(
                "the code at line {line} has run, and no function that is loaded holds it"
            )),
            Err(reason) => breakpoint.refuse(reason),
        }
    }
}

fn put(
    holders: &HashMap<usize, Vec<&Bound<'_, PyAny>>>,
    original: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
) -> PyResult<()> {
    for function in holders.get(&address(original)).into_iter().flatten() {
        if !function.getattr("__code__")?.is(code) {
            function.setattr("__code__", code)?;
        }
    }
    Ok(())
}

/// Those of `codes` that are not inside another one of them.
fn outermost(codes: Vec<Bound<'_, PyAny>>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let mut inner = HashSet::new();
    let mut seen = HashSet::new();
    let distinct: Vec<_> = codes
        .into_iter()
        .filter(|code| seen.insert(address(code)))
        .collect();
    for code in &distinct {
        walk(code, &mut |nested| {
            if !nested.is(code) {
                inner.insert(address(nested));
            }
            Ok(())
        })?;
    }
    Ok(distinct
        .into_iter()
        .filter(|code| !inner.contains(&address(code)))
        .collect())
}

/// Visits a code object and all code inside it.
fn walk<'py>(
    code: &Bound<'py, PyAny>,
    visit: &mut dyn FnMut(&Bound<'py, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    visit(code)?;
    for constant in constants(code)? {
        if constant.get_type().is(code.get_type()) {
            walk(&constant, visit)?;
        }
    }
    Ok(())
}

type Visit<'a, 'py> = dyn FnMut(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> PyResult<()> + 'a;

/// Visits a code object and its variant, and all code inside them, side by side.
fn pair_up<'py>(
    original: &Bound<'py, PyAny>,
    variant: &Bound<'py, PyAny>,
    visit: &mut Visit<'_, 'py>,
) -> PyResult<()> {
    visit(original, variant)?;
    // The constants of a variant begin with those of its original.
    for (inner, inner_variant) in constants(original)?.iter().zip(constants(variant)?) {
        if inner.get_type().is(original.get_type()) {
            pair_up(&inner, &inner_variant, visit)?;
        }
    }
    Ok(())
}

/// Whether `variant` was made from code like `original`: all but the bytecode has to agree.
fn is_variant_of(variant: &Bound<'_, PyAny>, original: &Bound<'_, PyAny>) -> PyResult<bool> {
    const SAME: [&str; 9] = [
        "co_qualname",
        "co_firstlineno",
        "co_flags",
        "co_argcount",
        "co_kwonlyargcount",
        "co_varnames",
        "co_cellvars",
        "co_freevars",
        "co_names",
    ];
    for field in SAME {
        if !variant.getattr(field)?.eq(original.getattr(field)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn constants<'py>(code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    Ok(code
        .getattr(pyo3::intern!(code.py(), "co_consts"))?
        .cast_into::<PyTuple>()?)
}

fn dumps(code: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    code.py()
        .import("marshal")?
        .call_method1("dumps", (code,))?
        .extract()
}

fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}
