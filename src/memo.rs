//! Variants that were made in this process, kept for breakpoints that come back.
//!
//! A debugger sets, removes and sets again; a code object is rewritten once for each set of lines.
//! Keyed by the content of the marshalled code and the wanted probes, so an entry never goes
//! stale; it only goes when it is the one not used for longest, or too old. What is not kept is
//! made again: the limits are about memory alone.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cache::SourceHash;
use instrument::{PyVersion, Spot, Wanted};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::variant::{self, Variant};
use crate::variant_key::Probes;

pub(crate) const DEFAULT_LIMIT: usize = 1000;

type Key = ([u8; 32], Asked);

/// What a variant was made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Probes(Probes),
    Spots(Vec<Spot>),
}

struct Kept {
    variant: Arc<Variant>,
    made: Instant,
    /// The turn at which it was last used; the smallest goes first.
    used: u64,
}

struct Memo {
    limit: usize,
    time_to_live: Option<Duration>,
    turn: u64,
    kept: HashMap<Key, Kept>,
    hits: u64,
    misses: u64,
    evicted: u64,
    expired: u64,
}

static MEMO: LazyLock<Mutex<Memo>> = LazyLock::new(|| {
    Mutex::new(Memo {
        limit: DEFAULT_LIMIT,
        time_to_live: None,
        turn: 0,
        kept: HashMap::new(),
        hits: 0,
        misses: 0,
        evicted: 0,
        expired: 0,
    })
});

fn lock() -> MutexGuard<'static, Memo> {
    MEMO.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memo {
    fn expire(&mut self) {
        let Some(time_to_live) = self.time_to_live else {
            return;
        };
        let before = self.kept.len();
        self.kept
            .retain(|_, kept| kept.made.elapsed() <= time_to_live);
        self.expired += (before - self.kept.len()) as u64;
    }

    fn shrink_to(&mut self, limit: usize) {
        while self.kept.len() > limit {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.kept.remove(&key);
            self.evicted += 1;
        }
    }

    fn find(&mut self, key: &Key) -> Option<Arc<Variant>> {
        self.expire();
        self.turn += 1;
        let Some(kept) = self.kept.get_mut(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        kept.used = self.turn;
        Some(Arc::clone(&kept.variant))
    }

    fn keep(&mut self, key: Key, variant: Arc<Variant>) {
        if self.limit == 0 {
            return;
        }
        self.turn += 1;
        let kept = Kept {
            variant,
            made: Instant::now(),
            used: self.turn,
        };
        self.kept.insert(key, kept);
        self.shrink_to(self.limit);
    }
}

/// The variant of a marshalled code object: the kept one, else a new one, which is kept.
pub(crate) fn make(
    version: PyVersion,
    marshalled: &[u8],
    wanted: Wanted<'_>,
) -> Result<Arc<Variant>, instrument::Error> {
    let probes = match wanted {
        Wanted::EveryLine => Asked::Probes(Probes::EveryLine),
        Wanted::Lines(lines) => Asked::Probes(Probes::on(lines.iter().copied())),
        Wanted::Spots(spots) => Asked::Spots(spots.to_vec()),
    };
    let key = (*SourceHash::of(marshalled).as_bytes(), probes);
    let found = lock().find(&key);
    if let Some(variant) = found {
        return Ok(variant);
    }
    let variant = Arc::new(variant::make(version, marshalled, wanted)?);
    lock().keep(key, Arc::clone(&variant));
    Ok(variant)
}

/// Sets how many variants are kept, and for how many seconds (`None`: as long as there is room).
#[pyfunction]
#[pyo3(signature = (limit=DEFAULT_LIMIT, time_to_live=None))]
pub(crate) fn set_memo(limit: usize, time_to_live: Option<f64>) -> PyResult<()> {
    let time_to_live = time_to_live
        .map(Duration::try_from_secs_f64)
        .transpose()
        .map_err(|error| PyValueError::new_err(format!("time_to_live: {error}")))?;
    let mut memo = lock();
    memo.limit = limit;
    memo.time_to_live = time_to_live;
    memo.expire();
    memo.shrink_to(limit);
    Ok(())
}

/// Forgets all variants that are kept, and counts from nothing again.
#[pyfunction]
fn clear_memo() {
    let mut memo = lock();
    memo.kept.clear();
    (memo.hits, memo.misses, memo.evicted, memo.expired) = (0, 0, 0, 0);
}

/// For how many seconds a variant is kept.
#[pyfunction]
fn memo_time_to_live() -> Option<f64> {
    lock().time_to_live.map(|duration| duration.as_secs_f64())
}

/// How many variants are kept, and what became of them since they were last cleared.
#[pyfunction]
fn memo_counts(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let mut memo = lock();
    memo.expire();
    let bytes: usize = memo.kept.values().map(|kept| kept.variant.code.len()).sum();
    let counts = [
        ("hits", memo.hits),
        ("misses", memo.misses),
        ("evicted", memo.evicted),
        ("expired", memo.expired),
    ];
    let (entries, limit) = (memo.kept.len(), memo.limit);
    drop(memo);
    let dict = PyDict::new(py);
    dict.set_item("entries", entries)?;
    dict.set_item("bytes", bytes)?;
    dict.set_item("limit", limit)?;
    for (name, count) in counts {
        dict.set_item(name, count)?;
    }
    Ok(dict)
}

/// Adds the functions of this file to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_memo, module)?)?;
    module.add_function(wrap_pyfunction!(clear_memo, module)?)?;
    module.add_function(wrap_pyfunction!(memo_counts, module)?)?;
    module.add_function(wrap_pyfunction!(memo_time_to_live, module)?)?;
    Ok(())
}
