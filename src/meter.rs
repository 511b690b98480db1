//! Where the engine's own time goes, measured only while somebody asked for it.
//!
//! A [`Span`] measures from its making to its drop. While metering is off it reads no clock.
//! The time that a callback of the user takes is kept apart from the time that the engine takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// A hit, from the probe to the return into the program, callbacks included.
    Hit,
    /// A callback of the user.
    Callback,
    /// Putting breakpoints into loaded code, or taking them out.
    Arming,
}

impl Activity {
    const ALL: [Self; 3] = [Self::Hit, Self::Callback, Self::Arming];

    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Callback => "callback",
            Self::Arming => "arming",
        }
    }
}

struct Meter {
    times: AtomicU64,
    nanoseconds: AtomicU64,
}

static METERING: AtomicBool = AtomicBool::new(false);
/// Since when it is measured.
static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);
static METERS: [Meter; Activity::ALL.len()] = [const {
    Meter {
        times: AtomicU64::new(0),
        nanoseconds: AtomicU64::new(0),
    }
}; Activity::ALL.len()];

/// Measures while it lives.
pub(crate) struct Span(Option<(Activity, Instant)>);

impl Span {
    /// Begins to measure, if metering is on.
    pub(crate) fn of(activity: Activity) -> Self {
        let metered = METERING.load(Ordering::Relaxed);
        Self(metered.then(|| (activity, Instant::now())))
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some((activity, since)) = self.0 else {
            return;
        };
        let meter = &METERS[activity as usize];
        // INVARIANT: no span lasts 580 years.
        let nanoseconds = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        meter.times.fetch_add(1, Ordering::Relaxed);
        meter.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// Turns metering on, from nothing, or off.
#[pyfunction]
pub(crate) fn set_metering(on: bool) {
    if on {
        for meter in &METERS {
            meter.times.store(0, Ordering::Relaxed);
            meter.nanoseconds.store(0, Ordering::Relaxed);
        }
    }
    *BEGAN.lock().unwrap_or_else(PoisonError::into_inner) = on.then(Instant::now);
    METERING.store(on, Ordering::Relaxed);
}

/// The share of the time that hits have taken since metering was turned on, callbacks aside; 0 while
/// it is off.
#[pyfunction]
pub(crate) fn overhead() -> f64 {
    let began = *BEGAN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(began) = began else { return 0.0 };
    let spent = |activity: Activity| {
        METERS[activity as usize]
            .nanoseconds
            .load(Ordering::Relaxed)
    };
    // A callback that is over belongs to a hit that may not be.
    let own = spent(Activity::Hit).saturating_sub(spent(Activity::Callback));
    let elapsed = began.elapsed().max(Duration::from_nanos(1));
    Duration::from_nanos(own).div_duration_f64(elapsed)
}

/// What was measured: for each activity how often it was, and how many nanoseconds it took.
#[pyfunction]
fn metered(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for activity in Activity::ALL {
        let meter = &METERS[activity as usize];
        let times = meter.times.load(Ordering::Relaxed);
        let nanoseconds = meter.nanoseconds.load(Ordering::Relaxed);
        dict.set_item(activity.name(), (times, nanoseconds))?;
    }
    Ok(dict)
}

/// Adds the functions of this file to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_metering, module)?)?;
    module.add_function(wrap_pyfunction!(metered, module)?)?;
    module.add_function(wrap_pyfunction!(overhead, module)?)?;
    Ok(())
}
