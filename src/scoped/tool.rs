//! The `sys.monitoring` tool (3.12 and later): its id, its callbacks, and who wants which events.
//!
//! Owns the tool id, taken when the first event is wanted and freed with the last, and the demands:
//! each owner says which local events it wants on which code object, and which everywhere; the
//! interpreter is told the union. A code object whose demands change has its events taken away and
//! set again, which arms the locations anew that were disabled; `restart_events` is never called,
//! for it belongs to every tool.
//! Relies on local events taking effect at once, in frames that are running too. Events of tools
//! outlive the id in 3.12 and 3.13, so each is taken back before the id is freed.

use crate::ffi::name::name;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use super::callbacks;

/// A set of events, by position in [`NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Events(u16);

/// `sys.monitoring.events` by position.
pub(super) const NAMES: [&str; 11] = [
    "LINE",
    "JUMP",
    "PY_START",
    "PY_RESUME",
    "PY_RETURN",
    "PY_YIELD",
    "PY_UNWIND",
    "PY_THROW",
    "RAISE",
    "INSTRUCTION",
    "CALL",
];

impl Events {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const LINE: Self = Self(1);
    pub(crate) const JUMP: Self = Self(1 << 1);
    pub(crate) const START: Self = Self(1 << 2);
    pub(crate) const RESUME: Self = Self(1 << 3);
    pub(crate) const RETURN: Self = Self(1 << 4);
    pub(crate) const YIELD: Self = Self(1 << 5);
    pub(crate) const UNWIND: Self = Self(1 << 6);
    pub(crate) const THROW: Self = Self(1 << 7);
    pub(crate) const RAISE: Self = Self(1 << 8);
    pub(crate) const INSTRUCTION: Self = Self(1 << 9);
    pub(crate) const CALL: Self = Self(1 << 10);

    /// Whether every event of `other` is in this set.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The events of both sets.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Who wants events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Watched lines.
    Watch,
    /// The step of a thread, by its number.
    Step(u64),
    /// Exception breakpoints.
    Exceptions,
    /// An exception that waits for the instruction behind a jump.
    Jump,
    /// Threads that are to stop wherever they are.
    Pause,
    /// Variables and attributes that are looked at.
    Changes,
    /// Instructions that stop.
    Instructions,
}

/// What the owners want, of one code object or everywhere.
#[derive(Default)]
struct Demands(Vec<(Owner, Events)>);

impl Demands {
    /// Replaces what `owner` wants; false when that is what it wanted before.
    fn set(&mut self, owner: Owner, events: Events) -> bool {
        let before = self.0.iter().position(|(who, _)| *who == owner);
        match before {
            Some(at) if self.0[at].1 == events => return false,
            Some(at) if events == Events::NONE => drop(self.0.swap_remove(at)),
            Some(at) => self.0[at].1 = events,
            None if events == Events::NONE => return false,
            None => self.0.push((owner, events)),
        }
        true
    }

    fn union(&self) -> Events {
        self.0
            .iter()
            .fold(Events::NONE, |union, (_, events)| union.with(*events))
    }
}

struct Local {
    code: Py<PyAny>,
    demands: Demands,
}

/// The tool while it holds an id.
struct Tool {
    id: u8,
    bits: [i32; NAMES.len()],
    locals: HashMap<usize, Local>,
    globals: Demands,
    /// What the interpreter was told last to send from everywhere.
    told: Events,
    /// Whether `UNWIND` can be had of single code objects; else it is had of all of them.
    unwind_is_local: bool,
    /// How many code objects `UNWIND` is wanted of.
    unwinding: usize,
}

static TOOL: Mutex<Option<Tool>> = Mutex::new(None);

/// What a callback returns to have no more events from a location.
static DISABLE: OnceLock<Py<PyAny>> = OnceLock::new();

fn lock(py: Python<'_>) -> MutexGuard<'static, Option<Tool>> {
    // An audit hook may run Python code, and so let another thread in, while this is held.
    TOOL.lock_py_attached(py)
        .unwrap_or_else(PoisonError::into_inner)
}

/// `sys.monitoring`, in interpreters that have it.
fn monitoring(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    py.import("sys").ok()?.getattr(name!("monitoring")).ok()
}

/// Whether this interpreter has `sys.monitoring`; every event that a trace function is told asks.
pub(crate) fn is_available(py: Python<'_>) -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| monitoring(py).is_some())
}

/// Whether the tool holds an id now.
pub(crate) fn is_in_use(py: Python<'_>) -> bool {
    lock(py).is_some()
}

/// What a callback returns to have no more events from a location.
pub(super) fn disable(py: Python<'_>) -> PyResult<Py<PyAny>> {
    if let Some(disable) = DISABLE.get() {
        return Ok(disable.clone_ref(py));
    }
    let monitoring = py.import("sys")?.getattr(name!("monitoring"))?;
    let disable = monitoring.getattr(name!("DISABLE"))?.unbind();
    Ok(DISABLE.get_or_init(|| disable).clone_ref(py))
}

/// Says which local events `owner` wants on a code object; `NONE` wants it no more.
///
/// The inner error is the reason why there can be none.
pub(crate) fn demand(
    owner: Owner,
    code: &Bound<'_, PyAny>,
    events: Events,
) -> PyResult<Result<(), String>> {
    change(code.py(), events != Events::NONE, |py, tool| {
        tool.demand(py, owner, code, events)
    })
}

/// Says which events `owner` wants everywhere.
pub(crate) fn demand_everywhere(
    py: Python<'_>,
    owner: Owner,
    events: Events,
) -> PyResult<Result<(), String>> {
    change(py, events != Events::NONE, |py, tool| {
        tool.globals.set(owner, events);
        tool.tell_globals(py)
    })
}

/// Takes every local event of `owner` back, and what it wanted everywhere.
pub(crate) fn release(py: Python<'_>, owner: Owner) -> PyResult<()> {
    let released = change(py, false, |py, tool| {
        let codes: Vec<Py<PyAny>> = tool
            .locals
            .values()
            .filter(|local| local.demands.0.iter().any(|(who, _)| *who == owner))
            .map(|local| local.code.clone_ref(py))
            .collect();
        for code in codes {
            tool.demand(py, owner, code.bind(py), Events::NONE)?;
        }
        tool.globals.set(owner, Events::NONE);
        tool.tell_globals(py)
    })?;
    // INVARIANT: only taking an id can be refused, and nothing takes one here.
    debug_assert!(released.is_ok());
    Ok(())
}

fn change(
    py: Python<'_>,
    acquire: bool,
    change: impl FnOnce(Python<'_>, &mut Tool) -> PyResult<()>,
) -> PyResult<Result<(), String>> {
    let mut guard = lock(py);
    if guard.is_none() {
        if !acquire {
            return Ok(Ok(()));
        }
        match Tool::acquire(py)? {
            Ok(tool) => *guard = Some(tool),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    let Some(tool) = guard.as_mut() else {
        return Ok(Ok(()));
    };
    let changed = change(py, tool);
    if tool.locals.is_empty() && tool.globals.0.is_empty() {
        let released = tool.free(py);
        *guard = None;
        released?;
    }
    changed.map(Ok)
}

impl Tool {
    /// Takes a free tool id; the inner error is the reason why there is none.
    fn acquire(py: Python<'_>) -> PyResult<Result<Self, String>> {
        let Some(monitoring) = monitoring(py) else {
            return Ok(Err("this interpreter has no sys.monitoring".to_owned()));
        };
        // The id of debuggers, those that are nobody's by convention, then the other tools'.
        for id in [0_u8, 3, 4, 5, 2, 1] {
            match monitoring.call_method1(name!("use_tool_id"), (id, "dapper")) {
                Ok(_) => {}
                Err(error) if error.is_instance_of::<PyValueError>(py) => continue,
                Err(error) => return Err(error),
            }
            let events = monitoring.getattr(name!("events"))?;
            let mut bits = [0; NAMES.len()];
            for (name, bit) in NAMES.iter().zip(&mut bits) {
                *bit = events.getattr(*name)?.extract()?;
            }
            for ((_, callback), bit) in callbacks::all(py)?.iter().zip(bits) {
                monitoring.call_method1(name!("register_callback"), (id, bit, callback))?;
            }
            let mut tool = Self {
                id,
                bits,
                locals: HashMap::new(),
                globals: Demands::default(),
                told: Events::NONE,
                unwind_is_local: true,
                unwinding: 0,
            };
            tool.unwind_is_local = tool.has_local_unwind(py)?;
            return Ok(Ok(tool));
        }
        Ok(Err("other tools hold every sys.monitoring id".to_owned()))
    }

    /// Asks for `UNWIND` of a code object that nobody runs.
    fn has_local_unwind(&self, py: Python<'_>) -> PyResult<bool> {
        let compile = py.import("builtins")?.getattr(name!("compile"))?;
        let code = compile.call1(("", "<dapper>", "exec"))?;
        if self.tell_local(py, &code, Events::UNWIND).is_err() {
            return Ok(false);
        }
        self.tell_local(py, &code, Events::NONE)?;
        Ok(true)
    }

    fn free(&self, py: Python<'_>) -> PyResult<()> {
        let Some(monitoring) = monitoring(py) else {
            return Ok(());
        };
        for bit in self.bits {
            monitoring.call_method1(name!("register_callback"), (self.id, bit, py.None()))?;
        }
        monitoring.call_method1(name!("free_tool_id"), (self.id,))?;
        Ok(())
    }

    fn demand(
        &mut self,
        py: Python<'_>,
        owner: Owner,
        code: &Bound<'_, PyAny>,
        events: Events,
    ) -> PyResult<()> {
        let key = code.as_ptr() as usize;
        let local = self.locals.entry(key).or_insert_with(|| Local {
            code: code.clone().unbind(),
            demands: Demands::default(),
        });
        let before = local.demands.union();
        // The same events again are a wish for the locations that were disabled.
        let changed = local.demands.set(owner, events) || events != Events::NONE;
        let union = local.demands.union();
        if union == Events::NONE {
            self.locals.remove(&key);
        }
        self.unwinding += usize::from(union.has(Events::UNWIND));
        self.unwinding -= usize::from(before.has(Events::UNWIND));
        if changed && before != Events::NONE {
            self.tell_local(py, code, Events::NONE)?;
        }
        if changed && union != Events::NONE {
            self.tell_local(py, code, union)?;
        }
        self.tell_globals(py)
    }

    fn tell_local(&self, py: Python<'_>, code: &Bound<'_, PyAny>, events: Events) -> PyResult<()> {
        let events = if self.unwind_is_local {
            events
        } else {
            events.without(Events::UNWIND)
        };
        let arguments = (self.id, code, self.bits_of(events));
        let monitoring = py.import("sys")?.getattr(name!("monitoring"))?;
        monitoring.call_method1(name!("set_local_events"), arguments)?;
        Ok(())
    }

    fn tell_globals(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut events = self.globals.union();
        if self.unwinding > 0 && !self.unwind_is_local {
            events = events.with(Events::UNWIND);
        }
        if events != self.told {
            let arguments = (self.id, self.bits_of(events));
            let monitoring = py.import("sys")?.getattr(name!("monitoring"))?;
            monitoring.call_method1(name!("set_events"), arguments)?;
            self.told = events;
        }
        Ok(())
    }

    fn bits_of(&self, events: Events) -> i32 {
        (0..NAMES.len())
            .filter(|at| events.0 & (1 << at) != 0)
            .fold(0, |bits, at| bits | self.bits[at])
    }
}
