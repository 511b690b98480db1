//! The variables of a frame: read where they are, and set there.
//!
//! A function keeps its variables in slots, and those that other functions share in cells; they are
//! read and written there, so that no dictionary of theirs comes to be which would keep values
//! alive or change what `locals()` of the program gives. A module or a class body has a namespace.
//! Names that the user makes in the console of a stop belong to the stop ([`Scene::extras`]).

use pyo3::exceptions::PyNameError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::dap::scene::Scene;
use crate::evaluator::{self, Slot};
use crate::ffi::layout::Layout;
use crate::ffi::name::name;
use crate::ffi::{locals, prove, tracing};
use crate::loaded;

/// `CO_OPTIMIZED`: local variables are in slots.
const OPTIMIZED: u32 = 1;

/// A name and its value.
pub(super) type Named<'py> = (String, Bound<'py, PyAny>);

/// How a frame keeps its variables.
pub(super) enum Room<'py> {
    /// In slots.
    Slots(Vec<(String, Slot)>),
    /// In a mapping.
    Namespace(Bound<'py, PyAny>),
}

/// How `frame` keeps its variables.
pub(super) fn room<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Room<'py>> {
    let code = tracing::code_of(frame);
    let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
    if flags & OPTIMIZED == 0 || layout(frame.py()).is_none() {
        return Ok(Room::Namespace(namespace(frame)?));
    }
    Ok(Room::Slots(evaluator::slots(&code)?))
}

/// The layout of frames, once it is proved.
fn layout(py: Python<'_>) -> Option<&'static Layout> {
    prove::proved().or_else(|| {
        loaded::eval_frame_refusal(py);
        prove::proved()
    })
}

fn namespace<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    frame.getattr(name!("f_locals"))
}

/// The names of the module in which a frame runs.
pub(super) fn globals<'py>(frame: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    frame.getattr(name!("f_globals"))
}

/// What is in the slot: the value itself, or the cell that holds it.
pub(super) fn in_slot<'py>(frame: &Bound<'py, PyAny>, slot: Slot) -> Option<Bound<'py, PyAny>> {
    locals::slot(frame, prove::proved()?, slot.index)
}

/// Whether something is a cell: an inner function may have made none yet.
pub(super) fn is_cell(value: &Bound<'_, PyAny>) -> bool {
    value.get_type().name().is_ok_and(|name| name == "cell")
}

/// The value of a variable in a slot, if it is bound.
pub(super) fn value_of<'py>(frame: &Bound<'py, PyAny>, slot: Slot) -> Option<Bound<'py, PyAny>> {
    let value = in_slot(frame, slot)?;
    if slot.shared && is_cell(&value) {
        return value.getattr(name!("cell_contents")).ok();
    }
    Some(value)
}

/// The local variables of a frame that are bound; `free` says which of the two kinds.
pub(super) fn locals_of<'py>(frame: &Bound<'py, PyAny>, free: bool) -> PyResult<Vec<Named<'py>>> {
    let slots = match room(frame)? {
        Room::Namespace(_) if free => return Ok(Vec::new()),
        Room::Namespace(namespace) => return entries(&namespace),
        Room::Slots(slots) => slots,
    };
    let code = tracing::code_of(frame);
    let own: Vec<String> = code.getattr(name!("co_freevars"))?.extract()?;
    let mut found = Vec::new();
    for (name, slot) in slots {
        // What a comprehension iterates over has a name that nobody can write.
        if name.starts_with('.') || own.contains(&name) != free {
            continue;
        }
        if let Some(value) = value_of(frame, slot) {
            found.push((name, value));
        }
    }
    Ok(found)
}

/// What a namespace holds under names.
pub(super) fn entries<'py>(namespace: &Bound<'py, PyAny>) -> PyResult<Vec<Named<'py>>> {
    let items: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)> =
        if let Ok(dict) = namespace.cast::<PyDict>() {
            dict.iter().collect()
        } else {
            let mut all = Vec::new();
            for item in namespace.call_method0(name!("items"))?.try_iter()? {
                all.push(item?.extract()?);
            }
            all
        };
    let named = items.into_iter().filter_map(|(name, value)| {
        let name = name.cast::<PyString>().ok()?;
        Some((name.to_string_lossy().into_owned(), value))
    });
    Ok(named.collect())
}

/// Binds a local variable of a frame, or unbinds it.
pub(super) fn store<'py>(
    frame: &Bound<'py, PyAny>,
    name: &str,
    value: Option<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let py = frame.py();
    let slots = match room(frame)? {
        Room::Namespace(namespace) => {
            return match value {
                Some(value) => namespace.set_item(name, value),
                None => namespace.del_item(name),
            };
        }
        Room::Slots(slots) => slots,
    };
    let found = slots.into_iter().find(|(known, _)| known == name);
    let Some((_, slot)) = found else {
        let said = format!("name {name:?} is no local variable of this function");
        return Err(PyNameError::new_err(said));
    };
    if slot.shared
        && let Some(cell) = in_slot(frame, slot).filter(is_cell)
    {
        let contents = name!("cell_contents");
        return match value {
            Some(value) => cell.setattr(contents, value),
            None => cell.delattr(contents),
        };
    }
    if let Some(layout) = layout(py)
        && locals::set_slot(frame, layout, slot.index, value.clone())
    {
        return Ok(());
    }
    match value {
        Some(value) => namespace(frame)?.set_item(name, value),
        None => namespace(frame)?.del_item(name),
    }
}

/// Whether a name is a local variable of a frame, bound or not.
pub(super) fn is_local(frame: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    match room(frame)? {
        Room::Slots(slots) => Ok(slots.iter().any(|(known, _)| known == name)),
        Room::Namespace(namespace) => namespace.contains(name),
    }
}

/// What a name means in a frame of a stop: a local variable, one of the console's, a global one.
pub(super) fn look_up<'py>(
    scene: &Scene<'py>,
    index: usize,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let frame = scene.frame(index).frame.clone();
    match room(&frame)? {
        Room::Slots(slots) => {
            let slot = slots.iter().find(|(known, _)| known == name);
            if let Some(value) = slot.and_then(|(_, slot)| value_of(&frame, *slot)) {
                return Ok(Some(value));
            }
        }
        Room::Namespace(namespace) => {
            if let Ok(value) = namespace.get_item(name) {
                return Ok(Some(value));
            }
        }
    }
    if let Some(extras) = scene.extras(index)
        && let Some(value) = extras.get_item(name)?
    {
        return Ok(Some(value));
    }
    if let Ok(value) = globals(&frame)?.get_item(name) {
        return Ok(Some(value));
    }
    let builtins = frame.getattr(name!("f_builtins"))?;
    Ok(builtins.get_item(name).ok())
}
