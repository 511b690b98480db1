//! Names in the expressions of a breakpoint that nothing at its line is called.
//!
//! Looked for where functions that are loaded hold the line: among their local and free
//! variables, the globals of their module and the builtins. A name that is missing may be there
//! when the line is reached, so that it is remarked upon and no more.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::file::LoadedFile;
use super::tree::key;
use crate::breakpoint::Breakpoint;
use crate::ffi::name::name;

/// What there is to say about names of `breakpoint`, whose probe is in place.
pub(super) fn remark(
    file: &mut LoadedFile<'_, '_>,
    breakpoint: &Breakpoint,
) -> PyResult<Option<String>> {
    let mut unknown = breakpoint.request.names();
    if unknown.is_empty() {
        return Ok(None);
    }
    let builtins = file.py.import("builtins")?.dict();
    let functions = std::mem::take(&mut file.holders.functions);
    let mut is_known = false;
    for function in &functions {
        let code = function.getattr(name!("__code__"))?;
        let Ok(original) = file.original_of(&code)? else {
            continue;
        };
        let Some(variant) = file.current(&original) else {
            continue;
        };
        let holds = |(_, ids): &(u32, Vec<u64>)| ids.contains(&breakpoint.id);
        if !key(&variant)?.iter().any(holds) {
            continue;
        }
        is_known = true;
        let globals = function.getattr(name!("__globals__"))?;
        let globals = globals.cast::<PyDict>()?;
        let mut locals = HashSet::new();
        for attribute in [
            name!("co_varnames"),
            name!("co_cellvars"),
            name!("co_freevars"),
        ] {
            locals.extend(original.getattr(attribute)?.extract::<Vec<String>>()?);
        }
        let mut missing = Vec::new();
        for name in unknown {
            let found =
                locals.contains(&name) || globals.contains(&name)? || builtins.contains(&name)?;
            if !found {
                missing.push(name);
            }
        }
        unknown = missing;
    }
    file.holders.functions = functions;
    if !is_known || unknown.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = unknown.iter().map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    Ok(Some(format!("nothing at this line is called {names} now")))
}
