//! What a signal does to this process.

use std::mem::MaybeUninit;
use std::ptr;

/// Whether nothing handles or ignores a signal here.
pub(crate) fn is_unhandled(number: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed, and `action` is memory for what there is.
    if unsafe { libc::sigaction(number, ptr::null(), action.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: sigaction succeeded, so it was written.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_DFL
}

/// Writes what the C library has kept back of what was printed.
pub(crate) fn flush_streams() {
    // SAFETY: null means every stream; the library locks each.
    unsafe { libc::fflush(ptr::null_mut()) };
}
