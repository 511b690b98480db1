//! All objects of some types, as the garbage collector knows them.

use crate::ffi::name::name;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

use super::symbols::address;

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
    let mut search = Search {
        types: types.iter().map(|kind| kind.as_ptr().cast()).collect(),
        found: Vec::new(),
    };
    if let Some(visit_objects) = visit_objects() {
        let argument: *mut Search = &raw mut search;
        // SAFETY: the thread is attached, and `visit` takes what is passed here.
        unsafe { visit_objects(visit, argument.cast()) };
    } else {
        let objects = py
            .import("gc")?
            .call_method0(name!("get_objects"))?
            .cast_into::<PyList>()?;
        let n_objects = isize::try_from(objects.len()).unwrap_or(isize::MAX);
        for index in 0..n_objects {
            // SAFETY: `index` is inside the list, which is ours alone and not changed meanwhile.
            let object = unsafe { ffi::PyList_GetItem(objects.as_ptr(), index) };
            search.look_at(object);
        }
    }
    let found = search.found.into_iter();
    // SAFETY: `look_at` took a reference to each.
    Ok(found
        .map(|object| unsafe { Bound::from_owned_ptr(py, object) })
        .collect())
}

struct Search {
    types: Vec<*mut ffi::PyTypeObject>,
    /// Each with a reference of its own.
    found: Vec<*mut ffi::PyObject>,
}

impl Search {
    /// Takes a live object in if its type is wanted.
    fn look_at(&mut self, object: *mut ffi::PyObject) {
        // SAFETY: callers pass live objects.
        let kind = unsafe { ffi::Py_TYPE(object) };
        if self.types.contains(&kind) {
            // SAFETY: as above.
            unsafe { ffi::Py_IncRef(object) };
            self.found.push(object);
        }
    }
}

type Visit = unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void) -> c_int;
type VisitObjects = unsafe extern "C" fn(Visit, *mut c_void);

/// Visits all objects without making a list of them; exported by 3.12 and later.
fn visit_objects() -> Option<VisitObjects> {
    static FOUND: OnceLock<Option<usize>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        address(c"PyUnstable_GC_VisitObjects")
            .ok()
            .map(|at| at as usize)
    });
    // SAFETY: CPython declares the function of this name with this signature.
    found.map(|at| unsafe { std::mem::transmute::<usize, VisitObjects>(at) })
}

unsafe extern "C" fn visit(object: *mut ffi::PyObject, search: *mut c_void) -> c_int {
    // SAFETY: `instances` passes a search that nothing else refers to meanwhile.
    let search = unsafe { &mut *search.cast::<Search>() };
    search.look_at(object);
    1
}
