//! How a frame is called in the stack, as the client asked for it.

use pyo3::prelude::*;
use serde::Deserialize;

use super::guard::Patience;
use super::names;
use super::text::{Style, class_name, show};
use crate::ffi::name::name;
use crate::ffi::tracing;

/// `CO_VARARGS` and `CO_VARKEYWORDS`.
const VARARGS: u32 = 0x4;
const VARKEYWORDS: u32 = 0x8;

/// What the name of a frame says.
#[expect(clippy::struct_excessive_bools, reason = "the fields of the protocol")]
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct FrameFormat {
    /// Values of the parameters in hexadecimal digits.
    hex: bool,
    /// The parameters.
    parameters: bool,
    /// Their types.
    parameter_types: bool,
    /// Their names.
    parameter_names: bool,
    /// Their values.
    parameter_values: bool,
    /// The line.
    line: bool,
    /// The module.
    module: bool,
}

/// The name of a frame.
pub(super) fn of_frame(
    frame: &Bound<'_, PyAny>,
    line: u32,
    format: FrameFormat,
    patience: &mut Patience,
) -> PyResult<String> {
    let code = tracing::code_of(frame);
    let mut name: String = code.getattr(name!("co_qualname"))?.extract()?;
    if format.module {
        let module = names::globals(frame)?.get_item(name!("__name__"));
        let module = module.and_then(|module| module.extract::<String>());
        if let Ok(module) = module {
            name = match name.as_str() {
                "<module>" => module,
                _ => format!("{module}.{name}"),
            };
        }
    }
    if format.parameters
        || format.parameter_types
        || format.parameter_names
        || format.parameter_values
    {
        let shown = parameters(frame, &code, format, patience)?;
        name = format!("{name}({})", shown.join(", "));
    }
    if format.line {
        name = format!("{name} : {line}");
    }
    Ok(name)
}

fn parameters(
    frame: &Bound<'_, PyAny>,
    code: &Bound<'_, PyAny>,
    format: FrameFormat,
    patience: &mut Patience,
) -> PyResult<Vec<String>> {
    let flags: u32 = code.getattr(name!("co_flags"))?.extract()?;
    let count = |name| code.getattr(name)?.extract::<usize>();
    let plain = count(name!("co_argcount"))? + count(name!("co_kwonlyargcount"))?;
    let total = plain + usize::from(flags & VARARGS != 0) + usize::from(flags & VARKEYWORDS != 0);
    let variables: Vec<String> = code.getattr(name!("co_varnames"))?.extract()?;
    let values = names::locals_of(frame, false)?;
    let only_names = !format.parameter_types && !format.parameter_values;
    let shown = variables.into_iter().take(total).map(|name| {
        let value = values.iter().find(|(known, _)| *known == name);
        let mut text = String::new();
        if format.parameter_names || only_names {
            text.push_str(&name);
        }
        if let Some((_, value)) = value {
            if format.parameter_types {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&class_name(value));
            }
            if format.parameter_values {
                if !text.is_empty() {
                    text.push('=');
                }
                let style = Style::BRIEF.with_hex(format.hex);
                text.push_str(&show(value, style, patience));
            }
        }
        text
    });
    Ok(shown.collect())
}
