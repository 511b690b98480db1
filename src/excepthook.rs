//! `sys.excepthook` and `threading.excepthook`, where the interpreter reports nothing else (3.11).
//!
//! Owns the two hooks while "uncaught" is asked for. Each reports and goes on to what it replaced;
//! each is taken away only if it is still the installed one, and is transparent otherwise.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::exceptions;
use crate::ffi::name::{Name, name};

/// What stands in for a hook.
#[pyclass(frozen, module = "dapper._engine")]
struct ExceptHook {
    previous: Py<PyAny>,
    /// Where the exception is: an attribute of the only argument, or the second argument.
    attribute: Option<&'static Name>,
}

#[pymethods]
impl ExceptHook {
    #[getter]
    fn __wrapped__(&self, py: Python<'_>) -> Py<PyAny> {
        self.previous.clone_ref(py)
    }

    #[pyo3(signature = (*arguments))]
    fn __call__(&self, arguments: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        let exception = match self.attribute {
            Some(attribute) => arguments.get_item(0)?.getattr(attribute)?,
            None => arguments.get_item(1)?,
        };
        if !exception.is_none() {
            exceptions::uncaught(&exception)?;
        }
        self.previous.call1(arguments.py(), arguments.clone())
    }
}

/// Puts the hooks in place, or takes them away.
pub(crate) fn set(py: Python<'_>, wanted: bool) -> PyResult<()> {
    for (module, attribute) in [("sys", None), ("threading", Some(name!("exc_value")))] {
        let module = py.import(module)?;
        let installed = module.getattr(name!("excepthook"))?;
        match (installed.cast::<ExceptHook>(), wanted) {
            (Ok(own), false) => module.setattr(name!("excepthook"), &own.get().previous)?,
            (Err(_), true) => {
                let previous = installed.clone().unbind();
                let hook = ExceptHook {
                    previous,
                    attribute,
                };
                module.setattr(name!("excepthook"), Bound::new(py, hook)?)?;
            }
            _ => {}
        }
    }
    Ok(())
}
