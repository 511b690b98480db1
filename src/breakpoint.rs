//! A breakpoint: what the user asked for, where it ended up, and how often it was hit.
//!
//! The registry, the probes and the Python handle share one [`Breakpoint`]. It holds no Python
//! object, because probes are constants of code objects, which the garbage collector does not
//! see: a callback that referred back to its function would never be freed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

pub use crate::breakpoint_file::Kind;

impl Kind {
    /// The word that events and options use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Log => "log",
            Self::Count => "count",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stop, Self::Log, Self::Count]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// How a breakpoint reaches the running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Compiled into the module when it was imported.
    Import,
    /// Bound to functions that were loaded already.
    Bound,
    /// Swapped in when a frame was entered.
    Entry,
    /// Watched from outside, without a change to the code.
    Tracing,
}

impl Tier {
    /// The word that events and `Breakpoint.tier` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Bound => "bound",
            Self::Entry => "entry",
            Self::Tracing => "tracing",
        }
    }
}

/// Where a breakpoint ended up.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// The line that holds the probe.
    pub line: Option<u32>,
    /// How the probe got into the program; a breakpoint with a tier is verified.
    pub tier: Option<Tier>,
    /// Why there is no probe, or why there is none yet.
    pub reason: Option<String>,
}

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Absolute path with links resolved, or a name in angle brackets.
    pub file: Arc<str>,
    /// The line as asked for.
    pub line: u32,
    /// What a hit does.
    pub kind: Kind,
    /// The text of a log breakpoint.
    pub message: Option<String>,
}

/// One breakpoint, shared by the registry, its probes and its Python handle.
#[derive(Debug)]
pub struct Breakpoint {
    /// Unique in this process.
    pub id: u64,
    /// What the user asked for.
    pub request: Request,
    hits: AtomicU64,
    armed: AtomicBool,
    whereabouts: Mutex<Whereabouts>,
}

impl Breakpoint {
    /// An armed breakpoint that is nowhere yet, for the reason given.
    #[must_use]
    pub fn new(id: u64, request: Request, reason: Option<&str>) -> Self {
        let whereabouts = Whereabouts {
            reason: reason.map(str::to_owned),
            ..Whereabouts::default()
        };
        Self {
            id,
            request,
            hits: AtomicU64::new(0),
            armed: AtomicBool::new(true),
            whereabouts: Mutex::new(whereabouts),
        }
    }

    /// Counts a hit and returns how many there were, this one included.
    pub fn count(&self) -> u64 {
        self.hits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How often it was hit.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Counts from nothing again.
    pub fn forget_hits(&self) {
        self.hits.store(0, Ordering::Relaxed);
    }

    /// Whether its probes do anything.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Makes its probes do nothing, wherever they are.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Where it ended up.
    pub fn whereabouts(&self) -> Whereabouts {
        self.lock().clone()
    }

    /// Records that a probe stands on `line`.
    pub fn place(&self, line: u32, tier: Tier) {
        *self.lock() = Whereabouts {
            line: Some(line),
            tier: Some(tier),
            reason: None,
        };
    }

    /// Records why there is no probe, unless there is one.
    pub fn refuse(&self, reason: &str) {
        let mut whereabouts = self.lock();
        if whereabouts.tier.is_none() {
            whereabouts.reason = Some(reason.to_owned());
        }
    }

    /// Records why there is no probe any more.
    pub fn lose(&self, reason: &str) {
        *self.lock() = Whereabouts {
            reason: Some(reason.to_owned()),
            ..Whereabouts::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, Whereabouts> {
        self.whereabouts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A breakpoint as Python sees it; every property is read when it is asked for.
#[pyclass(frozen, name = "Breakpoint", module = "dapper")]
pub(crate) struct Handle(pub(crate) Arc<Breakpoint>);

#[pymethods]
impl Handle {
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    #[getter]
    fn file(&self) -> &str {
        &self.0.request.file
    }

    #[getter]
    fn requested_line(&self) -> u32 {
        self.0.request.line
    }

    #[getter]
    fn line(&self) -> Option<u32> {
        self.0.whereabouts().line
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.0.request.kind.as_str()
    }

    #[getter]
    fn log_message(&self) -> Option<&str> {
        self.0.request.message.as_deref()
    }

    #[getter]
    fn verified(&self) -> bool {
        self.0.is_armed() && self.0.whereabouts().tier.is_some()
    }

    #[getter]
    fn tier(&self) -> Option<&'static str> {
        self.0.whereabouts().tier.map(Tier::as_str)
    }

    #[getter]
    fn reason(&self) -> Option<String> {
        if self.0.is_armed() {
            self.0.whereabouts().reason
        } else {
            Some("removed".to_owned())
        }
    }

    #[getter]
    fn hits(&self) -> u64 {
        self.0.hits()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0.id == self.0.id)
    }

    fn __hash__(&self) -> u64 {
        self.0.id
    }

    fn __repr__(&self) -> String {
        let Request {
            file, line, kind, ..
        } = &self.0.request;
        let whereabouts = self.0.whereabouts();
        let state = match (whereabouts.line, whereabouts.tier, whereabouts.reason) {
            _ if !self.0.is_armed() => "removed".to_owned(),
            (Some(line), Some(tier), _) => format!("line {line}, tier {}", tier.as_str()),
            (_, _, reason) => reason.unwrap_or_default(),
        };
        format!(
            "<Breakpoint {} {file}:{line} {}: {state}>",
            self.0.id,
            kind.as_str()
        )
    }
}
