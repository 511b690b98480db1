//! How modules come to run their variants: the loader method and the `exec` that stand in.
//!
//! [`GetCode`] takes the place of `SourceFileLoader.get_code`, [`exec`] that of `exec` in the
//! globals of `runpy` and of pytest's assertion rewriter. Both are native, so no frame of ours
//! shows in a traceback, and both do what they stand for, unchanged, for every file that no
//! breakpoint names. A failure of ours means the stock path and one logged reason.

use instrument::{PyVersion, Wanted};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::breakpoint::Tier;
use crate::ffi::name::name;
use crate::registry::{self, WantedFile};
use crate::scoped::Backend;
use crate::stands::Stands;
use crate::store::{self, Source};
use crate::telemetry::{self, ReasonCode};
use crate::variant::{self, Placement, Variant};
use crate::{hit, interpreter, link, loaded};

/// The module whose `exec` runs pytest's rewritten test modules.
const PYTEST_REWRITER: &str = "_pytest.assertion.rewrite";

/// Stands in for `SourceFileLoader.get_code`.
#[pyclass(frozen, module = "dapper._engine", dict)]
pub(crate) struct GetCode {
    /// What it stands in for.
    #[pyo3(get, name = "__wrapped__")]
    original: Py<PyAny>,
    loader_type: Py<PyType>,
    /// `types.MethodType`, which binds this to a loader at every import.
    method_type: Py<PyAny>,
}

#[pymethods]
impl GetCode {
    #[new]
    fn new(py: Python<'_>, loader_type: Py<PyType>, original: Py<PyAny>) -> PyResult<Self> {
        Ok(Self {
            original,
            loader_type,
            method_type: py.import("types")?.getattr(name!("MethodType"))?.unbind(),
        })
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<&Bound<'py, PyAny>>,
        _owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match instance {
            None => Ok(slf.clone().into_any()),
            Some(instance) => {
                let method_type = slf.get().method_type.bind(slf.py());
                method_type.call1((slf, instance))
            }
        }
    }

    #[pyo3(signature = (loader, fullname))]
    fn __call__<'py>(
        &self,
        loader: &Bound<'py, PyAny>,
        fullname: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if loader.get_type().is(&self.loader_type)
            && let Some(path) = path_of(loader, fullname)
        {
            return settled(&path, |wanted| match wanted {
                Some(wanted) => self.wanted_code((loader, fullname), &path, wanted),
                None => self.plain(loader, fullname),
            });
        }
        self.plain(loader, fullname)
    }
}

impl GetCode {
    fn plain<'py>(
        &self,
        loader: &Bound<'py, PyAny>,
        fullname: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.original.bind(loader.py()).call1((loader, fullname))
    }

    fn wanted_code<'py>(
        &self,
        (loader, fullname): (&Bound<'py, PyAny>, &Bound<'py, PyAny>),
        path: &str,
        wanted: &WantedFile,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = loader.py();
        if loaded::backend() != Backend::EvalFrame {
            let code = self.plain(loader, fullname)?;
            told(wanted, loaded::watch_module(&code, wanted).map(Ok));
            return Ok(code);
        }
        let source = Source::read(py, path, wanted);
        // What is stored knows lines alone.
        if let Some(code) = source
            .as_ref()
            .filter(|_| !wanted.picks_code())
            .and_then(|source| load_stored(py, source, path, wanted))
        {
            return Ok(code);
        }
        if let Some(code) = source
            .as_ref()
            .and_then(|source| from_plain(py, source, path, wanted))
        {
            return Ok(code);
        }
        let keep = source.as_ref().filter(|source| source.loads_true(py));
        let code = self.plain(loader, fullname)?;
        Ok(instrumented(&code, wanted, Tier::Import, keep).unwrap_or(code))
    }
}

/// Has the code of the file at `path` made until what the file wants is the same before and after:
/// other threads run meanwhile, and what one of them arms finds only code that somebody holds.
fn settled<T>(
    path: &str,
    mut attempt: impl FnMut(Option<&WantedFile>) -> PyResult<T>,
) -> PyResult<T> {
    let mut wanted = registry::wanted(path);
    loop {
        let made = attempt(wanted.as_ref())?;
        let now = registry::wanted(path);
        if now == wanted {
            return Ok(made);
        }
        wanted = now;
    }
}

/// The path of the module. Never fails: that of a strange loader is of no interest.
fn path_of(loader: &Bound<'_, PyAny>, fullname: &Bound<'_, PyAny>) -> Option<String> {
    let py = loader.py();
    let name = text(fullname)?;
    if name.to_str().is_ok_and(|name| name == PYTEST_REWRITER) {
        // The module is in `sys.modules` already, and its body has not run yet.
        if let Err(error) = stand_in_for_exec(py, PYTEST_REWRITER) {
            hit::tell_once(&format!(
                "pytest's rewritten modules are not reached: {error}"
            ));
        }
    }
    let path = text(&loader.getattr(name!("path")).ok()?)?;
    let path = path.to_str().ok()?;
    if let Ok(name) = name.to_str() {
        registry::meet(name, path);
    }
    Some(path.to_owned())
}

fn text<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
    object.cast::<PyString>().ok().cloned()
}

/// The one function object of [`exec`], which is recognised when the hooks come off.
pub(crate) fn stand_in(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static STAND_IN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || Ok(wrap_pyfunction!(exec, py)?.into_any().unbind());
    STAND_IN
        .get_or_try_init(py, make)
        .map(|function| function.bind(py))
}

/// Puts [`exec`] into the globals of a module that is in `sys.modules`.
fn stand_in_for_exec(py: Python<'_>, module: &str) -> PyResult<()> {
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    modules
        .get_item(module)?
        .setattr(name!("exec"), stand_in(py)?)
}

/// Runs `source` as the built-in `exec` does; a code object of a wanted file runs as its variant.
#[pyfunction]
#[pyo3(signature = (source, /, *args, **kwargs))]
pub(crate) fn exec<'py>(
    source: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = source.py();
    meet_module(source, args);
    let variant = variant_of(source, Tier::Import);
    let source = variant.as_ref().unwrap_or(source);
    let mut all = vec![source.clone()];
    all.extend(args.iter());
    py.import("builtins")?
        .getattr(name!("exec"))?
        .call(PyTuple::new(py, all)?, kwargs)
}

/// Tells breakpoints on functions of the module that is about to run in these globals its file.
fn meet_module(code: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> Option<()> {
    let globals = args.get_item(0).ok()?.cast_into::<PyDict>().ok()?;
    let name = globals.get_item("__name__").ok()??;
    let path: String = code.getattr(name!("co_filename")).ok()?.extract().ok()?;
    registry::meet(name.extract().ok()?, &path);
    Some(())
}

/// The variant of a code object that is about to run for the first time, if its file wants one.
pub(crate) fn variant_of<'py>(code: &Bound<'py, PyAny>, tier: Tier) -> Option<Bound<'py, PyAny>> {
    let path: String = code.getattr(name!("co_filename")).ok()?.extract().ok()?;
    let variant = |wanted: Option<&WantedFile>| {
        let wanted = wanted?;
        if link::carries_probe(code).unwrap_or(true)
            || told(wanted, loaded::watch_module(code, wanted).map(Ok)).unwrap_or(true)
        {
            return None;
        }
        instrumented(code, wanted, tier, None)
    };
    settled(&path, |wanted| Ok(variant(wanted))).ok()?
}

fn load_stored<'py>(
    py: Python<'py>,
    source: &Source,
    path: &str,
    wanted: &WantedFile,
) -> Option<Bound<'py, PyAny>> {
    let stored = store::find(py, source)?;
    let stands = Stands::of_lines(wanted, &stored.placement.lines);
    let made = (stored.code(), &stored.placement, &stands);
    load(py, source, made, path, wanted)
}

/// Makes the variant from stored code without probes; what is wrong with that is found out by
/// the stock path.
fn from_plain<'py>(
    py: Python<'py>,
    source: &Source,
    path: &str,
    wanted: &WantedFile,
) -> Option<Bound<'py, PyAny>> {
    let plain = store::find_plain(py, source)?;
    let version = interpreter::current(py).ok()?.version;
    let (variant, stands) = instrument(py, version, plain.code(), path, wanted).ok()?;
    put(py, source, &variant, wanted);
    let made = (&*variant.code, &variant.placement, &stands);
    load(py, source, made, path, wanted)
}

fn put(py: Python<'_>, source: &Source, variant: &Variant, wanted: &WantedFile) {
    if !wanted.picks_code() {
        store::put(py, source, variant);
    }
}

fn load<'py>(
    py: Python<'py>,
    source: &Source,
    (code, placement, stands): (&[u8], &Placement, &Stands),
    path: &str,
    wanted: &WantedFile,
) -> Option<Bound<'py, PyAny>> {
    loaded::remember_source(&wanted.file, Some(&source.hash));
    let code = told(
        wanted,
        link::load(py, code, placement, wanted, stands, Tier::Import),
    )?;
    // Entries know no path: the code says where its source is now.
    let fixed = py
        .import("_imp")
        .and_then(|imp| imp.call_method1(name!("_fix_co_filename"), (&code, path)));
    told(wanted, fixed.map(|_| Ok(code)))
}

/// Instruments the code of a module; `None` and a reason when the original has to run.
fn instrumented<'py>(
    code: &Bound<'py, PyAny>,
    wanted: &WantedFile,
    tier: Tier,
    source: Option<&Source>,
) -> Option<Bound<'py, PyAny>> {
    let py = code.py();
    let (variant, stands) = told(wanted, make(code, wanted))?;
    if let Some(source) = source {
        put(py, source, &variant, wanted);
    }
    loaded::remember_source(&wanted.file, source.map(|source| &source.hash));
    told(
        wanted,
        link::load(py, &variant.code, &variant.placement, wanted, &stands, tier),
    )
}

/// Compiles the probes that `wanted` asks for into a code object.
fn make(code: &Bound<'_, PyAny>, wanted: &WantedFile) -> PyResult<Result<Made, String>> {
    let py = code.py();
    let interpreter = match interpreter::current(py) {
        Ok(interpreter) => interpreter,
        Err(reason) => return Ok(Err(reason.to_owned())),
    };
    let marshalled = py
        .import("marshal")?
        .call_method1(name!("dumps"), (code,))?;
    Ok(instrument(
        py,
        interpreter.version,
        marshalled.extract()?,
        &wanted.file,
        wanted,
    ))
}

/// A variant, and where in it the breakpoints stand.
type Made = (Variant, Stands);

/// Makes the variant of a module whose source is in the file at `path`.
fn instrument(
    py: Python<'_>,
    version: PyVersion,
    marshalled: &[u8],
    path: &str,
    wanted: &WantedFile,
) -> Result<Made, String> {
    let unreadable = |error| format!("the code could not be read: {error}");
    if wanted.picks_code() {
        let map = instrument::line_map(version, marshalled).map_err(unreadable)?;
        let source = std::fs::read(path).ok();
        let stands = Stands::in_module(py, wanted, &map, source.as_deref());
        let spots = stands.within(&[]);
        let probes = if wanted.every_line {
            Wanted::EveryLine
        } else {
            Wanted::Spots(&spots)
        };
        let variant = variant::make(version, marshalled, probes).map_err(unreadable)?;
        return Ok((variant, stands));
    }
    let lines = wanted.lines();
    let probes = if wanted.every_line {
        Wanted::EveryLine
    } else {
        Wanted::Lines(&lines)
    };
    let mut variant = variant::make(version, marshalled, probes).map_err(unreadable)?;
    if wanted.every_line {
        variant.placement.snap(&lines);
    }
    let stands = Stands::of_lines(wanted, &variant.placement.lines);
    Ok((variant, stands))
}

/// Turns a failure into a reason of the file's breakpoints and one logged line.
fn told<T>(wanted: &WantedFile, result: PyResult<Result<T, String>>) -> Option<T> {
    let reason = match result {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(reason)) => reason,
        Err(error) => error.to_string(),
    };
    wanted.refuse(&reason);
    telemetry::record(ReasonCode::BytecodeInjectionFailed, reason.as_str());
    hit::tell_once(&format!(
        "{} runs without breakpoints: {reason}",
        wanted.file
    ));
    None
}
