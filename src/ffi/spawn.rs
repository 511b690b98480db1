//! What a process does between `fork` and the program that it becomes.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Has the process begin as one that a shell starts, whatever thread starts it, and has the system
/// end it when that thread is gone, where it can.
pub(crate) fn prepare(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure makes system calls; it takes no lock and allocates nothing, which is
    // what may be done between fork and exec.
    unsafe {
        command.pre_exec(move || {
            hear_signals()?;
            end_with(parent)
        })
    };
}

/// Our threads block every signal, and a process inherits that from the thread that starts it.
fn hear_signals() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes a whole set to the memory given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` was written above, and no previous set is asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) } {
        0 => Ok(()),
        problem => Err(io::Error::from_raw_os_error(problem)),
    }
}

#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have gone in between.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now == Some(parent) {
        Ok(())
    } else {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with(_parent: u32) -> io::Result<()> {
    Ok(())
}
