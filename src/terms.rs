//! The terms of a breakpoint as Python gives them: the fields, and what is written in them.
//!
//! Owns what a value has to be; what the fields mean together, [`crate::request`] says.

use std::collections::HashMap;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::request::{Purity, Terms};
use crate::snapshot::CaptureOptions;

/// Fields and what is given for them.
pub(crate) type TermsGiven<'py> = HashMap<String, Option<Bound<'py, PyAny>>>;

/// Reads them; what is wrong with one names it.
pub(crate) fn terms(given: TermsGiven<'_>) -> PyResult<Terms> {
    let mut terms = Terms::default();
    for (field, value) in given {
        let Some(value) = value else {
            continue;
        };
        match field.as_str() {
            "condition" => terms.condition = Some(text(&field, &value)?),
            "hit_condition" => terms.hit_condition = Some(text(&field, &value)?),
            "log_message" => terms.log_message = Some(text(&field, &value)?),
            "purity" => {
                let purity = Purity::from_name(&text(&field, &value)?);
                terms.purity = Some(purity.map_err(PyValueError::new_err)?);
            }
            "capture" => terms.capture = capture(&value)?,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "a breakpoint has no field {field:?}"
                )));
            }
        }
    }
    Ok(terms)
}

fn text(field: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let wrong = |_| PyTypeError::new_err(format!("{field} is a string"));
    value.extract().map_err(wrong)
}

fn capture(value: &Bound<'_, PyAny>) -> PyResult<Option<CaptureOptions>> {
    if let Ok(options) = value.cast::<PyDict>() {
        return CaptureOptions::from_python(options).map(Some);
    }
    let wanted = value.extract::<bool>();
    let wanted =
        wanted.map_err(|_| PyTypeError::new_err("capture is True, False or a dict of options"))?;
    Ok(wanted.then(CaptureOptions::default))
}
