//! Which lines of which code objects are watched, and in which frames.
//!
//! Owns the table that the events of both ways (monitoring, trace functions) look up, keyed by the
//! address of the code object, which the entry keeps alive.
//! Frames are remembered by the address of the frame object, which the running frame keeps alive
//! until it leaves, so that watching prolongs nobody's life. A generator may vanish without an
//! event: a weak reference tells, before the generator is closed and its `finally` blocks run.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::callbacks::Interest;
use super::figures;
use super::tool::{self, Events, Owner};
use super::tracer;
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::probe::Probe;

/// By which events a code object is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// Local events of the monitoring tool.
    Monitoring,
    /// The trace function of threads.
    Tracing,
}

/// The watched lines of one code object.
pub(super) struct Watch {
    code: Py<PyAny>,
    /// Ordered by line.
    probes: Vec<(u32, Py<Probe>)>,
    /// The only frames that matter, while any of them lives, by the address of the frame object.
    frames: Option<Mutex<HashMap<usize, Live>>>,
    pub(super) means: Means,
    /// Whether a generator of this code may run `finally` blocks when it is closed.
    closing_shows_lines: bool,
}

/// A frame that has not left yet.
struct Live {
    /// Keeps the callback alive that tells of the end of its generator.
    generator: Option<Py<PyWeakrefReference>>,
    /// Whether it has run: closing a generator that has not runs nothing.
    started: bool,
}

static WATCHES: LazyLock<Mutex<HashMap<usize, Arc<Watch>>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Arc<Watch>>> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// A watch of `code`; `None` when none of the frames is left.
    pub(super) fn new(
        code: &Bound<'_, PyAny>,
        mut probes: Vec<(u32, Py<Probe>)>,
        frames: Option<Vec<Py<PyAny>>>,
        means: Means,
    ) -> PyResult<Option<Self>> {
        probes.sort_by_key(|(line, _)| *line);
        let frames = match frames {
            None => None,
            Some(frames) => {
                let mut live = HashMap::with_capacity(frames.len());
                for frame in frames {
                    live.extend(Live::new(code, frame.bind(code.py()))?);
                }
                if live.is_empty() {
                    return Ok(None);
                }
                Some(Mutex::new(live))
            }
        };
        Ok(Some(Self {
            code: code.clone().unbind(),
            probes,
            frames,
            means,
            closing_shows_lines: has_own_handlers(code)?,
        }))
    }

    /// The local events that show the lines, and the leaving of the frames that matter.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        /// `CO_GENERATOR`, `CO_COROUTINE` and `CO_ASYNC_GENERATOR`.
        const SUSPENDS: u32 = 0x20 | 0x80 | 0x200;

        let code = self.code.bind(py);
        let first: u32 = code.getattr(name!("co_firstlineno"))?.extract()?;
        let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
        let mut events = Events::LINE.with(Events::JUMP);
        // A line that goes on right behind `RESUME` is reported only while `RESUME` itself is.
        if flags & SUSPENDS != 0 {
            events = events.with(Events::RESUME);
        }
        if self.probes_of(first).next().is_some() {
            events = events.with(Events::START);
        }
        if self.frames.is_some() {
            events = events.with(Events::RETURN).with(Events::UNWIND);
        }
        Ok(events)
    }

    fn probes_of(&self, line: u32) -> impl Iterator<Item = &Py<Probe>> {
        let from = self.probes.partition_point(|(at, _)| *at < line);
        self.probes[from..]
            .iter()
            .take_while(move |(at, _)| *at == line)
            .map(|(_, probe)| probe)
    }

    fn concerns(&self, frame: Option<&Bound<'_, PyAny>>) -> bool {
        let Some(frames) = &self.frames else {
            return true;
        };
        let frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        frame.is_some_and(|frame| frames.contains_key(&(frame.as_ptr() as usize)))
    }

    /// Notes that a frame has run.
    fn note_start(&self, frame: Option<&Bound<'_, PyAny>>) {
        if let (Some(frames), Some(frame)) = (&self.frames, frame) {
            let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
            let address = frame.as_ptr() as usize;
            if let Some(live) = frames.get_mut(&address) {
                live.started = true;
            }
        }
    }

    /// Whether a frame, whose generator is about to be closed, will show lines and leave with an
    /// event. Waiting in vain costs a trace function, and nothing where there is monitoring.
    fn outlives_generator(&self, frame: usize) -> bool {
        let Some(frames) = &self.frames else {
            return false;
        };
        let frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        let started = frames.get(&frame).is_some_and(|live| live.started);
        self.closing_shows_lines && (self.means == Means::Monitoring || started)
    }

    /// Forgets a frame; whether it was the last that mattered.
    fn forget(&self, frame: usize) -> bool {
        let Some(frames) = &self.frames else {
            return false;
        };
        let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = frames.remove(&frame);
        let last = frames.is_empty() && gone.is_some();
        drop(frames);
        drop(gone);
        last
    }
}

impl Live {
    /// The frame itself, or that of a generator, coroutine or asynchronous generator, with its
    /// address.
    fn new(code: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> PyResult<Option<(usize, Self)>> {
        let py = code.py();
        for name in [name!("gi_frame"), name!("cr_frame"), name!("ag_frame")] {
            let Ok(frame) = object.getattr(name) else {
                continue;
            };
            if frame.is_none() {
                return Ok(None);
            }
            let started = !at_start(&frame)?;
            let frame = frame.as_ptr() as usize;
            let vanished = Vanished {
                code: code.as_ptr() as usize,
                frame,
            };
            let generator = PyWeakrefReference::new_with(object, Bound::new(py, vanished)?)?;
            let live = Self {
                generator: Some(generator.unbind()),
                started,
            };
            return Ok(Some((frame, live)));
        }
        let live = Self {
            generator: None,
            started: true,
        };
        Ok(Some((object.as_ptr() as usize, live)))
    }
}

/// Whether code holds handlers of the program, beside the one that the compiler gives to every
/// generator in versions with intrinsics.
fn has_own_handlers(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let opcodes = code.py().import("opcode")?.getattr(name!("opmap"))?;
    let given = usize::from(opcodes.contains("CALL_INTRINSIC_1")?);
    let table = code.getattr(name!("co_exceptiontable"))?;
    Ok(instrument::count_handlers(table.extract()?) > given)
}

/// Whether a suspended frame is still where its generator was made.
fn at_start(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = frame.py();
    let opcodes = py.import("opcode")?.getattr(name!("opmap"))?;
    let start = opcodes.get_item("RETURN_GENERATOR")?;
    let code = tracing::code_of(frame).getattr(name!("co_code"))?;
    code.get_item(frame.getattr(name!("f_lasti"))?)?.eq(start)
}

/// Called when a generator is gone whose frame was watched.
#[pyclass(frozen, module = "dapper._engine")]
struct Vanished {
    code: usize,
    frame: usize,
}

#[pymethods]
impl Vanished {
    fn __call__(&self, reference: &Bound<'_, PyAny>) -> PyResult<()> {
        let watch = lock().get(&self.code).cloned();
        if watch.is_none_or(|watch| watch.outlives_generator(self.frame)) {
            return Ok(());
        }
        forget(reference.py(), self.code, self.frame)
    }
}

/// As [`super::tracer::prepare`].
pub(super) fn prepare(py: Python<'_>) {
    py.get_type::<Vanished>();
}

/// Puts a watch in place of what watched its code before.
pub(super) fn put(py: Python<'_>, watch: Watch) -> PyResult<Result<(), String>> {
    let watch = Arc::new(watch);
    let code = watch.code.bind(py).clone();
    let before = lock().insert(code.as_ptr() as usize, Arc::clone(&watch));
    let done = match watch.means {
        Means::Monitoring => {
            if before.is_some_and(|before| before.means == Means::Tracing) {
                tracer::refresh(py)?;
            }
            tool::demand(Owner::Watch, &code, watch.events(py)?)?
        }
        Means::Tracing => {
            if before.is_some_and(|before| before.means == Means::Monitoring) {
                tool::demand(Owner::Watch, &code, Events::NONE)?.ok();
            }
            tracer::require(py)?
        }
    };
    if done.is_err() {
        take(py, code.as_ptr() as usize)?;
    }
    Ok(done)
}

/// Ends the watch of a code object, if there is one.
pub(super) fn take(py: Python<'_>, code: usize) -> PyResult<()> {
    let Some(watch) = lock().remove(&code) else {
        return Ok(());
    };
    match watch.means {
        Means::Monitoring => tool::demand(Owner::Watch, watch.code.bind(py), Events::NONE)?.ok(),
        Means::Tracing => Some(tracer::refresh(py)?),
    };
    Ok(())
}

/// Ends every watch.
pub(super) fn take_all(py: Python<'_>) -> PyResult<()> {
    let watches = std::mem::take(&mut *lock());
    tool::release(py, Owner::Watch)?;
    tracer::refresh(py)?;
    drop(watches);
    Ok(())
}

/// Whether the lines of `code` are watched by trace functions.
pub(super) fn is_traced(code: &Bound<'_, PyAny>) -> bool {
    find(code).is_some_and(|watch| watch.means == Means::Tracing)
}

/// Fires the probes of a line that the running frame of `code` has reached; `stopped` when a step
/// has stopped there. Events of another kind than those by which the code is watched are not
/// counted a second time: a step may have a thread traced whose code is monitored.
pub(super) fn line(
    code: &Bound<'_, PyAny>,
    line: u32,
    by: Means,
    stopped: bool,
) -> PyResult<Interest> {
    let py = code.py();
    let Some(watch) = find(code).filter(|watch| watch.means == by) else {
        return Ok(Interest::Unwanted);
    };
    figures::EVENTS.fetch_add(1, Ordering::Relaxed);
    if watch.means == Means::Tracing && watch.frames.is_some() {
        watch.note_start(tracing::current_frame(py).as_ref());
    }
    let mut interest = Interest::Unwanted;
    for probe in watch.probes_of(line) {
        interest = Interest::Wanted;
        if watch.frames.is_some() && !watch.concerns(tracing::current_frame(py).as_ref()) {
            break;
        }
        probe.get().pass(py, stopped)?;
    }
    Ok(interest)
}

/// The running frame of `code` is about to leave.
pub(super) fn left(code: &Bound<'_, PyAny>) -> PyResult<Interest> {
    let py = code.py();
    let Some(watch) = find(code).filter(|watch| watch.frames.is_some()) else {
        return Ok(Interest::Unwanted);
    };
    drop(watch);
    if let Some(frame) = tracing::current_frame(py) {
        forget(py, code.as_ptr() as usize, frame.as_ptr() as usize)?;
    }
    Ok(Interest::Wanted)
}

fn forget(py: Python<'_>, code: usize, frame: usize) -> PyResult<()> {
    let Some(watch) = lock().get(&code).cloned() else {
        return Ok(());
    };
    if !watch.forget(frame) {
        return Ok(());
    }
    match take(py, code) {
        // The interpreter is being taken down: nothing imports any more, or is watched.
        Err(error) if error.is_instance_of::<PyImportError>(py) => Ok(()),
        done => done,
    }
}

/// Whether the code is watched in given frames only.
pub(super) fn is_watched_in_frames(code: &Bound<'_, PyAny>) -> bool {
    find(code).is_some_and(|watch| watch.frames.is_some())
}

fn find(code: &Bound<'_, PyAny>) -> Option<Arc<Watch>> {
    lock().get(&(code.as_ptr() as usize)).cloned()
}

/// What is watched by trace functions.
pub(super) enum Traced {
    Nothing,
    /// Only these frames, each running now.
    Frames(Vec<usize>),
    /// Code that any thread may run.
    Anywhere,
}

/// What is watched by trace functions.
pub(super) fn traced() -> Traced {
    let watches = lock();
    let mut traced = Traced::Nothing;
    for watch in watches.values() {
        if watch.means == Means::Monitoring {
            continue;
        }
        let Some(live) = &watch.frames else {
            return Traced::Anywhere;
        };
        let live = live.lock().unwrap_or_else(PoisonError::into_inner);
        // A generator goes on in whichever thread resumes it.
        if live.values().any(|live| live.generator.is_some()) {
            return Traced::Anywhere;
        }
        let frames = live.keys().copied();
        match &mut traced {
            Traced::Frames(found) => found.extend(frames),
            _ => traced = Traced::Frames(frames.collect()),
        }
    }
    traced
}
