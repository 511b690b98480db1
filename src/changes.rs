//! Stopping where a variable or an attribute has got another value.
//!
//! Owns what is looked at. The value is compared by identity at every line that may have changed
//! it: a local variable at the lines of its frame and when that is left, an attribute or a global
//! variable at every line of the program. So the stop comes behind the line that wrote, writes of
//! the same object are not seen, nor is what changes within the object.
//! Nothing is kept alive: objects are known by weak references, values by their addresses.
//! Nothing is installed while nothing is looked at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::condition;
use crate::evaluator::Evaluator;
use crate::ffi::name::name;
use crate::ffi::tracing;
use crate::hit;
use crate::scoped::tool::{self, Events, Owner};
use crate::scoped::tracer;

/// What is looked at.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A local variable of one call.
    Local {
        /// The address of the frame object.
        frame: usize,
        /// The code that the frame runs.
        code: Py<PyAny>,
        /// The name.
        name: String,
    },
    /// What is in the dictionary or the slots of an object: a module or an instance.
    Attribute {
        /// A weak reference to it.
        object: Py<PyAny>,
        /// The name.
        name: String,
    },
}

/// Something that is looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Unique in the process.
    pub(crate) id: u64,
    /// What it is.
    pub(crate) subject: Subject,
    /// The address of its value; 0 where it has none.
    last: Mutex<usize>,
    /// Whether it will never change again: its frame or its object is gone.
    over: AtomicBool,
}

/// Called with the frame that has reached a line, and what has changed; it returns when the thread
/// goes on.
pub(crate) type Sink = fn(&Bound<'_, PyAny>, &Arc<Watch>) -> PyResult<()>;

static SINK: OnceLock<Sink> = OnceLock::new();
static ACTIVE: AtomicBool = AtomicBool::new(false);
static WATCHES: Mutex<Vec<Arc<Watch>>> = Mutex::new(Vec::new());

/// The events that show the lines of a frame, and its end.
const LOCAL: Events = Events::LINE
    .with(Events::JUMP)
    .with(Events::RETURN)
    .with(Events::UNWIND);

fn lock() -> MutexGuard<'static, Vec<Arc<Watch>>> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anything is looked at.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// Says what a thread does that has found a change; the first one given stays.
pub(crate) fn set_sink(sink: Sink) {
    let _ = SINK.set(sink);
}

impl Subject {
    /// The variable or attribute as the user knows it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Local { name, .. } | Self::Attribute { name, .. } => name,
        }
    }
}

/// What is stored in an object under a name, without any of its code being run.
pub(crate) fn stored<'py>(
    object: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let generic = py.get_type::<PyAny>().getattr(name!("__getattribute__"))?;
    let name = PyString::new(py, name);
    if let Ok(variables) = generic.call1((object, "__dict__"))
        && let Ok(variables) = variables.cast_into::<PyDict>()
        && let Some(value) = variables.get_item(&name)?
    {
        return Ok(Some(value));
    }
    let member = py.import("types")?.getattr(name!("MemberDescriptorType"))?;
    for class in object.get_type().mro().iter() {
        let own = class.getattr(name!("__dict__"))?;
        if let Ok(slot) = own.get_item(&name)
            && slot.is_instance(&member)?
        {
            return Ok(slot.call_method1(name!("__get__"), (object,)).ok());
        }
    }
    Ok(None)
}

/// Of a frame that is stopped, or of an object, with the value that it has now.
impl Watch {
    pub(crate) fn new(id: u64, subject: Subject, value: Option<&Bound<'_, PyAny>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            subject,
            last: Mutex::new(address(value)),
            over: AtomicBool::new(false),
        })
    }

    /// Whether it will never change again.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Notes the value; whether it is another one than before.
    fn has_changed(&self, value: Option<&Bound<'_, PyAny>>) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, address(value)) != address(value)
    }
}

fn address(value: Option<&Bound<'_, PyAny>>) -> usize {
    value.map_or(0, |value| value.as_ptr() as usize)
}

/// The value of a local variable of a frame, if it is bound.
pub(crate) fn local<'py>(
    frame: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let value = condition::undisturbed(frame.py(), || {
        Evaluator::new(name, "variable that is looked at").value(frame)
    })?;
    Ok(value.ok())
}

/// Looks at these from now on, and at nothing else; the inner error is why that cannot be done.
pub(crate) fn look_at(py: Python<'_>, watches: &[Arc<Watch>]) -> PyResult<Result<(), String>> {
    let before = std::mem::replace(&mut *lock(), watches.to_vec());
    ACTIVE.store(!watches.is_empty(), Ordering::Relaxed);
    drop(before);
    if !tool::is_available(py) {
        if watches.is_empty() {
            return tracer::refresh(py).map(Ok);
        }
        return tracer::require(py);
    }
    tool::release(py, Owner::Changes)?;
    let mut everywhere = false;
    for watch in watches {
        match &watch.subject {
            Subject::Local { code, .. } => {
                if let Err(reason) = tool::demand(Owner::Changes, code.bind(py), LOCAL)? {
                    return Ok(Err(reason));
                }
            }
            Subject::Attribute { .. } => everywhere = true,
        }
    }
    if everywhere {
        let events = Events::LINE.with(Events::JUMP);
        return tool::demand_everywhere(py, Owner::Changes, events);
    }
    Ok(Ok(()))
}

/// A line is about to run in `frame`; whether that was a stop.
pub(crate) fn reached(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    look(frame, false)
}

/// `frame` is about to be left.
pub(crate) fn left(frame: &Bound<'_, PyAny>) -> PyResult<()> {
    look(frame, true).map(drop)
}

fn look(frame: &Bound<'_, PyAny>, leaves: bool) -> PyResult<bool> {
    if !is_active() || hit::in_callback() {
        return Ok(false);
    }
    let py = frame.py();
    let mut stopped = false;
    let mut ended = false;
    let watches: Vec<Arc<Watch>> = lock().clone();
    for watch in watches {
        let changed = match &watch.subject {
            Subject::Local {
                frame: own, name, ..
            } => {
                if *own != frame.as_ptr() as usize {
                    continue;
                }
                let value = local(frame, name)?;
                if leaves {
                    watch.over.store(true, Ordering::Relaxed);
                    ended = true;
                }
                watch.has_changed(value.as_ref())
            }
            Subject::Attribute { object, name } => {
                if leaves {
                    continue;
                }
                let _quiet = hit::Quiet::enter();
                let object = object.bind(py).call0()?;
                if object.is_none() {
                    watch.over.store(true, Ordering::Relaxed);
                    ended = true;
                    continue;
                }
                watch.has_changed(stored(&object, name)?.as_ref())
            }
        };
        if changed && let Some(sink) = SINK.get() {
            stopped = true;
            hit::call_quietly(py, "stop at a change", || sink(frame, &watch))?;
        }
    }
    if ended {
        let rest: Vec<Arc<Watch>> = lock()
            .iter()
            .filter(|watch| !watch.is_over())
            .cloned()
            .collect();
        look_at(py, &rest)?.map_err(PyRuntimeError::new_err)?;
    }
    Ok(stopped)
}

/// The code that a frame runs, as a subject of its variables needs it.
pub(crate) fn subject_of_local(frame: &Bound<'_, PyAny>, name: &str) -> Subject {
    Subject::Local {
        frame: frame.as_ptr() as usize,
        code: tracing::code_of(frame).unbind(),
        name: name.to_owned(),
    }
}
