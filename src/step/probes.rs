//! Whether the line where a step stopped begins with a probe.
//!
//! The line event comes first, at the first instruction of what was compiled into the line; the
//! same pass of the line must not stop a second time. The code that the frame runs says which
//! probes its line has; one whose condition is in the line asks only if that holds, so it is
//! evaluated here for once.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::ffi::name::name;
use crate::probe::Probe;

/// How many probes the line that begins at byte offset `at`, or where `frame` is, will ask.
pub(super) fn follow(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    at: Option<usize>,
) -> PyResult<u32> {
    let constants = code.getattr(name!("co_consts"))?.cast_into::<PyTuple>()?;
    let probes = constants
        .iter()
        .filter_map(|constant| constant.cast_into::<Probe>().ok());
    let mut probes = probes.filter(|probe| probe.get().asks()).peekable();
    if probes.peek().is_none() {
        return Ok(0);
    }
    let at = match at {
        Some(at) => at,
        None => frame.getattr(name!("f_lasti"))?.extract()?,
    };
    let line = line_at(code, at)?.map(|(_, line)| line);
    let mut asking = 0;
    for probe in probes {
        if Some(probe.get().line) == line && probe.get().will_ask(frame)? {
            asking += 1;
        }
    }
    Ok(asking)
}

/// As [`follow`], of a frame that is at some instruction: none behind the first of a line, where
/// its probes have been passed.
pub(super) fn follow_start(frame: &Bound<'_, PyAny>, code: &Bound<'_, PyAny>) -> PyResult<u32> {
    let at: usize = frame.getattr(name!("f_lasti"))?.extract()?;
    match line_at(code, at)? {
        Some((start, _)) if start == at => follow(frame, code, Some(at)),
        _ => Ok(0),
    }
}

/// The line of the instruction at a byte offset, and where its run of instructions begins.
fn line_at(code: &Bound<'_, PyAny>, at: usize) -> PyResult<Option<(usize, u32)>> {
    let mut begun: Option<(usize, u32)> = None;
    for run in code.call_method0(name!("co_lines"))?.try_iter()? {
        let (start, end, line): (usize, usize, Option<u32>) = run?.extract()?;
        begun = match (begun, line) {
            (Some((first, before)), Some(line)) if before == line => Some((first, line)),
            (_, line) => line.map(|line| (start, line)),
        };
        if (start..end).contains(&at) {
            return Ok(begun);
        }
    }
    Ok(None)
}
