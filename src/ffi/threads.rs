//! Native threads that the program cannot notice.
//!
//! A signal that the system hands to a thread of ours would not interrupt the call in which the
//! program's main thread waits, so a thread of ours takes none. Nor does it end the program when
//! it writes to a pipe that nobody reads: a blocked `SIGPIPE` leaves an error to look at.

use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};
use std::{io, ptr};

/// Our threads recurse nowhere.
const STACK_SIZE: usize = 256 * 1024;

/// Starts a thread that takes no signal.
pub(crate) fn spawn_deaf(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
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

/// Whether the process began with this thread, or was forked by it.
#[cfg(target_os = "linux")]
pub(crate) fn is_main() -> bool {
    // SAFETY: may be called at any time.
    let thread = unsafe { libc::gettid() };
    u32::try_from(thread).is_ok_and(|thread| thread == std::process::id())
}

/// Whether the process began with this thread, where the system tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_main() -> bool {
    false
}
