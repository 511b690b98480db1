//! The modules that breakpoints on functions name, where they are loaded already.
//!
//! A module that is not is met by the import hook, which knows names and files of what it loads.
//! Asks `sys.modules` and the dictionaries of modules alone, so no code of the program runs.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use crate::breakpoint::Breakpoint;
use crate::ffi::name::name;
use crate::handle::Handle;
use crate::request::Place;
use crate::terms::TermsGiven;
use crate::{registry, session};

/// Tells a breakpoint on functions in which file their module is; that file, or nothing where
/// the module is not loaded or from no source file, which the breakpoint then says.
pub(crate) fn meet_loaded(py: Python<'_>, breakpoint: &Breakpoint) -> PyResult<Option<Arc<str>>> {
    let pattern = breakpoint.request.function.as_ref();
    let Some(name) = pattern.and_then(|pattern| pattern.module()) else {
        return Ok(None);
    };
    let modules = py.import("sys")?.getattr(name!("modules"))?;
    let Some(module) = modules.cast_into::<PyDict>()?.get_item(name)? else {
        return Ok(None);
    };
    let Ok(module) = module.cast_into::<PyModule>() else {
        breakpoint.refuse(&format!("module {name} comes from no file"));
        return Ok(None);
    };
    if is_frozen(&module)? {
        breakpoint.refuse(&format!(
            "module {name} is frozen into the interpreter: start it with -X frozen_modules=off"
        ));
        return Ok(None);
    }
    let file = module.dict().get_item("__file__")?;
    let file: Option<String> = file.and_then(|file| file.extract().ok());
    let Some(file) = file else {
        breakpoint.refuse(&format!("module {name} comes from no file"));
        return Ok(None);
    };
    let extension = file.rsplit('.').next().unwrap_or_default();
    if matches!(extension, "so" | "pyd" | "dylib") {
        breakpoint.refuse(&format!("module {name} is not Python code: {file}"));
        return Ok(None);
    }
    Ok(registry::meet(name, &file))
}

fn is_frozen(module: &Bound<'_, PyModule>) -> PyResult<bool> {
    let spec = module.dict().get_item("__spec__")?;
    // An object of another type might run code of the program.
    let machinery = module.py().import("_frozen_importlib")?;
    let kind = machinery.getattr(name!("ModuleSpec"))?;
    let Some(spec) = spec.filter(|spec| spec.get_type().is(&kind)) else {
        return Ok(false);
    };
    let origin = spec.getattr(name!("origin"))?;
    Ok(origin.extract::<&str>().is_ok_and(|it| it == "frozen"))
}

/// Adds a breakpoint for the functions that `module:qualname` means.
#[pyfunction]
#[pyo3(signature = (pattern, kind, terms=None, on_hit=None))]
fn add_function(
    py: Python<'_>,
    pattern: String,
    kind: &str,
    terms: Option<TermsGiven<'_>>,
    on_hit: Option<Py<PyAny>>,
) -> PyResult<Handle> {
    let handle = session::add_at(py, &Place::Function(pattern), kind, terms, on_hit)?;
    meet_loaded(py, &handle.0)?;
    Ok(handle)
}

/// Adds the functions of this file.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(add_function, module)?)
}
