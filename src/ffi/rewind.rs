//! Sends a frame that stands in a probe back to where its line begins.
//!
//! The interpreter lets a frame be sent to another line only while it tells of a line, and the
//! evaluation loop keeps to itself where it goes on after a probe. So the code unit behind the
//! probe becomes a jump to the beginning of the line for one pass. Where the interpreter tells of a
//! line only when it comes from another one, that goes by way of a unit of another line, which
//! becomes a jump as well. Then the units are put back. Relies on a probe leaving the stack as it was, on
//! `co_code_adaptive` being what the loop executes (no JIT), and on the GIL, under which no other
//! thread changes the code meanwhile.

use crate::ffi::name::name;
use pyo3::prelude::*;

use super::layout::Layout;

/// The opcodes of the jumps that have no inline cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jumps {
    /// `JUMP_FORWARD`.
    pub(crate) forward: u8,
    /// `JUMP_BACKWARD_NO_INTERRUPT`.
    pub(crate) backward: u8,
}

impl Jumps {
    /// The unit that leads from one byte offset to another, if a jump without a prefix reaches.
    fn unit(self, from: usize, to: usize) -> Option<[u8; 2]> {
        let next = from + 2;
        let (opcode, distance) = if to < next {
            (self.backward, next - to)
        } else {
            (self.forward, to - next)
        };
        let distance = u8::try_from(distance / 2).ok()?;
        Some([opcode, distance])
    }
}

/// Code units that were replaced by jumps.
#[derive(Debug)]
pub(crate) struct Rewound {
    code: Py<PyAny>,
    /// Byte offsets, and what stood there.
    units: Vec<(usize, [u8; 2])>,
}

fn unit_of(code: &Bound<'_, PyAny>, layout: &Layout, at: usize) -> Option<*mut [u8; 2]> {
    let length = code.getattr(name!("co_code")).ok()?.len().ok()?;
    (at.is_multiple_of(2) && at < length).then(|| {
        let first = code.as_ptr().wrapping_byte_add(layout.code.adaptive);
        first.wrapping_byte_add(at).cast()
    })
}

/// Has control go from one byte offset of `way` to the next, and so on to the last; `None` where
/// that cannot be.
pub(crate) fn replace(
    code: &Bound<'_, PyAny>,
    layout: &Layout,
    jumps: Jumps,
    way: &[usize],
) -> Option<Rewound> {
    let mut units = Vec::new();
    let mut places = Vec::new();
    for leg in way.windows(2) {
        let place = unit_of(code, layout, leg[0])?;
        places.push((place, jumps.unit(leg[0], leg[1])?));
        // SAFETY: `place` lies in the code units of a live code object, whose layout was proved.
        units.push((leg[0], unsafe { place.read() }));
    }
    for (place, jump) in places {
        // SAFETY: as above; the GIL is held, and a jump without caches may stand anywhere.
        unsafe { place.write(jump) };
    }
    Some(Rewound {
        code: code.clone().unbind(),
        units,
    })
}

impl Rewound {
    /// Puts the units back.
    pub(crate) fn restore(self, py: Python<'_>, layout: &Layout) {
        for (offset, unit) in self.units {
            if let Some(place) = unit_of(self.code.bind(py), layout, offset) {
                // SAFETY: as in `replace`: the unit that stood there is put back.
                unsafe { place.write(unit) };
            }
        }
    }
}
