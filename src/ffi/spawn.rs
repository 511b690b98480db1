//! What a process does between `fork` and the program that it becomes.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the system end the process when the thread that starts it is gone, where it can.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let before = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // It may have gone in between.
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if now == Some(parent) {
            Ok(())
        } else {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: the closure makes two system calls; it takes no lock and allocates nothing, which
    // is what may be done between fork and exec.
    unsafe { command.pre_exec(before) };
}

/// Has the system end the process when the thread that starts it is gone, where it can.
#[cfg(not(target_os = "linux"))]
pub(crate) fn end_with_parent(_command: &mut Command) {}
