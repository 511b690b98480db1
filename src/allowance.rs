//! What breakpoints may cost: a share of one processor for each, and one for all together.
//!
//! Owns the clock of passes and the buckets that their time is taken from. A bucket fills as time
//! goes by and holds the allowance of [`BURST`]. A breakpoint that empties its own is disarmed;
//! when all together empty theirs, the costliest is. There is no allowance until one is set.
//! Time is that of the processor where there is an allowance (a thread that waits for others
//! costs nothing), and that of the clock elsewhere. Callbacks at a stop are not counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::breakpoint::Breakpoint;
use crate::hit;
use crate::registry;
use crate::telemetry::{self, ReasonCode};

/// For how long an allowance is saved up.
const BURST: Duration = Duration::from_secs(5);

/// What breakpoints of a service in production may take, each and together.
const PRODUCTION: (f64, f64) = (0.01, 0.05);

/// What breakpoints may cost when nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// Whatever they cost.
    #[default]
    Development,
    /// 1 % of a processor for each and 5 % for all together.
    Production,
}

impl Profile {
    /// The profile of that name, or what the names are.
    pub(crate) fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err(format!(
                "profile {name:?} is not one of \"development\" and \"production\""
            )),
        }
    }
}

/// The shares, as the bits of numbers; 0 is no limit.
static OWN: AtomicU64 = AtomicU64::new(0);
static TOGETHER: AtomicU64 = AtomicU64::new(0);
static MEASURING: AtomicBool = AtomicBool::new(false);
static ALL: Mutex<Bucket> = Mutex::new(Bucket::new());

/// What has been spent beyond what time has given back.
#[derive(Debug, Default)]
pub struct Bucket {
    spent: Duration,
    /// When it was last looked at.
    seen: Option<Instant>,
}

impl Bucket {
    const fn new() -> Self {
        Self {
            spent: Duration::ZERO,
            seen: None,
        }
    }

    /// Takes `cost` out at `now`; false when there was not enough.
    fn take(&mut self, cost: Duration, share: f64, now: Instant) -> bool {
        let since = self.seen.map_or(Duration::ZERO, |seen| now - seen);
        self.seen = Some(now);
        self.spent = self.spent.saturating_sub(since.mul_f64(share)) + cost;
        self.spent <= BURST.mul_f64(share)
    }
}

fn share(of: &AtomicU64) -> Option<f64> {
    let share = f64::from_bits(of.load(Ordering::Relaxed));
    (share > 0.0).then_some(share)
}

/// One pass of a breakpoint, whose time may be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// For how many passes this one stands.
    weight: Option<u32>,
}

impl Pass {
    /// A pass that nobody measures.
    pub(crate) fn unmeasured() -> Self {
        Self { weight: None }
    }

    /// Something of which each one is measured.
    pub(crate) fn each() -> Self {
        Self { weight: Some(1) }
    }

    /// Begins a pass; only those that evaluate something are measured.
    pub(crate) fn begin(breakpoint: &Breakpoint) -> Self {
        let measurable = breakpoint.request.evaluates();
        Self {
            weight: measurable
                .then(|| breakpoint.figures.begin_pass())
                .flatten(),
        }
    }

    /// Does a part of it.
    pub(crate) fn measure<T>(self, breakpoint: &Breakpoint, part: impl FnOnce() -> T) -> T {
        let Some(weight) = self.weight else {
            return part();
        };
        let began = clock_now();
        let done = part();
        settle(breakpoint, began, weight);
        done
    }
}

/// Whether there is an allowance.
fn is_limited() -> bool {
    share(&OWN).is_some() || share(&TOGETHER).is_some()
}

/// Whether evaluations in the line are counted and timed: for an allowance, or because somebody
/// wants to know.
pub(crate) fn measures() -> bool {
    is_limited() || MEASURING.load(Ordering::Relaxed)
}

/// Has evaluations in lines that are compiled from now on counted and timed.
#[pyfunction]
pub(crate) fn set_measuring(on: bool) {
    MEASURING.store(on, Ordering::Relaxed);
}

/// The time that allowances are counted in.
pub(crate) fn clock_now() -> Duration {
    clock(is_limited())
}

/// Takes the time since `began` for so many passes.
pub(crate) fn settle(breakpoint: &Breakpoint, began: Duration, weight: u32) {
    let cost = clock_now().saturating_sub(began) * weight;
    breakpoint.figures.spend(cost);
    if is_limited() {
        charge(breakpoint, cost);
    }
}

/// The time of this thread on a processor, or that of the clock.
fn clock(of_processor: bool) -> Duration {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    #[cfg(unix)]
    if of_processor {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        return time.try_into().unwrap_or_default();
    }
    let _ = of_processor;
    BEGINNING.elapsed()
}

fn charge(breakpoint: &Breakpoint, cost: Duration) {
    if breakpoint.is_owned() {
        return;
    }
    let now = Instant::now();
    if let Some(share) = share(&OWN) {
        let mut own = breakpoint
            .spent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let enough = own.take(cost, share, now);
        drop(own);
        if !enough {
            exhaust(breakpoint, share, "it");
            return;
        }
    }
    if let Some(share) = share(&TOGETHER) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if all.take(cost, share, now) {
            return;
        }
        // The others go on with what is left when the costliest is gone.
        *all = Bucket::new();
        drop(all);
        let armed = registry::all().into_iter().filter(|other| other.is_armed());
        if let Some(costliest) = armed.max_by_key(|other| other.figures.nanoseconds()) {
            exhaust(&costliest, share, "all breakpoints, and it most of them,");
        }
    }
}

fn exhaust(breakpoint: &Breakpoint, share: f64, who: &str) {
    let percent = share * 100.0;
    let reason = format!("disarmed: {who} took more than {percent} % of a processor (cpu_budget)");
    let told = format!("breakpoint {} was {reason}", breakpoint.request);
    if breakpoint.exhaust(reason) {
        telemetry::record(ReasonCode::CpuBudgetExceeded, &*told);
        hit::tell(&told);
    }
}

/// Sets the shares that a profile stands for.
pub(crate) fn use_profile(profile: Profile) {
    match profile {
        Profile::Development => set(None, None),
        Profile::Production => set(Some(PRODUCTION.0), Some(PRODUCTION.1)),
    }
}

fn set(own: Option<f64>, together: Option<f64>) {
    OWN.store(own.unwrap_or(0.0).to_bits(), Ordering::Relaxed);
    TOGETHER.store(together.unwrap_or(0.0).to_bits(), Ordering::Relaxed);
    *ALL.lock().unwrap_or_else(PoisonError::into_inner) = Bucket::new();
}

/// Sets the shares that the profile of this name stands for.
#[pyfunction]
fn set_profile(name: &str) -> PyResult<()> {
    use_profile(Profile::from_name(name).map_err(PyValueError::new_err)?);
    Ok(())
}

/// Sets which share of one processor a breakpoint may take, and all together; without a number
/// it stays as the profile has it.
#[pyfunction]
#[pyo3(signature = (own, together))]
fn set_cpu_budget(own: Option<f64>, together: Option<f64>) -> PyResult<()> {
    for share in [own, together].into_iter().flatten() {
        if !(share > 0.0 && share.is_finite()) {
            return Err(PyValueError::new_err(format!(
                "the processor budget is {share}: it has to be a share above 0, such as 0.01"
            )));
        }
    }
    set(
        own.or_else(|| share(&OWN)),
        together.or_else(|| share(&TOGETHER)),
    );
    Ok(())
}

/// Adds the functions of this file to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(set_profile, module)?)?;
    module.add_function(wrap_pyfunction!(set_cpu_budget, module)?)?;
    module.add_function(wrap_pyfunction!(set_measuring, module)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_time_gives_back() {
        let begin = Instant::now();
        let mut bucket = Bucket::new();
        let share = 0.01;
        assert!(bucket.take(Duration::from_millis(50), share, begin));
        assert!(!bucket.take(Duration::from_millis(1), share, begin));
        let later = begin + Duration::from_secs(1);
        assert!(bucket.take(Duration::from_millis(9), share, later));
        assert!(!bucket.take(Duration::from_millis(1), share, later));
    }
}
