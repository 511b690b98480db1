//! Code that is loaded already: brings it in line with the breakpoints, and the original back.
//!
//! [`find`] searches the process for what holds code of the wanted files, [`file`] decides for each
//! code object which variant is to run and puts it in place, as [`setting`] allows; [`source`] knows
//! what the file said, [`tree`] what code objects hold, and [`meet`] has the eval-frame hook look for
//! code that nothing was found to hold. Owns the state of every such file.
//! All of it happens with the GIL held, the collector paused and without running bytecode, so that
//! the program sees either the code before or the code after. `PyO3` lets go of the GIL while it
//! fills a once cell (`intern!`, a type of ours), so none is filled here.

pub(crate) mod figures;
mod file;
mod find;
mod meet;
mod originals;
mod scope;
mod setting;
mod source;
mod tree;
mod turn;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pyo3::prelude::*;

use self::file::{Demand, FileState, LoadedFile};
use self::find::Holders;
use self::setting::{Setting, unavailable};
pub(crate) use self::setting::{backend, eval_frame_refusal};
pub(crate) use self::source::remember_source;
use self::turn::Turn;
use self::watch::Placed;
use crate::breakpoint::{Breakpoint, Tier};
use crate::ffi::name::name;
use crate::ffi::{heap, hook};
use crate::handle::Handle;
use crate::meter::{Activity, Span};
use crate::registry::{self, WantedFile};
use crate::remembered;
use crate::scoped::Backend;
use crate::stands::Stand;

static FILES: LazyLock<Mutex<HashMap<Arc<str>, FileState>>> = LazyLock::new(Mutex::default);

fn files<T>(read: impl FnOnce(&mut HashMap<Arc<str>, FileState>) -> T) -> T {
    read(&mut FILES.lock().unwrap_or_else(PoisonError::into_inner))
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Brings the loaded code of files in line with the breakpoints that exist now, in one search of
/// the heap for all of them.
pub(crate) fn bind(py: Python<'_>, files: &HashSet<Arc<str>>) -> PyResult<()> {
    if files.is_empty() {
        return Ok(());
    }
    let _span = Span::of(Activity::Arming);
    follow(py, files)
}

/// [`bind`] for Python.
#[pyfunction(name = "bind")]
pub(crate) fn bind_files(py: Python<'_>, files: Vec<String>) -> PyResult<()> {
    bind(py, &files.into_iter().map(Arc::from).collect())
}

/// [`bind`] for the files of these breakpoints, which may have been removed.
#[pyfunction]
pub(crate) fn bind_breakpoints(
    py: Python<'_>,
    breakpoints: Vec<Bound<'_, Handle>>,
) -> PyResult<()> {
    let files = breakpoints.into_iter().flat_map(|it| it.get().0.files());
    bind(py, &files.collect())
}

/// The generators, coroutines and asynchronous generators whose frames run code of a file and have
/// not ended.
#[pyfunction]
pub(crate) fn live_generators(py: Python<'_>, file: &str) -> PyResult<Vec<Py<PyAny>>> {
    let frame = py.import("types")?.getattr(name!("FrameType"))?;
    let _pause = heap::pause_collector(py);
    let file = registry::file_name(file);
    let layout = Setting::new(py).ok().and_then(|setting| setting.layout);
    let mut found = find::find(py, &HashSet::from([Arc::clone(&file)]), layout)?;
    let mut generators = Vec::new();
    for live in found.remove(&file).unwrap_or_default().frames {
        if !live.frame.is_instance(&frame)? {
            generators.push(live.frame.unbind());
        }
    }
    Ok(generators)
}

/// Which lines of a file can hold probes, as its source says now, or why that is not known.
pub(crate) fn line_map(
    py: Python<'_>,
    file: &Arc<str>,
) -> PyResult<Result<Arc<instrument::LineMap>, String>> {
    let module = source::module(py, file)?;
    if registry::wanted(file).is_none() {
        source::forget(file);
    }
    Ok(module.map(|module| module.map))
}

/// Gives all code its original back that no breakpoint wants any more.
#[pyfunction]
pub(crate) fn restore(py: Python<'_>) -> PyResult<()> {
    follow(py, &touched())
}

/// Chooses whether functions come to hold the variants (`True`, as at the start), or keep their
/// original code for ever and run the variant at each entry.
#[pyfunction]
pub(crate) fn set_promotion(py: Python<'_>, on: bool) -> PyResult<()> {
    if setting::promote(on) {
        follow(py, &touched())?;
    }
    Ok(())
}

/// Whether functions come to hold the variants.
#[pyfunction]
pub(crate) fn promotion() -> bool {
    setting::promotes()
}

/// Chooses whether frames that are running or suspended already are watched until they leave
/// (`True`, as at the start), or run on without the breakpoints that came later.
#[pyfunction]
pub(crate) fn set_scoped_tracing(py: Python<'_>, on: bool) -> PyResult<()> {
    if setting::watch_frames(on) {
        follow(py, &touched())?;
    }
    Ok(())
}

/// Chooses how breakpoints reach code from now on; those that exist are reached anew.
#[pyfunction]
pub(crate) fn set_backend(py: Python<'_>, name: &str) -> PyResult<()> {
    if setting::choose(Backend::from_name(name)?) {
        let mut wanted = touched();
        wanted.extend(registry::files());
        follow(py, &wanted)?;
    }
    Ok(())
}

/// How breakpoints reach code.
#[pyfunction]
#[pyo3(name = "backend")]
pub(crate) fn backend_name() -> &'static str {
    setting::backend().as_str()
}

/// Watches the code of a module that is about to run, where the backend changes no code; false
/// where it does.
pub(crate) fn watch_module(code: &Bound<'_, PyAny>, wanted: &WantedFile) -> PyResult<bool> {
    let py = code.py();
    if setting::backend() == Backend::EvalFrame {
        return Ok(false);
    }
    let Some(_turn) = Turn::take(py) else {
        turn::put_off(&HashSet::from([Arc::clone(&wanted.file)]));
        return Ok(true);
    };
    match Setting::new(py) {
        Ok(setting) => {
            let _pause = heap::pause_collector(py);
            let holders = Holders {
                codes: vec![code.clone()],
                partial: true,
                ..Holders::default()
            };
            follow_file(py, &setting, &wanted.file, holders)?;
        }
        Err(reason) => wanted.refuse(&reason),
    }
    Ok(true)
}

/// What is imported while code is changed.
const USED: &[&str] = &["builtins", "gc", "marshal", "types", "warnings"];

fn touched() -> HashSet<Arc<str>> {
    let mut touched: HashSet<Arc<str>> = files(|files| files.keys().cloned().collect());
    touched.extend(source::instrumented_files());
    touched
}

fn follow(py: Python<'_>, wanted: &HashSet<Arc<str>>) -> PyResult<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(turn) = Turn::take(py) else {
        turn::put_off(wanted);
        return Ok(());
    };
    let mut result = follow_now(py, wanted);
    while let Some(wanted) = turn.put_off_meanwhile() {
        result = result.and(follow_now(py, &wanted));
    }
    result
}

fn follow_now(py: Python<'_>, wanted: &HashSet<Arc<str>>) -> PyResult<()> {
    let setting = match Setting::new(py) {
        Ok(setting) => setting,
        Err(reason) => {
            refuse(wanted, &reason);
            return Ok(());
        }
    };
    // An import runs code, and a compilation may import: other threads run meanwhile, which must
    // not be between the search and what is done with its result.
    for module in USED {
        py.import(module)?;
    }
    for file in wanted
        .iter()
        .filter(|file| registry::wanted(file).is_some())
    {
        // What is wrong with it is told where it is used.
        let _ = source::module(py, file)?;
    }
    let _pause = heap::pause_collector(py);
    let mut holders = find::find(py, wanted, setting.layout)?;
    for file in wanted {
        let holders = holders.remove(file).unwrap_or_default();
        follow_file(py, &setting, file, holders)?;
    }
    hook_as_needed(py, &setting)
}

/// Installs the eval-frame hook when something can only be reached by it, and else takes it away.
fn hook_as_needed(py: Python<'_>, setting: &Setting) -> PyResult<()> {
    let swapping = files(|files| files.values().any(|state| !state.swapped.is_empty()));
    hook::swap_variants(py, setting.minor, swapping).map_err(unavailable)?;
    meet::look_out(py, setting, swapping).map_err(unavailable)
}

fn refuse(files: &HashSet<Arc<str>>, reason: &str) {
    for wanted in files.iter().filter_map(|file| registry::wanted(file)) {
        wanted.refuse(reason);
    }
}

fn follow_file(
    py: Python<'_>,
    setting: &Setting,
    name: &Arc<str>,
    holders: Holders<'_>,
) -> PyResult<()> {
    let wanted = registry::wanted(name);
    let module = source::module(py, name)?;
    // From here on nothing is left early: what is known of the file has to come back.
    let state = files(|files| files.remove(name)).unwrap_or_default();
    let mut file = LoadedFile {
        py,
        setting,
        holders,
        state,
        module,
        asked: HashMap::new(),
        by_first_line: HashMap::new(),
    };
    meet::expect_nothing(name);
    let result = match &wanted {
        None => file.give_back(),
        Some(wanted) => follow_wanted(&mut file, wanted),
    };
    let state = file.state;
    // Variants that something still holds outlive their breakpoints: a running frame, and the
    // functions that it makes.
    if !state.is_empty() {
        files(|files| files.insert(Arc::clone(name), state));
    }
    if wanted.is_none() {
        source::forget(name);
    }
    result
}

fn follow_wanted(file: &mut LoadedFile<'_, '_>, wanted: &WantedFile) -> PyResult<()> {
    let unknown = file.holders.is_empty() && file.state.is_empty();
    if unknown && !find::is_module(file.py, &wanted.file)? {
        return Ok(());
    }
    if let Ok(module) = &file.module {
        remembered::note(wanted, &module.digest);
    }
    let stands = match file.stands(wanted)? {
        Ok(stands) => stands,
        Err(reason) => {
            wanted.refuse(&reason);
            return Ok(());
        }
    };
    let demand = Demand::new(wanted, stands);
    let unreached = match file.follow(&demand)? {
        Ok(unreached) => unreached,
        Err(reason) => {
            wanted.refuse(&reason);
            return Ok(());
        }
    };
    let placed = file.placed()?;
    let mut unmet = Vec::new();
    for (breakpoint, stand) in wanted.breakpoints.iter().zip(demand.stands.iter()) {
        let missing = report(breakpoint, stand, &placed);
        if !missing.is_empty() {
            let missing = missing.into_iter();
            unmet.extend(missing.map(|line| (Arc::clone(breakpoint), line)));
        } else if let Some(reason) = &unreached {
            breakpoint.remark(&format!(
                "frames that run it already are not reached: {reason}"
            ));
        } else if let Some(calls) = hook::nested_calls(file.py)
            && breakpoint.whereabouts().tier == Some(Tier::Entry)
        {
            breakpoint.remark(&format!(
                "with promotion off this interpreter allows about {calls} nested calls"
            ));
        } else if !file.holders.partial
            && let Some(remark) = scope::remark(file, breakpoint)?
        {
            breakpoint.remark(&remark);
        }
    }
    meet::expect(
        file.py,
        file.setting,
        &wanted.file,
        file.module.as_ref().ok(),
        unmet,
    )
}

/// Tells a breakpoint where it is now, or why it is nowhere; its lines that no code holds.
fn report(breakpoint: &Breakpoint, stand: &Stand, placed: &Placed) -> Vec<u32> {
    let spots = match stand {
        Ok(spots) => spots,
        Err(reason) => {
            breakpoint.refuse(reason);
            return Vec::new();
        }
    };
    let mut held = BTreeMap::new();
    let mut missing = Vec::new();
    for spot in spots {
        match placed.get(&(spot.line, breakpoint.id)) {
            Some(tier) => _ = held.insert(spot.line, *tier),
            None => missing.push(spot.line),
        }
    }
    if let Some(tier) = held.values().next() {
        breakpoint.place(held.keys().copied().collect(), *tier);
    } else if breakpoint.whereabouts().tier.is_some() {
        return Vec::new();
    }
    missing
}
