//! Sends a frame that stands in a probe back to where its line begins.
//!
//! The interpreter lets a frame be sent to another line only while it tells of a line, and the
//! evaluation loop keeps to itself where it goes on after a probe. So the code unit behind the
//! probe becomes a jump back for one pass: at the beginning of the line the interpreter tells of
//! the line once more, and the unit is put back. Relies on a probe leaving the stack as it was, on
//! `co_code_adaptive` being what the loop executes (no JIT), and on the GIL, under which no other
//! thread changes the code meanwhile.

use pyo3::prelude::*;

use super::layout::Layout;

/// How far a jump without a prefix reaches, in code units.
const REACH: usize = 255;

/// A code unit that was replaced by a jump back.
#[derive(Debug)]
pub(crate) struct Rewound {
    code: Py<PyAny>,
    at: usize,
    unit: [u8; 2],
}

fn unit_of(code: &Bound<'_, PyAny>, layout: &Layout, at: usize) -> Option<*mut [u8; 2]> {
    let units: usize = {
        let length = code.getattr("co_code").ok()?.len().ok()?;
        length / 2
    };
    (at.is_multiple_of(2) && at / 2 < units).then(|| {
        code.as_ptr()
            .wrapping_byte_add(layout.code.adaptive + at)
            .cast()
    })
}

/// Replaces the unit at byte offset `at` by a jump back to `start`; `jump` is the opcode of
/// `JUMP_BACKWARD_NO_INTERRUPT`. `None` where that cannot be.
pub(crate) fn replace(
    code: &Bound<'_, PyAny>,
    layout: &Layout,
    (start, at): (usize, usize),
    jump: u8,
) -> Option<Rewound> {
    let distance = (at + 2).checked_sub(start)? / 2;
    let distance = u8::try_from(distance).ok().filter(|_| distance <= REACH)?;
    let place = unit_of(code, layout, at)?;
    // SAFETY: `place` lies in the code units of a live code object, whose layout was proved.
    let unit = unsafe { place.read() };
    // SAFETY: as above; the GIL is held, and a jump without caches may stand anywhere.
    unsafe { place.write([jump, distance]) };
    Some(Rewound {
        code: code.clone().unbind(),
        at,
        unit,
    })
}

impl Rewound {
    /// Puts the unit back.
    pub(crate) fn restore(self, py: Python<'_>, layout: &Layout) {
        if let Some(place) = unit_of(self.code.bind(py), layout, self.at) {
            // SAFETY: as in `replace`: the unit that stood there is put back.
            unsafe { place.write(self.unit) };
        }
    }
}
