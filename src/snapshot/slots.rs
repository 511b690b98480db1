//! What an object holds in the slots that its classes declare, read without their code.
//!
//! Owns the three descriptors that this takes: those by which `type` itself gives the order of
//! classes and the dictionary of a class, whatever a metaclass makes of the names, and the type of
//! a slot's own descriptor, which nothing can be derived from. Classes without `__slots__` in
//! their dictionary are passed over: members of classes written in C are no attributes to show.

use crate::ffi::name::name;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};

struct Descriptors {
    order: Py<PyAny>,
    dictionary: Py<PyAny>,
    slot: Py<PyType>,
}

fn descriptors(py: Python<'_>) -> PyResult<&'static Descriptors> {
    static DESCRIPTORS: PyOnceLock<Descriptors> = PyOnceLock::new();
    DESCRIPTORS.get_or_try_init(py, || {
        let of_type = py.get_type::<PyType>().getattr(name!("__dict__"))?;
        // A function's globals are a member, and no version lacks functions.
        let function = py.import("types")?.getattr(name!("FunctionType"))?;
        let member = function
            .getattr(name!("__dict__"))?
            .get_item("__globals__")?;
        Ok(Descriptors {
            order: of_type.get_item("__mro__")?.unbind(),
            dictionary: of_type.get_item("__dict__")?.unbind(),
            slot: member.get_type().unbind(),
        })
    })
}

/// A class and those that it is derived from, in the order in which attributes are looked up.
pub(crate) fn classes<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyTuple>> {
    let py = class.py();
    let get = name!("__get__");
    let order = descriptors(py)?
        .order
        .bind(py)
        .call_method1(get, (class,))?;
    Ok(order.cast_into()?)
}

/// What a class declares itself.
pub(crate) fn dictionary<'py>(class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let get = name!("__get__");
    descriptors(py)?
        .dictionary
        .bind(py)
        .call_method1(get, (class,))
}

/// The slots of an object that hold something, at most so many; those of its own class first.
pub(crate) fn own<'py>(
    object: &Bound<'py, PyAny>,
    most: usize,
) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
    let py = object.py();
    let get = name!("__get__");
    let declared = name!("__slots__");
    let descriptors = descriptors(py)?;
    let mut found = Vec::new();
    for class in classes(&object.get_type())? {
        let dictionary = dictionary(&class)?;
        if !dictionary.contains(declared)? {
            continue;
        }
        for row in dictionary.call_method0(name!("items"))?.try_iter()? {
            let (name, member): (Bound<'_, PyAny>, Bound<'_, PyAny>) = row?.extract()?;
            if found.len() >= most {
                return Ok(found);
            }
            if !member.get_type().is(descriptors.slot.bind(py)) {
                continue;
            }
            // One that is empty raises, and so does one of a class that the object is not of.
            let Ok(value) = member.call_method1(get, (object, object.get_type())) else {
                continue;
            };
            let name = name.cast::<PyString>()?.to_string_lossy().into_owned();
            if found.iter().all(|(known, _)| *known != name) {
                found.push((name, value));
            }
        }
    }
    Ok(found)
}
