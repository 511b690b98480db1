//! The frames above a hit and their local variables, read without a trace.
//!
//! Variables are read where the frame keeps them: `f_locals` up to 3.12 would write into the
//! dictionary that the program may hold from `locals()`, and would keep every value alive.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::present::Presenter;
use crate::ffi::name::name;
use crate::ffi::tracing::{code_of, line_of};
use crate::ffi::{locals, prove};

/// `CO_OPTIMIZED`: local variables are in slots.
const OPTIMIZED: u32 = 1;

/// One frame of a snapshot.
#[derive(serde::Serialize)]
pub(crate) struct Frame {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) locals: Option<Locals>,
}

/// Names and their values, in the order of the code.
pub(crate) struct Locals(pub(super) Vec<(String, String)>);

impl serde::Serialize for Locals {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// At most `depth` frames, innermost first, the first `with_locals` of them with their variables.
pub(super) fn walk(
    innermost: &Bound<'_, PyAny>,
    depth: u32,
    with_locals: u32,
    most: usize,
    presenter: &mut Presenter<'_>,
) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut next = Some(innermost.clone());
    while let Some(frame) = next.filter(|frame| !frame.is_none()) {
        if frames.len() >= depth as usize || presenter.is_over() {
            break;
        }
        let code = code_of(&frame);
        let text = |name| -> String {
            let value = code.getattr(name);
            value.and_then(|value| value.extract()).unwrap_or_default()
        };
        let locals = (frames.len() < with_locals as usize).then(|| {
            let found = variables(&frame, &code).unwrap_or_default();
            let shown = found.into_iter().take(most);
            Locals(
                shown
                    .map_while(|(name, value)| {
                        (!presenter.is_over()).then(|| {
                            let value = presenter.named(&name, &value);
                            (name, value)
                        })
                    })
                    .collect(),
            )
        });
        frames.push(Frame {
            file: text(name!("co_filename")),
            line: line_of(&frame),
            function: text(name!("co_qualname")),
            locals,
        });
        next = frame.getattr(name!("f_back")).ok();
    }
    frames
}

type Variables<'py> = Vec<(String, Bound<'py, PyAny>)>;

fn variables<'py>(frame: &Bound<'py, PyAny>, code: &Bound<'py, PyAny>) -> PyResult<Variables<'py>> {
    let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
    if flags & OPTIMIZED == 0 {
        return namespace(frame);
    }
    let Some(layout) = prove::proved() else {
        // Nothing else is known of such an interpreter.
        return namespace(frame);
    };
    let names = |attribute| code.getattr(attribute)?.extract::<Vec<String>>();
    let (mut all, cells, free) = (
        names(name!("co_varnames"))?,
        names(name!("co_cellvars"))?,
        names(name!("co_freevars"))?,
    );
    let arguments = all.clone();
    all.extend(
        cells
            .iter()
            .filter(|name| !arguments.contains(name))
            .cloned(),
    );
    all.extend(free.iter().cloned());
    let mut found = Vec::new();
    for (slot, name) in all.into_iter().enumerate() {
        let Some(value) = locals::slot(frame, layout, slot) else {
            continue;
        };
        let shared = cells.contains(&name) || free.contains(&name);
        // A cell that was not made yet is not in its slot; one that is empty has no contents.
        let value = if shared && value.get_type().name()? == "cell" {
            value.getattr(name!("cell_contents")).ok()
        } else {
            Some(value)
        };
        found.extend(value.map(|value| (name, value)));
    }
    Ok(found)
}

/// The variables of a module or a class body, without those that every one of them has.
fn namespace<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Variables<'py>> {
    let namespace = frame.getattr(name!("f_locals"))?;
    let items = match namespace.cast::<PyDict>() {
        Ok(dict) => dict.iter().collect(),
        Err(_) => namespace
            .call_method0(name!("items"))?
            .extract::<Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>>()?,
    };
    let named = items.into_iter().filter_map(|(name, value)| {
        let name = name.cast::<PyString>().ok()?.to_string_lossy().into_owned();
        (!name.starts_with("__")).then_some((name, value))
    });
    Ok(named.collect())
}
