//! Names of attributes and methods that the engine asks for, each made and interned once.
//!
//! Owns nothing but the macro and its type. A name that is not interned misses the interpreter's cache
//! of type attributes on every use, and stays in it afterwards in the place of one of the program's:
//! up to 4,096 strings that nobody can free.

use std::convert::Infallible;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// A name that is interned when it is first used. [`name!`] makes one for each place.
pub(crate) struct Name(&'static str, PyOnceLock<Py<PyString>>);

impl Name {
    /// The name with this text.
    pub(crate) const fn new(text: &'static str) -> Name {
        Name(text, PyOnceLock::new())
    }
}

impl<'py> IntoPyObject<'py> for &'static Name {
    type Target = PyString;
    type Output = Borrowed<'static, 'py, PyString>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Infallible> {
        // Not `get_or_init`, nor `pyo3::intern!`: they let other threads run when a name is new, in
        // the middle of what must happen in one go (`loaded`).
        if self.1.get(py).is_none() {
            let _ = self.1.set(py, PyString::intern(py, self.0).unbind());
        }
        let name = self.1.get(py).expect("a name was just set");
        Ok(name.bind_borrowed(py))
    }
}

/// The interned name of an attribute or a method: `object.getattr(name!("co_name"))`.
macro_rules! name {
    ($text:literal) => {{
        static NAME: crate::ffi::name::Name = crate::ffi::name::Name::new($text);
        &NAME
    }};
}
pub(crate) use name;
