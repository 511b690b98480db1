//! `redirectOutput`: the client gets what the program prints, and the program prints it all the same.
//!
//! Owns what stands in for `write` of `sys.stdout` and `sys.stderr`. The objects stay what they
//! are; what was put on them is taken off when the session ends.

use crate::ffi::name::name;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use serde_json::json;

use super::session::{current, lock};

/// Stands in for the `write` of a stream.
#[pyclass(frozen, module = "dapper._engine")]
struct Echo {
    write: Py<PyAny>,
    category: &'static str,
}

#[pymethods]
impl Echo {
    #[pyo3(signature = (*args, **named))]
    fn __call__(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        named: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let written = self.write.call(py, args, named)?;
        if let Some(session) = current()
            && let Ok(text) = args.get_item(0).and_then(|text| text.extract::<String>())
            && !text.is_empty()
        {
            let body = json!({"category": self.category, "output": text});
            py.detach(|| session.event("output", body));
        }
        Ok(written)
    }
}

/// The streams that are changed.
static CHANGED: Mutex<Vec<Py<PyAny>>> = Mutex::new(Vec::new());

/// Makes the types of this part: while a type is made for the first time other threads run.
pub(super) fn prepare(py: Python<'_>) {
    py.get_type::<Echo>();
}

/// Sends what the program prints from now on.
pub(super) fn begin(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    for (name, category) in [("stdout", "stdout"), ("stderr", "stderr")] {
        let stream = sys.getattr(name)?;
        if stream.is_none() {
            continue;
        }
        let write = stream.getattr(name!("write"))?.unbind();
        let echo = Py::new(py, Echo { write, category })?;
        if stream.setattr(name!("write"), echo).is_ok() {
            lock(&CHANGED).push(stream.unbind());
        } else if let Some(session) = current() {
            let body = json!({
                "category": "important",
                "output": format!("dapper: sys.{name} cannot be redirected: it takes no attribute\n"),
            });
            py.detach(|| session.event("output", body));
        }
    }
    Ok(())
}

/// Leaves the streams as they were.
pub(super) fn end(py: Python<'_>) {
    let changed = std::mem::take(&mut *lock(&CHANGED));
    for stream in changed {
        let stream = stream.bind(py);
        let own = stream
            .getattr(name!("__dict__"))
            .and_then(|own| own.get_item("write"));
        if own.is_ok_and(|write| write.is_instance_of::<Echo>()) {
            // One whose attribute cannot be deleted would not have taken it.
            let _ = stream.delattr(name!("write"));
        }
    }
}
