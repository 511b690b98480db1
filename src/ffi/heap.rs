//! All objects of some types, as the garbage collector knows them.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

/// While it lives, no collection runs: nothing of the program runs between the search of the heap
/// and what is done with what was found.
pub(crate) struct CollectorPause<'py> {
    was_enabled: bool,
    _py: Python<'py>,
}

/// Holds the garbage collector off until the result is dropped.
pub(crate) fn pause_collector(py: Python<'_>) -> CollectorPause<'_> {
    // SAFETY: the thread is attached.
    let was_enabled = unsafe { ffi::PyGC_Disable() } == 1;
    CollectorPause {
        was_enabled,
        _py: py,
    }
}

impl Drop for CollectorPause<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: the thread is attached for as long as this lives.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// The objects whose type is exactly one of `types`, out of all that the collector tracks.
pub(crate) fn instances<'py>(
    py: Python<'py>,
    types: &[Bound<'py, PyType>],
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let objects = py
        .import("gc")?
        .call_method0("get_objects")?
        .cast_into::<PyList>()?;
    let types: Vec<*mut ffi::PyTypeObject> =
        types.iter().map(|kind| kind.as_ptr().cast()).collect();
    let n_objects = isize::try_from(objects.len()).unwrap_or(isize::MAX);
    let mut found = Vec::new();
    for index in 0..n_objects {
        // SAFETY: `index` is inside the list, which is ours alone and not changed meanwhile.
        let object = unsafe { ffi::PyList_GetItem(objects.as_ptr(), index) };
        // SAFETY: the list owns a reference to each of its items.
        let kind = unsafe { ffi::Py_TYPE(object) };
        if types.contains(&kind) {
            // SAFETY: as above.
            found.push(unsafe { Bound::from_borrowed_ptr(py, object) });
        }
    }
    Ok(found)
}
