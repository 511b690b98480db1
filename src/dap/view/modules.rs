//! `modules`: what the program has imported.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failed;
use crate::dap::parked::without_nulls;
use crate::dap::protocol::{Answer, Request};
use crate::dap::session::Session;
use crate::ffi::name::name;
use crate::user_code;

/// A module that the program has imported.
pub(super) struct Imported {
    name: String,
    /// The file of its source, if it has one.
    pub(super) file: Option<String>,
    version: Option<String>,
}

/// The modules that the program has imported, in their order; nothing of theirs is run.
pub(super) fn loaded(py: Python<'_>) -> PyResult<Vec<Imported>> {
    let all = py.import("sys")?.getattr(name!("modules"))?;
    let mut found = Vec::new();
    for (name, module) in all.cast::<PyDict>()?.iter() {
        let (Ok(name), true) = (
            name.extract::<String>(),
            module.is_instance_of::<PyModule>(),
        ) else {
            continue;
        };
        // A module may have a `__getattr__` of its own, which its names know nothing of.
        let Some(names) = crate::ffi::attributes::own(&module) else {
            continue;
        };
        let text = |key: &str| -> Option<String> {
            let value = names.get_item(key).ok()??;
            let value = value.cast_exact::<PyString>().ok()?;
            Some(value.to_string_lossy().into_owned())
        };
        found.push(Imported {
            file: text("__file__"),
            version: text("__version__"),
            name,
        });
    }
    Ok(found)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    start_module: usize,
    #[serde(default)]
    module_count: usize,
}

/// `modules`
pub(super) fn modules(py: Python<'_>, session: &Session, request: &Request) -> Answer {
    let wanted: Arguments = request.arguments()?;
    let all = loaded(py).map_err(|error| failed(&error))?;
    let count = match wanted.module_count {
        0 => usize::MAX,
        count => count,
    };
    let settings = session.settings();
    let mut told = Vec::new();
    for module in all.iter().skip(wanted.start_module).take(count) {
        let is_user = match &module.file {
            Some(file) => Some(user_code::is_user_file(py, file).map_err(|error| failed(&error))?),
            None => None,
        };
        told.push(without_nulls(json!({
            "id": module.name,
            "name": module.name,
            "path": module.file.as_ref().map(|file| settings.local(file)),
            "isUserCode": is_user,
            "version": module.version,
        })));
    }
    let told: Vec<Value> = told;
    Ok(json!({"modules": told, "totalModules": all.len()}))
}
