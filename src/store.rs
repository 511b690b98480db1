//! The store of variants, as the running interpreter uses it.
//!
//! Opened at the first lookup, for the build of this interpreter, and shared by the process.
//! A key names the content of a source and the probes wanted in it; the state of the file is
//! only a memo that saves reading it. Whatever goes wrong here is a miss, and is told once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cache::{
    Access, Counter, Counts, Entry, KeyHasher, Limits, Origin, Parts, SourceHash, Stamp, Store,
    Trust,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::ffi::name::name;
use crate::freshness::{Stale, fresh_code};
use crate::interpreter::{self, Interpreter};
use crate::registry::WantedFile;
use crate::remembered;
use crate::store_options::{self, TRUST, limits_of};
use crate::telemetry::{self, ReasonCode};
use crate::variant::{ENGINE, Placement, Variant};
use crate::variant_key::{Probes, Target, default_root};
use crate::{environment, hit};

struct Opened {
    store: Store,
    keys: KeyHasher,
}

/// What was chosen in this process; the environment says the rest.
#[derive(Clone, Default)]
struct Chosen {
    root: Option<PathBuf>,
    trusted: Option<Vec<PathBuf>>,
    limits: Option<Limits>,
}

static CHOSEN: Mutex<Option<Chosen>> = Mutex::new(None);
static OPENED: OnceLock<Option<Opened>> = OnceLock::new();
static IN_USE: AtomicBool = AtomicBool::new(true);
/// Whether it was told that the store, or a part of it, cannot be used.
static TOLD: AtomicBool = AtomicBool::new(false);

fn choose_by(choice: impl FnOnce(&mut Chosen)) {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    choice(chosen.get_or_insert_default());
}

fn chosen() -> Chosen {
    let chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    chosen.clone().unwrap_or_default()
}

/// Chooses the directory of the store; without effect once the store is open.
pub(crate) fn choose(root: PathBuf) {
    choose_by(|chosen| chosen.root = Some(root));
}

/// Has the store read and written, or left alone.
pub(crate) fn use_it(on: bool) {
    IN_USE.store(on, Ordering::Relaxed);
}

/// The directory of the store: the chosen one, else the one the environment says.
pub(crate) fn root(py: Python<'_>) -> Option<PathBuf> {
    let root = chosen()
        .root
        .or_else(|| default_root(&|name| environment::variable(py, name)))?;
    Some(std::path::absolute(&root).unwrap_or(root))
}

fn trust(py: Python<'_>) -> Trust {
    match chosen().trusted {
        Some(roots) => Trust::of(roots),
        None => store_options::trust(environment::variable(py, TRUST).as_deref()),
    }
}

fn limits(py: Python<'_>) -> Limits {
    if let Some(limits) = chosen().limits {
        return limits;
    }
    let (limits, problem) = limits_of(&|name| environment::variable(py, name));
    if let Some(problem) = problem {
        hit::tell_once(&format!("{problem}; the usual limit counts"));
    }
    limits
}

/// A source file whose content and wanted probes are known.
pub(crate) struct Source {
    path: PathBuf,
    /// Of its content.
    pub(crate) hash: SourceHash,
    probes: Probes,
    lines: Vec<u32>,
}

impl Source {
    /// Reads the file, unless its state says that its content is known.
    pub(crate) fn read(py: Python<'_>, path: &str, wanted: &WantedFile) -> Option<Self> {
        let opened = open(py)?;
        let path = Path::new(path);
        let stamp = Stamp::of(&path.metadata().ok()?);
        let known = opened.store.memo_get(path, &stamp);
        let hash = if let Some(hash) = known {
            hash
        } else {
            let hash = SourceHash::of(&std::fs::read(path).ok()?);
            opened.store.memo_put(path, &stamp, &hash);
            hash
        };
        remembered::note(wanted, hash.as_bytes());
        let lines = wanted.lines();
        let probes = if wanted.every_line {
            Probes::EveryLine
        } else {
            Probes::on(lines.iter().copied())
        };
        Some(Self {
            path: path.to_owned(),
            hash,
            probes,
            lines,
        })
    }

    /// Whether the code that the stock loader is about to give is the code of this content.
    ///
    /// Importing accepts a `.pyc` of an edit within the same second, and an unchecked one always.
    /// The program has to run what it would run without us; the store must not keep that code as
    /// the code of this source.
    pub(crate) fn loads_true(&self, py: Python<'_>) -> bool {
        // As text: a `Path` would import `pathlib`, which may be what is being imported.
        let path = self.path.as_os_str();
        let cached = py
            .import("_frozen_importlib_external")
            .and_then(|loaders| loaders.call_method1(name!("cache_from_source"), (path,)))
            .and_then(|cached| cached.extract::<OsString>());
        let (Ok(cached), Ok(interpreter)) = (cached, interpreter::current(py)) else {
            return false;
        };
        let (Ok(metadata), Ok(content)) = (self.path.metadata(), std::fs::read(&self.path)) else {
            return false;
        };
        SourceHash::of(&content) == self.hash
            && match fresh_code(Path::new(&cached), interpreter.version, &content, &metadata) {
                // What is not there, or not of this version, is compiled anew.
                Ok(_) | Err(Stale::Absent | Stale::Foreign) => true,
                Err(Stale::Untrusted | Stale::Outdated) => false,
            }
    }

    /// Whether the file still has the content that was read.
    fn is_unchanged(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|content| SourceHash::of(&content) == self.hash)
    }
}

/// A variant out of the store.
pub(crate) struct Stored {
    entry: Entry,
    /// What is stored beside the code.
    pub(crate) placement: Placement,
}

impl Stored {
    /// Marshal bytes of the module's code object.
    pub(crate) fn code(&self) -> &[u8] {
        self.entry.code()
    }
}

/// Looks up the variant of a source.
pub(crate) fn find(py: Python<'_>, source: &Source) -> Option<Stored> {
    let opened = open(py)?;
    let entry = opened
        .store
        .get(&opened.keys.key(&source.hash, &source.probes.digest()))
        .hit()?;
    let mut placement = Placement::decode(entry.sites())?;
    if source.probes == Probes::EveryLine {
        placement.snap(&source.lines);
    }
    Some(Stored { entry, placement })
}

/// Looks up the code of a source without probes, from which a variant is made without compiling.
pub(crate) fn find_plain(py: Python<'_>, source: &Source) -> Option<Entry> {
    let opened = open(py)?;
    opened
        .store
        .get(&opened.keys.key(&source.hash, &Probes::Plain.digest()))
        .hit()
}

/// Stores a variant that was made from the code of a source.
pub(crate) fn put(py: Python<'_>, source: &Source, variant: &Variant) {
    let (Some(opened), Ok(interpreter)) = (open(py), interpreter::current(py)) else {
        return;
    };
    if opened.store.access() == Access::ReadOnly || !source.is_unchanged() {
        return;
    }
    let key = opened.keys.key(&source.hash, &source.probes.digest());
    let sites = variant.placement.encode();
    let origin = Origin {
        path: source.path.to_string_lossy().into_owned(),
        source: source.hash,
        engine: ENGINE.to_owned(),
        python: interpreter.name.clone(),
        variant: source.probes.describe(),
    };
    let parts = Parts {
        code: &variant.code,
        sites: &sites,
    };
    if let Err(error) = opened.store.put(&key, parts, &origin) {
        unavailable(&format!("variants are not kept: {error}"));
    }
}

/// Writes what the store learned about sources, and the lines that breakpoints were on.
pub(crate) fn flush() {
    if let Some(Some(opened)) = OPENED.get() {
        // What could not be written is learned again next time.
        let _ = opened.store.flush();
        let _ = opened.store.remember(&remembered::sets());
    }
}

/// Keeps the store within its limits, if this process has written to it.
pub(crate) fn tidy() {
    if let Some(Some(opened)) = OPENED.get() {
        // What was removed is nobody's concern: it is made again when it is wanted.
        let _ = opened.store.tidy();
    }
}

/// Records why the store is not used as it was meant to be, and tells it the first time.
fn unavailable(reason: &str) {
    telemetry::record(ReasonCode::StoreUnavailable, reason);
    if !TOLD.swap(true, Ordering::Relaxed) {
        hit::tell(reason);
    }
}

fn open(py: Python<'_>) -> Option<&'static Opened> {
    if !IN_USE.load(Ordering::Relaxed) {
        return None;
    }
    OPENED.get_or_init(|| open_now(py)).as_ref()
}

fn open_now(py: Python<'_>) -> Option<Opened> {
    let interpreter = interpreter::current(py).ok()?;
    let root = root(py)?;
    let target = target(interpreter);
    let frozen = py
        .import("sys")
        .and_then(|sys| sys.getattr(name!("dont_write_bytecode"))?.is_truthy());
    let access = if frozen.unwrap_or(true) {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    match Store::open(&root, &target.build().tag(), access, &trust(py)) {
        Ok(store) => {
            store.keep_within(limits(py));
            for refused in store.refused() {
                unavailable(&refused.to_string());
            }
            Some(Opened {
                store,
                keys: target.keys(),
            })
        }
        Err(error) => {
            unavailable(&format!("variants are not kept: {error}"));
            None
        }
    }
}

fn target(interpreter: &Interpreter) -> Target {
    Target {
        version: interpreter.version,
        cache_tag: interpreter.cache_tag.clone(),
        abi_flags: interpreter.abi_flags.clone(),
        optimize: interpreter.optimize,
        debug_ranges: interpreter.debug_ranges,
    }
}

/// Chooses the directory of the store.
#[pyfunction]
fn set_cache_dir(path: &str) {
    choose(path.into());
}

/// Names the stores of other users that are used; without effect once the store is open.
#[pyfunction]
fn set_trusted_stores(roots: Vec<PathBuf>) {
    let absolute = |root: PathBuf| std::path::absolute(&root).unwrap_or(root);
    let roots = roots.into_iter().map(absolute).collect();
    choose_by(|chosen| chosen.trusted = Some(roots));
}

/// Says what the store is kept within, such as `2G` and `30d`; `None` is what the environment says.
#[pyfunction]
#[pyo3(signature = (max_size=None, max_age=None))]
fn set_cache_limits(py: Python<'_>, max_size: Option<&str>, max_age: Option<&str>) -> PyResult<()> {
    let (mut limits, _) = limits_of(&|name| environment::variable(py, name));
    store_options::say(&mut limits, max_size, max_age).map_err(PyValueError::new_err)?;
    choose_by(|chosen| chosen.limits = Some(limits));
    Ok(())
}

/// Has the store read and written, or left alone.
#[pyfunction]
fn set_store(on: bool) {
    use_it(on);
}

/// The directory of the store, if there is one.
#[pyfunction]
fn cache_dir(py: Python<'_>) -> Option<String> {
    root(py).map(|root| root.to_string_lossy().into_owned())
}

/// What the store was asked in this process and what it gave; zeros while it is not open.
#[pyfunction]
fn store_counts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = match OPENED.get() {
        Some(Some(opened)) => opened.store.counts(),
        _ => Counts::default(),
    };
    let named = PyDict::new(py);
    named.set_item("pack_hits", counts.get(Counter::PackHit))?;
    named.set_item("overlay_hits", counts.get(Counter::OverlayHit))?;
    named.set_item("misses", counts.misses())?;
    named.set_item("puts", counts.get(Counter::Put))?;
    named.set_item("memo_hits", counts.get(Counter::MemoHit))?;
    named.set_item("memo_misses", counts.get(Counter::MemoMiss))?;
    Ok(named)
}

/// Adds the functions of this file.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_cache_dir, module)?)?;
    module.add_function(wrap_pyfunction!(set_trusted_stores, module)?)?;
    module.add_function(wrap_pyfunction!(set_cache_limits, module)?)?;
    module.add_function(wrap_pyfunction!(set_store, module)?)?;
    module.add_function(wrap_pyfunction!(store_counts, module)?)?;
    module.add_function(wrap_pyfunction!(cache_dir, module)?)
}
