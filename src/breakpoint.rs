//! A breakpoint: what the user asked for, where it ended up, and how often it was hit.
//!
//! The registry, the probes and the Python handle share one [`Breakpoint`]. It holds no Python
//! object, because probes are constants of code objects, which the garbage collector does not
//! see: a callback that referred back to its function would never be freed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::allowance::Bucket;
use crate::figures::Figures;
use crate::inline::Inline;
pub use crate::request::{Kind, Request};
use crate::snapshot::Capturing;

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

/// Told when a breakpoint has moved, or has another reason.
static OBSERVER: OnceLock<fn(&Breakpoint)> = OnceLock::new();

/// Has `observer` called whenever it changes where a breakpoint is or why it is nowhere; the first
/// one given stays.
pub(crate) fn observe(observer: fn(&Breakpoint)) {
    let _ = OBSERVER.set(observer);
}

/// Where a breakpoint ended up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The lines that hold its probes, ascending: several only where functions are meant.
    pub lines: Vec<u32>,
    /// How the probe got into the program; a breakpoint with a tier is verified.
    pub tier: Option<Tier>,
    /// Why there is no probe, why there is none yet, or what the probe does not reach.
    pub reason: Option<String>,
}

/// One breakpoint, shared by the registry, its probes and its Python handle.
#[derive(Debug)]
pub struct Breakpoint {
    /// Unique in this process.
    pub id: u64,
    /// What the user asked for.
    pub request: Request,
    /// How often it was passed, and what came of it.
    pub figures: Figures,
    /// What it has spent of its allowance.
    pub spent: Mutex<Bucket>,
    armed: AtomicBool,
    whereabouts: Mutex<Whereabouts>,
    /// Why it was disarmed, when it was not removed.
    exhausted: OnceLock<String>,
    /// What a snapshot of a hit records, and how many were taken.
    pub(crate) capturing: Option<Capturing>,
    /// What it evaluates in its line, compiled.
    pub(crate) inline: OnceLock<Inline>,
    /// Why something is evaluated out of line.
    detour: Mutex<Option<String>>,
    /// The files of the module whose functions are meant, the last one met last.
    met: Mutex<Vec<Arc<str>>>,
}

impl Whereabouts {
    /// The line that holds the probe, the first of several.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.lines.first().copied()
    }
}

impl Breakpoint {
    /// An armed breakpoint that is nowhere yet, for the reason given.
    #[must_use]
    pub fn new(id: u64, request: Request, reason: Option<&str>) -> Self {
        let whereabouts = Whereabouts {
            reason: reason.map(str::to_owned),
            ..Whereabouts::default()
        };
        let capturing = request.capture.clone().map(Capturing::new);
        Self {
            id,
            request,
            capturing,
            figures: Figures::default(),
            spent: Mutex::default(),
            armed: AtomicBool::new(true),
            whereabouts: Mutex::new(whereabouts),
            exhausted: OnceLock::new(),
            inline: OnceLock::new(),
            detour: Mutex::default(),
            met: Mutex::default(),
        }
    }

    /// The file that it is in: of functions, the one that their module was last met in; empty
    /// where that is not known yet.
    pub fn file(&self) -> Arc<str> {
        let last = self.met().last().map(Arc::clone);
        last.unwrap_or_else(|| Arc::clone(&self.request.file))
    }

    /// All files that it is in.
    pub fn files(&self) -> Vec<Arc<str>> {
        match self.request.function {
            Some(_) => self.met().clone(),
            None => vec![Arc::clone(&self.request.file)],
        }
    }

    /// Records that the module of its functions is in `file`; false when that was known.
    pub fn meet(&self, file: &Arc<str>) -> bool {
        let mut met = self.met();
        let before = met.len();
        met.retain(|known| known != file);
        met.push(Arc::clone(file));
        met.len() != before
    }

    fn met(&self) -> MutexGuard<'_, Vec<Arc<str>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often its condition held: what the hit rule compares.
    pub fn hits(&self) -> u64 {
        self.figures.hits()
    }

    /// Counts a hit; its number, if the hit rule lets it through.
    ///
    /// What the one addition returns decides: no two threads get the same number.
    pub fn count_hit(&self) -> Option<u64> {
        let hits = self.figures.count_hit();
        if let Some(rule) = &self.request.hit_rule {
            if !rule.lets_through(hits) {
                return None;
            }
            self.figures.count_fired();
        }
        Some(hits)
    }

    /// How often it did what it is for.
    pub fn fired(&self) -> u64 {
        match self.request.hit_rule {
            Some(_) => self.figures.fired(),
            None => self.figures.hits(),
        }
    }

    /// How many snapshots were taken, if it takes any.
    pub fn snapshots(&self) -> Option<u64> {
        self.capturing.as_ref().map(Capturing::taken)
    }

    /// Counts from nothing again.
    pub fn reset(&self) {
        self.figures.reset();
        self.capturing.iter().for_each(Capturing::reset);
    }

    /// Whether it is one of a debugger that owns threads: see [`crate::owned`].
    pub fn is_owned(&self) -> bool {
        self.request.owners != 0
    }

    /// Whether whoever asked for it sees to the frames that run its code already.
    pub fn leaves_frames(&self) -> bool {
        self.request.leaves_frames || self.is_owned()
    }

    /// Whether its probes do anything.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Makes its probes do nothing, wherever they are.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Disarms it because it costs too much; false when it was disarmed before.
    pub fn exhaust(&self, reason: String) -> bool {
        self.exhausted.set(reason).is_ok() && self.armed.swap(false, Ordering::Relaxed)
    }

    /// Why it costs too much, if it was disarmed for that.
    pub fn exhausted(&self) -> Option<&str> {
        self.exhausted.get().map(String::as_str)
    }

    /// Where it ended up.
    pub fn whereabouts(&self) -> Whereabouts {
        let mut whereabouts = self.lock().clone();
        if whereabouts.tier.is_some() && whereabouts.reason.is_none() {
            whereabouts.reason.clone_from(&self.detour());
        }
        whereabouts
    }

    /// Records why something that it evaluates is not compiled into its line.
    pub fn take_detour(&self, reason: &str) {
        *self.detour() = Some(reason.to_owned());
    }

    fn detour(&self) -> MutexGuard<'_, Option<String>> {
        self.detour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that probes stand on `lines`, which are sorted.
    pub fn place(&self, lines: Vec<u32>, tier: Tier) {
        self.change(|whereabouts| {
            *whereabouts = Whereabouts {
                lines,
                tier: Some(tier),
                reason: None,
            };
        });
    }

    /// Records why there is no probe, unless there is one.
    pub fn refuse(&self, reason: &str) {
        self.change(|whereabouts| {
            if whereabouts.tier.is_none() {
                whereabouts.reason = Some(reason.to_owned());
            }
        });
    }

    /// Records what has to be said about the probe that there is.
    pub fn remark(&self, reason: &str) {
        self.change(|whereabouts| {
            if whereabouts.tier.is_some() {
                whereabouts.reason = Some(reason.to_owned());
            }
        });
    }

    /// Records why there is no probe any more.
    pub fn lose(&self, reason: &str) {
        self.change(|whereabouts| {
            *whereabouts = Whereabouts {
                reason: Some(reason.to_owned()),
                ..Whereabouts::default()
            };
        });
    }

    fn change(&self, change: impl FnOnce(&mut Whereabouts)) {
        let changed = {
            let mut whereabouts = self.lock();
            let before = OBSERVER.get().map(|_| whereabouts.clone());
            change(&mut whereabouts);
            before.is_some_and(|before| before != *whereabouts)
        };
        if changed && let Some(observer) = OBSERVER.get() {
            observer(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Whereabouts> {
        self.whereabouts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
