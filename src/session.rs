//! The functions that Python calls: breakpoints, hooks, records and the end of a session.
//!
//! Owns the module `dapper._engine` and the form in which `dapper run` hands a session to the
//! process that it becomes and to that process's children (JSON in the environment).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::allowance::Profile;
use crate::breakpoint::{Breakpoint, Kind, Request};
use crate::handle::Handle;
use crate::importer::{self, GetCode};
use crate::inline::Inline;
use crate::probe::Probe;
use crate::request::{Place, Purity, Terms};
use crate::terms::{TermsGiven, terms};
use crate::{
    adapter, allowance, callback, condition, counters, dap, environment, events, exceptions, ffi,
    hit, interpreter, loaded, log, main_script, memo, meter, modules, owned, registry, run, scoped,
    snapshot, step, store, telemetry, thread_info, time_limit, trace_event, unattended,
};

/// The process that `dapper run` became, in it and in its children.
static MAIN_PID: AtomicU32 = AtomicU32::new(0);

/// Whether expressions that may have side effects are refused.
static REQUIRES_PURITY: AtomicBool = AtomicBool::new(false);

/// The file that holds the session, in the process that `dapper run` became.
static SESSION_FILE: OnceLock<PathBuf> = OnceLock::new();

/// Whether this process has told where its breakpoints ended up.
static CONCLUDED: AtomicBool = AtomicBool::new(false);

/// What `dapper run` asks of the process that runs the program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    /// Breakpoints, oldest first.
    pub(crate) breakpoints: Vec<Asked>,
    /// Patterns of files that want a probe on every line.
    pub(crate) every_line: Vec<String>,
    /// Where hits are recorded: a path, `-`, or nowhere.
    pub(crate) events: Option<String>,
    /// Where log messages go, if not to standard error.
    pub(crate) log_to: Option<String>,
    /// The directory of the store.
    pub(crate) cache_dir: Option<String>,
    /// Which expressions are accepted.
    pub(crate) purity: Purity,
    /// What breakpoints may cost.
    pub(crate) profile: Profile,
    /// How many seconds one evaluation may take.
    pub(crate) condition_budget: Option<f64>,
    /// Whether evaluations in the line are counted and timed.
    pub(crate) measure: bool,
    /// The process that `dapper run` became.
    pub(crate) main_pid: u32,
    /// How the process is debugged by a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) debug: Option<dap::Debug>,
}

/// One breakpoint of a [`Session`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) terms: Terms,
}

impl Asked {
    /// What it means in a session of this purity, or what is wrong with it.
    pub(crate) fn request(&self, purity: Purity) -> Result<Request, String> {
        let place = registry::known_place(&self.place);
        Request::on_terms(&place, self.kind, &self.terms, purity)
    }
}

/// Takes up the session that the environment describes.
///
/// Returns whether stops have to prompt. The session is concluded when the interpreter is gone.
#[pyfunction]
fn take_up(py: Python<'_>, session: &str) -> PyResult<bool> {
    let kept_in = session.strip_prefix('@');
    let session = match kept_in {
        Some(path) => &std::fs::read_to_string(path).map_err(|error| {
            PyOSError::new_err(format!("DAPPER_SESSION {path} cannot be read: {error}"))
        })?,
        None => session,
    };
    let session: Session = serde_json::from_str(session)
        .map_err(|error| PyValueError::new_err(format!("DAPPER_SESSION is malformed: {error}")))?;
    if session.debug.is_some() {
        dap::ask(session.clone());
    }
    if let Some(folder) = session.cache_dir {
        store::choose(folder.into());
    }
    registry::set_every_line(&session.every_line).map_err(PyValueError::new_err)?;
    let prompts = session.events.is_none()
        && session
            .breakpoints
            .iter()
            .any(|asked| asked.kind == Kind::Stop);
    let mut concerned = HashSet::new();
    for asked in &session.breakpoints {
        let request = asked
            .request(session.purity)
            .map_err(|problem| PyValueError::new_err(format!("{}: {problem}", asked.place)))?;
        let breakpoint = register(py, &asked.place, request);
        concerned.extend(modules::meet_loaded(py, &breakpoint)?);
    }
    loaded::bind(py, &concerned)?;
    allowance::use_profile(session.profile);
    allowance::set_measuring(session.measure);
    if let Some(seconds) = session.condition_budget {
        time_limit::set_condition_budget(seconds)?;
    }
    if let Some(path) = session.events {
        record_to(&path)?;
    }
    if let Some(target) = session.log_to
        && let Err(error) = log::direct(py, &target, None)
    {
        hit::tell(&format!(
            "log messages go to standard error: cannot write {target}: {error}"
        ));
    }
    MAIN_PID.store(session.main_pid, Ordering::Relaxed);
    if let Some(path) = kept_in
        && session.main_pid == std::process::id()
    {
        // The environment names it once a process.
        let _ = SESSION_FILE.set(path.into());
    }
    conclude_at_the_end();
    Ok(prompts)
}

/// Has the session concluded when the interpreter is gone.
pub(crate) fn conclude_at_the_end() {
    if !ffi::exit::after_the_interpreter(conclude) {
        hit::tell("the interpreter takes no more exit functions: nothing is told at the end");
    }
}

/// What a breakpoint on these terms asks for; what is wrong with them is a `ValueError`.
fn request(
    py: Python<'_>,
    place: &Place,
    kind: &str,
    given: Option<TermsGiven<'_>>,
) -> PyResult<Request> {
    let Some(kind) = Kind::from_name(kind) else {
        return Err(PyValueError::new_err(format!(
            "kind {kind:?} is not one of \"stop\", \"log\", \"count\" and \"snapshot\""
        )));
    };
    let session = Purity::from_name(purity()).map_err(PyValueError::new_err)?;
    let terms = terms(given.unwrap_or_default())?;
    let place = registry::known_place(place);
    let request =
        Request::on_terms(&place, kind, &terms, session).map_err(PyValueError::new_err)?;
    condition::check(py, &request)?;
    if request.evaluates() {
        // Local variables are read where they are once the layout of frames is proved.
        loaded::eval_frame_refusal(py);
    }
    Ok(request)
}

/// Adds a breakpoint, and compiles what it evaluates in its line.
pub(crate) fn register(py: Python<'_>, place: &Place, request: Request) -> Arc<Breakpoint> {
    let evaluates = request.evaluates();
    if request.capture.is_some() {
        snapshot::prepare(py);
    }
    let breakpoint = registry::add(place, request);
    if evaluates {
        let inline = Inline::of(py, &breakpoint.request);
        if let Some(detour) = &inline.detour {
            breakpoint.take_detour(detour);
        }
        // Nobody else compiles for it.
        let _ = breakpoint.inline.set(inline);
    }
    breakpoint
}

fn line_place(path: &str, line: u32, column: Option<u32>) -> Place {
    Place::Line {
        file: path.to_owned(),
        line,
        column,
    }
}

/// Adds a breakpoint for the file at `path`.
#[pyfunction]
#[pyo3(signature = (path, line, kind, terms=None, on_hit=None, column=None))]
fn add(
    py: Python<'_>,
    path: &str,
    line: u32,
    kind: &str,
    terms: Option<TermsGiven<'_>>,
    on_hit: Option<Py<PyAny>>,
    column: Option<u32>,
) -> PyResult<Handle> {
    add_at(py, &line_place(path, line, column), kind, terms, on_hit)
}

/// Adds a breakpoint at a place.
pub(crate) fn add_at(
    py: Python<'_>,
    place: &Place,
    kind: &str,
    terms: Option<TermsGiven<'_>>,
    on_hit: Option<Py<PyAny>>,
) -> PyResult<Handle> {
    let request = request(py, place, kind, terms)?;
    let breakpoint = register(py, place, request);
    if let Some(callback) = on_hit {
        callback::set_callback(breakpoint.id, callback);
    }
    Ok(Handle(breakpoint))
}

/// Refuses what [`add`] would refuse, with the same error.
#[pyfunction]
#[pyo3(signature = (path, line, kind, terms=None))]
fn check(
    py: Python<'_>,
    path: &str,
    line: u32,
    kind: &str,
    terms: Option<TermsGiven<'_>>,
) -> PyResult<()> {
    request(py, &line_place(path, line, None), kind, terms).map(|_| ())
}

/// Chooses which expressions are accepted from now on: "allow" all, or "require" purity.
#[pyfunction]
fn set_purity(name: &str) -> PyResult<()> {
    let purity = Purity::from_name(name).map_err(PyValueError::new_err)?;
    REQUIRES_PURITY.store(purity == Purity::Require, Ordering::Relaxed);
    Ok(())
}

/// Which expressions are accepted.
#[pyfunction]
fn purity() -> &'static str {
    if REQUIRES_PURITY.load(Ordering::Relaxed) {
        "require"
    } else {
        "allow"
    }
}

/// Removes a breakpoint; false when it was removed before.
#[pyfunction]
fn remove(breakpoint: &Bound<'_, Handle>) -> bool {
    let id = breakpoint.get().0.id;
    callback::forget_callback(id);
    registry::remove(id)
}

/// Removes everything that wants probes.
#[pyfunction]
fn clear() {
    let kept = registry::clear();
    callback::forget_callbacks_but(&kept);
}

/// All breakpoints, oldest first.
#[pyfunction]
fn breakpoints() -> Vec<Handle> {
    registry::all().into_iter().map(Handle).collect()
}

/// Asks for a counting probe on every line of the files that match any pattern.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python sequences are extracted into vectors"
)]
fn set_every_line(patterns: Vec<String>) -> PyResult<()> {
    registry::set_every_line(&patterns).map_err(PyValueError::new_err)
}

/// Whether nothing wants probes.
#[pyfunction]
fn is_idle() -> bool {
    registry::is_empty()
}

/// Sets what a stop calls when its breakpoint has no callback of its own.
#[pyfunction]
#[pyo3(signature = (callback))]
fn set_stop_callback(callback: Option<Py<PyAny>>) {
    callback::set_default_callback(callback);
}

/// Records hits as JSON lines to the file at `path`, or to standard output when it is `-`.
#[pyfunction]
fn record_to(path: &str) -> PyResult<()> {
    events::open(path).map_err(|error| {
        PyOSError::new_err(format!("events cannot be written to {path}: {error}"))
    })?;
    hit::refresh_attention();
    Ok(())
}

/// Starts the counts of a forked child from nothing.
#[pyfunction]
fn forked() {
    CONCLUDED.store(false, Ordering::Relaxed);
    for breakpoint in registry::all() {
        breakpoint.reset();
    }
}

/// Writes what is waiting to be written.
#[pyfunction]
fn flush() {
    events::flush();
    store::flush();
}

/// Ends the record of hits.
#[pyfunction]
fn close_record() {
    if let Some(problem) = events::close() {
        hit::tell(&problem);
    }
    hit::refresh_attention();
    store::flush();
    store::tidy();
}

/// Records why no breakpoint can be reached at all.
#[pyfunction]
fn refuse_all(reason: &str) {
    for breakpoint in registry::all() {
        breakpoint.refuse(reason);
    }
}

/// Tells where the breakpoints ended up, in the record or on standard error, and ends the record.
#[pyfunction]
fn conclude() {
    if CONCLUDED.swap(true, Ordering::Relaxed) {
        return;
    }
    log::finish();
    let is_main = MAIN_PID.load(Ordering::Relaxed) == std::process::id();
    for breakpoint in registry::all() {
        if is_main || breakpoint.hits() > 0 {
            conclude_one(&breakpoint);
        }
    }
    close_record();
    if is_main && let Some(path) = SESSION_FILE.get() {
        // Somebody else may have tidied up the temporary directory.
        let _ = std::fs::remove_file(path);
    }
}

fn conclude_one(breakpoint: &Arc<Breakpoint>) {
    if events::record_breakpoint(breakpoint) {
        return;
    }
    let whereabouts = breakpoint.whereabouts();
    let request = &breakpoint.request;
    if whereabouts.tier.is_none() {
        let reason = whereabouts
            .reason
            .as_deref()
            .unwrap_or(registry::NOT_LOADED);
        hit::tell(&format!("breakpoint {request} was never reached: {reason}"));
    } else if request.kind == Kind::Count {
        let place = match whereabouts.line() {
            Some(line) if !request.picks_code() => format!("{}:{line}", request.file),
            _ => request.to_string(),
        };
        hit::tell(&format!("{place} was hit {} times", breakpoint.fired()));
    }
}

/// Why this interpreter is not supported, if it is not.
#[pyfunction]
fn unsupported(py: Python<'_>) -> Option<&'static str> {
    interpreter::current(py).err()
}

/// Stops waiting for the main script.
#[pyfunction]
fn cancel_main(py: Python<'_>) {
    main_script::cancel(py);
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    hit::expect_the_end(module.py())?;
    ffi::exit::watch_the_beginning();
    // While a type is made for the first time other threads run, and loaded code is not changed
    // with others running.
    module.py().get_type::<Probe>();
    module.add_class::<Handle>()?;
    module.add_class::<hit::Hit>()?;
    module.add_class::<GetCode>()?;
    module.add_function(wrap_pyfunction!(take_up, module)?)?;
    module.add_function(wrap_pyfunction!(add, module)?)?;
    module.add_function(wrap_pyfunction!(check, module)?)?;
    module.add_function(wrap_pyfunction!(set_purity, module)?)?;
    module.add_function(wrap_pyfunction!(purity, module)?)?;
    module.add_function(wrap_pyfunction!(remove, module)?)?;
    module.add_function(wrap_pyfunction!(clear, module)?)?;
    module.add_function(wrap_pyfunction!(breakpoints, module)?)?;
    module.add_function(wrap_pyfunction!(set_every_line, module)?)?;
    module.add_function(wrap_pyfunction!(is_idle, module)?)?;
    module.add_function(wrap_pyfunction!(set_stop_callback, module)?)?;
    module.add_function(wrap_pyfunction!(record_to, module)?)?;
    module.add_function(wrap_pyfunction!(forked, module)?)?;
    module.add_function(wrap_pyfunction!(flush, module)?)?;
    module.add_function(wrap_pyfunction!(conclude, module)?)?;
    module.add_function(wrap_pyfunction!(unsupported, module)?)?;
    module.add_function(wrap_pyfunction!(cancel_main, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::bind_breakpoints, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::bind_files, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::live_generators, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::restore, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::set_promotion, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::promotion, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::set_scoped_tracing, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::set_backend, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::backend_name, module)?)?;
    module.add_function(wrap_pyfunction!(loaded::eval_frame_refusal, module)?)?;
    module.add_function(wrap_pyfunction!(counters::counters, module)?)?;
    module.add_function(wrap_pyfunction!(counters::reset_counters, module)?)?;
    module.add_function(wrap_pyfunction!(counters::entry_hook_installed, module)?)?;
    module.add_function(wrap_pyfunction!(counters::inside_frame_eval, module)?)?;
    module.add_function(wrap_pyfunction!(trace_event::store_locals, module)?)?;
    module.add_function(wrap_pyfunction!(trace_event::opcode_as_line, module)?)?;
    module.add_function(wrap_pyfunction!(close_record, module)?)?;
    module.add_function(wrap_pyfunction!(
        crate::instrument_main::instrument_main,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(refuse_all, module)?)?;
    module.add_function(wrap_pyfunction!(main_script::awaits_main, module)?)?;
    module.add_function(wrap_pyfunction!(run::command, module)?)?;
    module.add("exec", importer::stand_in(module.py())?)?;
    module.add_function(wrap_pyfunction!(main_script::await_main, module)?)?;
    module.add_function(wrap_pyfunction!(main_script::eval_frame_hooked, module)?)?;
    allowance::register(module)?;
    time_limit::register(module)?;
    scoped::register(module)?;
    log::register(module)?;
    snapshot::register(module)?;
    modules::register(module)?;
    owned::register(module)?;
    step::register(module)?;
    store::register(module)?;
    environment::register(module)?;
    exceptions::register(module)?;
    memo::register(module)?;
    meter::register(module)?;
    telemetry::register(module)?;
    thread_info::register(module)?;
    unattended::register(module)?;
    dap::register(module)?;
    adapter::register(module)?;
    Ok(())
}
