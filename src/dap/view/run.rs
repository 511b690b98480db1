//! Running what the user has evaluated, in the thread that stopped.
//!
//! Owns how a program reads the variables of its frame and how what it assigned gets there, whether
//! it ended well or not. Coroutines run on the thread's event loop where one is running, together
//! with the loop's other tasks, and else on one of their own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use super::guard::guarded;
use super::names::{self, in_slot, is_cell, value_of};
use super::program::{Form, Free, Mode, Parts, program};
use crate::dap::scene::Scene;
use crate::ffi::evaluate;
use crate::ffi::name::name;
use crate::hit::Quiet;
use crate::log::loaded_module;
use crate::time_limit;

/// How often a loop that waits for something looks whether it is to go on.
const BEAT: f64 = 0.05;

/// Threads that wait on an event loop for the user, and whether that is to end.
static AWAITING: Mutex<BTreeMap<u64, bool>> = Mutex::new(BTreeMap::new());

fn awaiting() -> MutexGuard<'static, BTreeMap<u64, bool>> {
    AWAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what the thread with that number evaluates for the user; false when it evaluates nothing.
pub(crate) fn interrupt(py: Python<'_>, ident: u64) -> bool {
    let awaits = awaiting()
        .get_mut(&ident)
        .map(|is_cancelled| *is_cancelled = true);
    awaits.is_some() || time_limit::cancel(py, ident)
}

/// The value of a text in a frame of the stop, or among the globals of the main module; none for
/// statements.
pub(super) fn run<'py>(
    scene: &mut Scene<'py>,
    index: Option<usize>,
    text: &str,
    mode: Mode,
    limit: Option<Duration>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = scene.py();
    let compiled = program(scene, index, text, mode)?;
    let frame = index.map(|index| scene.frame(index).frame.clone());
    let globals = match &frame {
        Some(frame) => names::globals(frame)?,
        None => main_globals(py)?,
    };
    match (&compiled.form, &frame, index) {
        (
            Form::Function {
                code,
                free,
                has_value,
            },
            Some(frame),
            Some(index),
        ) => {
            let function = Function {
                frame,
                code: code.bind(py),
                free,
            };
            let call = function.prepare(scene, index, &globals)?;
            let value = match guarded(py, limit, || call.function.call0()) {
                Ok(coroutine) if compiled.awaits => wait_for(scene, &coroutine),
                value => value,
            };
            call.finish(scene, index, &function)?;
            value.map(|value| has_value.then_some(value))
        }
        (Form::Snapshot(parts), Some(frame), Some(index)) => {
            let copy = PyDict::new(py);
            for (name, value) in visible(scene, index)? {
                copy.set_item(name, value)?;
            }
            let before = copy.copy()?;
            let value = in_namespace(scene, parts, &globals, copy.as_any(), limit);
            if mode == Mode::Console {
                write_back(scene, index, frame, &before, &copy)?;
            }
            value
        }
        (Form::Namespace(parts), frame, index) => {
            let mut locals = match frame {
                Some(frame) => frame.getattr(name!("f_locals"))?,
                None => globals.clone(),
            };
            if let Some(extras) = index.and_then(|index| scene.extras(index)) {
                // What is assigned goes to the first of them.
                let chain = py.import("collections")?.getattr(name!("ChainMap"))?;
                locals = chain.call1((locals, extras))?;
            }
            in_namespace(scene, parts, &globals, &locals, limit)
        }
        _ => Err(PyRuntimeError::new_err("the frame is gone")),
    }
}

/// The local variables of a frame, those of the console included.
pub(super) fn visible<'py>(scene: &Scene<'py>, index: usize) -> PyResult<Vec<names::Named<'py>>> {
    let frame = &scene.frame(index).frame;
    let mut found = names::locals_of(frame, true)?;
    found.extend(names::locals_of(frame, false)?);
    if let Some(extras) = scene.extras(index) {
        found.extend(names::entries(extras.as_any())?);
    }
    Ok(found)
}

fn main_globals(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let main = loaded_module(py, "__main__")
        .ok_or_else(|| PyRuntimeError::new_err("the program has no __main__ module"))?;
    main.getattr(name!("__dict__"))
}

fn in_namespace<'py>(
    scene: &mut Scene<'py>,
    parts: &Parts,
    globals: &Bound<'py, PyAny>,
    locals: &Bound<'py, PyAny>,
    limit: Option<Duration>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = scene.py();
    let mut value = None;
    for (code, is_value) in [(&parts.statements, false), (&parts.value, true)] {
        let Some(code) = code else { continue };
        let code = code.bind(py);
        let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
        let run = || evaluate::in_namespace(code, globals, locals);
        let mut result = guarded(py, limit, run)?;
        if flags & super::program::COROUTINE != 0 {
            result = wait_for(scene, &result)?;
        }
        if is_value {
            value = Some(result);
        }
    }
    Ok(value)
}

fn write_back<'py>(
    scene: &mut Scene<'py>,
    index: usize,
    frame: &Bound<'py, PyAny>,
    before: &Bound<'py, PyDict>,
    after: &Bound<'py, PyDict>,
) -> PyResult<()> {
    for (name, value) in names::entries(after.as_any())? {
        let same = before.get_item(&name)?.is_some_and(|old| old.is(&value));
        if same {
            continue;
        }
        if names::is_local(frame, &name)? {
            names::store(frame, &name, Some(value))?;
        } else {
            scene.extras_to_add_to(index).set_item(name, value)?;
        }
    }
    Ok(())
}

struct Function<'a, 'py> {
    frame: &'a Bound<'py, PyAny>,
    code: &'a Bound<'py, PyAny>,
    free: &'a [Free],
}

struct Call<'py> {
    function: Bound<'py, PyAny>,
    /// The cell of each free variable, and what was in it.
    cells: Vec<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)>,
}

impl<'py> Function<'_, 'py> {
    fn prepare(
        &self,
        scene: &Scene<'py>,
        index: usize,
        globals: &Bound<'py, PyAny>,
    ) -> PyResult<Call<'py>> {
        static FUNCTION_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static CELL_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = globals.py();
        let cell_type = CELL_TYPE.import(py, "types", "CellType")?;
        let mut cells = Vec::with_capacity(self.free.len());
        for free in self.free {
            let shared = free.slot.filter(|slot| slot.shared);
            if let Some(cell) = shared.and_then(|slot| in_slot(self.frame, slot))
                && is_cell(&cell)
            {
                cells.push((cell, None));
                continue;
            }
            let value = match (free.slot, scene.extras(index)) {
                (Some(slot), _) => value_of(self.frame, slot),
                (None, Some(extras)) => extras.get_item(&free.name)?,
                (None, None) => None,
            };
            let cell = match &value {
                Some(value) => cell_type.call1((value,))?,
                None => cell_type.call0()?,
            };
            cells.push((cell, value));
        }
        let closure = PyTuple::new(py, cells.iter().map(|(cell, _)| cell))?;
        let function = FUNCTION_TYPE.import(py, "types", "FunctionType")?.call1((
            self.code,
            globals,
            "_",
            py.None(),
            closure,
        ))?;
        Ok(Call { function, cells })
    }
}

impl<'py> Call<'py> {
    /// Brings what was assigned to where the frame has it.
    fn finish(
        self,
        scene: &mut Scene<'py>,
        index: usize,
        function: &Function<'_, 'py>,
    ) -> PyResult<()> {
        for (free, (cell, before)) in function.free.iter().zip(self.cells) {
            if !free.is_bound {
                continue;
            }
            let after = cell.getattr(name!("cell_contents")).ok();
            let same = match (&before, &after) {
                (Some(before), Some(after)) => before.is(after),
                (None, None) => true,
                _ => false,
            };
            if same {
                continue;
            }
            match (free.slot, after) {
                // The cell is the frame's own.
                (Some(slot), _)
                    if slot.shared
                        && in_slot(function.frame, slot).is_some_and(|own| own.is(&cell)) => {}
                (Some(_), after) => names::store(function.frame, &free.name, after)?,
                (None, Some(after)) => {
                    scene.extras_to_add_to(index).set_item(&free.name, after)?;
                }
                (None, None) => {
                    scene.extras_to_add_to(index).del_item(&free.name)?;
                }
            }
        }
        Ok(())
    }
}

/// Runs a coroutine to its end.
fn wait_for<'py>(scene: &Scene<'py>, coroutine: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = scene.py();
    let running = match loaded_module(py, "asyncio") {
        Some(asyncio) => asyncio.call_method0(name!("_get_running_loop"))?,
        None => py.None().into_bound(py),
    };
    if !running.is_none() {
        return wait_on(&running, coroutine, scene.ident());
    }
    guarded(py, None, || {
        let event_loop = py
            .import("asyncio")?
            .call_method0(name!("new_event_loop"))?;
        let value = event_loop.call_method1(name!("run_until_complete"), (coroutine,));
        let ended = event_loop.call_method0(name!("close"));
        value.and_then(|value| ended.map(|_| value))
    })
}

/// Runs a coroutine on a loop that is in the middle of calling something.
fn wait_on<'py>(
    running: &Bound<'py, PyAny>,
    coroutine: &Bound<'py, PyAny>,
    ident: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let py = running.py();
    if !(running.hasattr(name!("_run_once"))? && running.hasattr(name!("_ready"))?) {
        coroutine.call_method0(name!("close"))?;
        return Err(PyRuntimeError::new_err(format!(
            "an event loop of type {} cannot go on while it stops here: evaluate without await",
            running.get_type().name()?
        )));
    }
    let _quiet = Quiet::enter();
    let _unseen = evaluate::Unseen::enter(py);
    let tasks = py.import("asyncio")?.getattr(name!("tasks"))?;
    let current = tasks.call_method1(name!("current_task"), (running,))?;
    if !current.is_none() {
        tasks.call_method1(name!("_leave_task"), (running, &current))?;
    }
    let waiting = running.getattr(name!("_ready"))?.len()?;
    awaiting().insert(ident, false);
    let result = until_done(running, coroutine, ident);
    awaiting().remove(&ident);
    // The loop has counted what was ready, and takes as many.
    let nothing = py.get_type::<PyDict>();
    while running.getattr(name!("_ready"))?.len()? < waiting {
        running.call_method1(name!("call_soon"), (&nothing,))?;
    }
    if !current.is_none() {
        tasks.call_method1(name!("_enter_task"), (running, &current))?;
    }
    result
}

fn until_done<'py>(
    running: &Bound<'py, PyAny>,
    coroutine: &Bound<'py, PyAny>,
    ident: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let py = running.py();
    let task = running.call_method1(name!("create_task"), (coroutine,))?;
    let nothing = py.get_type::<PyDict>();
    while !task.call_method0(name!("done"))?.is_truthy()? {
        let beat = running.call_method1(name!("call_later"), (BEAT, &nothing))?;
        running.call_method0(name!("_run_once"))?;
        beat.call_method0(name!("cancel"))?;
        if awaiting().get(&ident) == Some(&true) {
            task.call_method0(name!("cancel"))?;
            return Err(PyKeyboardInterrupt::new_err("cancelled"));
        }
        if running.getattr(name!("_stopping"))?.is_truthy()? {
            task.call_method0(name!("cancel"))?;
            return Err(PyRuntimeError::new_err(
                "the event loop was stopped before this was done",
            ));
        }
    }
    task.call_method0(name!("result"))
}
