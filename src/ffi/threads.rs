//! Native threads that the program cannot notice.
//!
//! A signal that the system hands to a thread of ours would not interrupt the call in which the
//! program's main thread waits, so a thread of ours takes none. Nor does it end the program when
//! it writes to a pipe that nobody reads: a blocked `SIGPIPE` leaves an error to look at.
//! `os.fork` warns where the process has several threads: one that has to be gone by then can be
//! waited for until the system has forgotten it.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, ptr};

/// Our threads recurse nowhere deep; what is called from them may be Python.
const STACK_SIZE: usize = 1 << 20;
const MOMENT: Duration = Duration::from_micros(100);

/// A thread that takes no signal.
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// The number by which the system knows it; 0 until it runs.
    number: Arc<AtomicU64>,
}

impl Thread {
    /// Starts one.
    pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let number = Arc::new(AtomicU64::new(0));
        let own = Arc::clone(&number);
        let handle = spawn_deaf(name, move || {
            own.store(system_number(), Ordering::Release);
            run();
        })?;
        Ok(Self { handle, number })
    }

    /// Waits until it has ended and the system has forgotten it; gives it back when that takes
    /// too long.
    pub(crate) fn join(self, patience: Duration) -> Result<(), Self> {
        let until = Instant::now() + patience;
        while !self.handle.is_finished() {
            if Instant::now() >= until {
                return Err(self);
            }
            std::thread::sleep(MOMENT);
        }
        // A panic was told where it happened.
        let _ = self.handle.join();
        // Its own last word comes a little before the system forgets it.
        let known = format!("/proc/self/task/{}", self.number.load(Ordering::Acquire));
        while std::path::Path::new(&known).exists() && Instant::now() < until {
            std::thread::sleep(MOMENT);
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn system_number() -> u64 {
    // SAFETY: may be called at any time.
    let number = unsafe { libc::gettid() };
    u64::from(number.unsigned_abs())
}

#[cfg(not(target_os = "linux"))]
fn system_number() -> u64 {
    0
}

fn spawn_deaf(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes a whole set to the memory given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `all` was written above, and `before` is memory for a set.
    let problem =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    if problem != 0 {
        return Err(io::Error::from_raw_os_error(problem));
    }
    // A thread starts with the mask of the one that makes it.
    let thread = Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_SIZE)
        .spawn(run);
    // SAFETY: pthread_sigmask succeeded and wrote the mask that was in place to `before`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    thread
}

/// The number of the running thread: what `threading.get_ident` says before anything patches it.
pub(crate) fn number() -> u64 {
    // SAFETY: may be called at any time.
    let number = unsafe { libc::pthread_self() };
    number as u64
}

/// Whether the process began with this thread, or was forked by it, where the system tells.
pub(crate) fn is_main() -> bool {
    system_number() == u64::from(std::process::id())
}
