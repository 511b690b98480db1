//! Code that runs as if nobody had called it.
//!
//! A frame finds its caller where the thread keeps its innermost frame. For the time of a call that
//! place holds what it holds in a thread that has just begun, and then what it held before: the
//! frames in between stay alive in the native callers, which wait. Relies on `current_frame` of the
//! thread state (of its `cframe` up to 3.12), which is read and compared with the frame that is
//! running before anything is written.

use pyo3::ffi::{self, PyThreadState};
use pyo3::prelude::*;

use super::layout::FRAME_OF_OBJECT;
use super::swap::{word, write_word};
use super::tracing::current_frame;

/// `PyThreadState.cframe`, up to 3.12.
const CFRAME: usize = 56;
/// `PyThreadState.current_frame`, from 3.13 on.
const CURRENT_FRAME: usize = 72;
/// `PyThreadState.base_frame`, from 3.15 on: what a thread that has just begun has for a frame.
const BASE_FRAME: usize = 80;

/// Where a thread keeps its innermost frame, and what is to be put back there.
struct Callers {
    place: *mut usize,
    frame: usize,
}

impl Callers {
    /// Puts the callers aside; nothing when they are not where they should be.
    fn put_aside(py: Python<'_>) -> Option<Self> {
        let running = current_frame(py)?;
        // SAFETY: the thread is attached, so it has a state.
        let state: *mut PyThreadState = unsafe { ffi::PyThreadState_Get() };
        let version = py.version_info();
        let place = if version >= (3, 13) {
            state.wrapping_byte_add(CURRENT_FRAME).cast::<usize>()
        } else {
            let cframe = state.wrapping_byte_add(CFRAME).cast::<*mut usize>();
            // SAFETY: the state is larger than this, and the field is set as long as it lives.
            let cframe = unsafe { cframe.read() };
            // In 3.11 a flag comes first.
            cframe.wrapping_add(usize::from(version < (3, 12)))
        };
        // SAFETY: a field of the thread's state, or of a structure that it points to.
        let frame = unsafe { word(place, 0) };
        // SAFETY: `running` is a live frame object.
        let expected = unsafe { word(running.as_ptr(), FRAME_OF_OBJECT) };
        if frame != expected {
            return None;
        }
        let nobody = if version >= (3, 15) {
            // SAFETY: the state is larger than this.
            unsafe { word(state, BASE_FRAME) }
        } else {
            0
        };
        // SAFETY: the field was just found to hold the innermost frame, and only this thread
        // changes it.
        unsafe { write_word(place, 0, nobody) };
        Some(Self { place, frame })
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        // SAFETY: every frame above has left, so that the field belongs to this frame again, which
        // is still running.
        unsafe { write_word(self.place, 0, self.frame) };
    }
}

/// Calls `act`, whose frames have no caller; where that cannot be had they have those that there
/// are.
pub(crate) fn without_callers<R>(py: Python<'_>, act: impl FnOnce() -> R) -> R {
    let _callers = Callers::put_aside(py);
    act()
}
