//! Which code is the user's, when nobody says so: what lies in no library.
//!
//! Owns the folders of the standard library and of installed packages, as `sysconfig` names them.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::ffi::name::name;
use crate::ffi::tracing;

/// Whether code comes from a file outside of every library.
pub(crate) fn is_user(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = code.py();
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    is_user_file(py, &file)
}

/// Whether a file is outside of every library.
pub(crate) fn is_user_file(py: Python<'_>, file: &str) -> PyResult<bool> {
    static LIBRARIES: PyOnceLock<Vec<String>> = PyOnceLock::new();
    let libraries = LIBRARIES.get_or_try_init(py, || libraries(py))?;
    Ok(!file.starts_with("<frozen ") && !libraries.iter().any(|folder| file.starts_with(folder)))
}

fn libraries(py: Python<'_>) -> PyResult<Vec<String>> {
    let sysconfig = py.import("sysconfig")?;
    let mut folders = Vec::new();
    for name in ["stdlib", "platstdlib", "purelib", "platlib"] {
        let folder: Option<String> = sysconfig
            .call_method1(name!("get_path"), (name,))?
            .extract()?;
        folders.extend(folder.map(|folder| format!("{folder}{}", std::path::MAIN_SEPARATOR)));
    }
    Ok(folders)
}

/// Whether code is of the import system: the interpreter calls it from native code as well, where
/// it looks for the importer of a script, and handles there what it raises.
pub(crate) fn is_import_system(code: &Bound<'_, PyAny>) -> PyResult<bool> {
    let file: String = code.getattr(name!("co_filename"))?.extract()?;
    Ok(["<frozen importlib", "<frozen zipimport"]
        .iter()
        .any(|prefix| file.starts_with(prefix)))
}

/// Whether a frame is the one in which `threading` catches what ends a thread.
pub(crate) fn ends_a_thread(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let code = tracing::code_of(frame);
    let name = code.getattr(name!("co_name"))?;
    if name.ne("_bootstrap_inner")? {
        return Ok(false);
    }
    let globals = frame.getattr(name!("f_globals"))?;
    globals.get_item("__name__")?.eq("threading")
}
