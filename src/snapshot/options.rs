//! The options of a capture as users give them: in a breakpoint file, in Python, on a command line.
//!
//! Every option may be absent. All three places know the same options by the same names; a command
//! line knows shorter ones beside them. What is wrong with one names the option; what they come to
//! is a [`Capture`](super::Capture).

use std::fmt;
use std::str::FromStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Repr {
    /// Without running code of the program.
    Safe,
    /// By the program's own `__repr__`.
    Full,
}

impl Repr {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Full => "full",
        }
    }

    fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "safe" => Ok(Self::Safe),
            "full" => Ok(Self::Full),
            _ => Err(format!("repr {name:?} is not one of \"safe\" and \"full\"")),
        }
    }
}

/// The options of a capture; see the fields of [`Capture`](super::Capture).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CaptureOptions {
    pub(super) stack_depth: Option<u32>,
    pub(super) frames_with_locals: Option<u32>,
    pub(super) locals_depth: Option<u32>,
    pub(super) max_items: Option<usize>,
    pub(super) max_string: Option<usize>,
    pub(super) max_total_bytes: Option<usize>,
    pub(super) max_count: Option<u64>,
    /// In seconds.
    pub(super) time_budget_s: Option<f64>,
    pub(super) expressions: Vec<String>,
    /// Names to redact beside those that always are.
    pub(super) redact: Vec<String>,
    pub(super) repr: Option<Repr>,
}

/// The names of the options, and those of the command line.
const NAMES: [(&str, &str); 11] = [
    ("stack_depth", "stack"),
    ("frames_with_locals", "locals"),
    ("locals_depth", "depth"),
    ("max_items", "items"),
    ("max_string", "string"),
    ("max_total_bytes", "bytes"),
    ("max_count", "count"),
    ("time_budget_s", "time"),
    ("expressions", "expr"),
    ("redact", "redact"),
    ("repr", "repr"),
];

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

impl CaptureOptions {
    /// Reads what Python gave: the names of the options and their values.
    pub(crate) fn from_python(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut read = Self::default();
        for (name, value) in options {
            let name = name.str()?.to_string_lossy().into_owned();
            read.set_python(&name, &value).map_err(|error| {
                let said = error.value(value.py());
                PyValueError::new_err(format!("capture: {name}: {said}"))
            })?;
        }
        Ok(read)
    }

    fn set_python(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match name {
            "stack_depth" => self.stack_depth = value.extract()?,
            "frames_with_locals" => self.frames_with_locals = value.extract()?,
            "locals_depth" => self.locals_depth = value.extract()?,
            "max_items" => self.max_items = value.extract()?,
            "max_string" => self.max_string = value.extract()?,
            "max_total_bytes" => self.max_total_bytes = value.extract()?,
            "max_count" => self.max_count = value.extract()?,
            "time_budget_s" => self.time_budget_s = value.extract()?,
            "expressions" => self.expressions = value.extract()?,
            "redact" => self.redact = value.extract()?,
            "repr" => {
                let repr = Repr::from_name(value.extract::<&str>()?);
                self.repr = Some(repr.map_err(PyValueError::new_err)?);
            }
            _ => {
                let names = listed(NAMES.into_iter().map(|(name, _)| name));
                return Err(PyValueError::new_err(format!(
                    "not an option of a capture: use {names}"
                )));
            }
        }
        Ok(())
    }

    /// Reads what a command line gave: `NAME=VALUE`, with commas between; nothing is the defaults.
    ///
    /// `expr` and `redact` may be repeated. A comma in brackets or quotes belongs to its value.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for part in parts(text).into_iter().map(str::trim) {
            if part.is_empty() {
                continue;
            }
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not NAME=VALUE{}", of_the_command_line()))?;
            read.set_text(name.trim(), value.trim())?;
        }
        Ok(read)
    }

    fn set_text(&mut self, name: &str, value: &str) -> Result<(), String> {
        let known = NAMES
            .into_iter()
            .find(|(long, short)| [*long, *short].contains(&name));
        let Some((option, _)) = known else {
            let all = of_the_command_line();
            return Err(format!("{name:?} is not an option of a capture{all}"));
        };
        match option {
            "stack_depth" => self.stack_depth = Some(whole(name, value)?),
            "frames_with_locals" => self.frames_with_locals = Some(whole(name, value)?),
            "locals_depth" => self.locals_depth = Some(whole(name, value)?),
            "max_items" => self.max_items = Some(whole(name, value)?),
            "max_string" => self.max_string = Some(whole(name, value)?),
            "max_total_bytes" => self.max_total_bytes = Some(whole(name, value)?),
            "max_count" => self.max_count = Some(whole(name, value)?),
            "time_budget_s" => self.time_budget_s = Some(number(name, value, "number of seconds")?),
            "expressions" => self.expressions.push(value.to_owned()),
            "redact" => self.redact.push(value.to_owned()),
            _ => self.repr = Some(Repr::from_name(value)?),
        }
        Ok(())
    }

    /// As Python sees them.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let options = PyDict::new(py);
        options.set_item("stack_depth", self.stack_depth)?;
        options.set_item("frames_with_locals", self.frames_with_locals)?;
        options.set_item("locals_depth", self.locals_depth)?;
        options.set_item("max_items", self.max_items)?;
        options.set_item("max_string", self.max_string)?;
        options.set_item("max_total_bytes", self.max_total_bytes)?;
        options.set_item("max_count", self.max_count)?;
        options.set_item("time_budget_s", self.time_budget_s)?;
        options.set_item("expressions", &self.expressions)?;
        options.set_item("redact", &self.redact)?;
        options.set_item("repr", self.repr.map(Repr::as_str))?;
        Ok(options)
    }
}

fn of_the_command_line() -> String {
    let names = listed(NAMES.into_iter().map(|(_, short)| short));
    format!(": use {names}")
}

fn whole<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    number(name, value, "whole number")
}

fn number<T: FromStr>(name: &str, value: &str, what: &str) -> Result<T, String> {
    let read = value.parse();
    read.map_err(|_| format!("{name} {value:?} is not a {what}"))
}

/// A text between those of its commas that stand outside brackets and quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_u32);
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// Reads `true`, `false` or a table of options from a breakpoint file.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<CaptureOptions>, D::Error> {
    struct Given;
    impl<'de> Visitor<'de> for Given {
        type Value = Option<CaptureOptions>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or a table of options")
        }

        fn visit_bool<E: Error>(self, wanted: bool) -> Result<Self::Value, E> {
            Ok(wanted.then(CaptureOptions::default))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            CaptureOptions::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_gives_options_by_their_short_names() {
        let text = "stack=5,locals=2, count=1,time=0.5,expr=f(x, 1),expr=d['a,b'],max_items=3";
        let read = CaptureOptions::from_text(text).expect("options");
        let expected = CaptureOptions {
            stack_depth: Some(5),
            frames_with_locals: Some(2),
            max_items: Some(3),
            max_count: Some(1),
            time_budget_s: Some(0.5),
            expressions: vec!["f(x, 1)".to_owned(), "d['a,b']".to_owned()],
            ..CaptureOptions::default()
        };
        assert_eq!(read, expected);
        assert_eq!(CaptureOptions::from_text(""), Ok(CaptureOptions::default()));
    }

    #[test]
    fn what_is_wrong_names_the_option() {
        let wrong = |text| CaptureOptions::from_text(text).expect_err("refused");
        assert_eq!(wrong("stack=x"), "stack \"x\" is not a whole number");
        assert_eq!(wrong("time=x"), "time \"x\" is not a number of seconds");
        assert!(wrong("repr=odd").contains("\"safe\" and \"full\""));
        assert!(wrong("stak=5").starts_with("\"stak\" is not an option of a capture: use stack,"));
        assert!(wrong("stack").starts_with("\"stack\" is not NAME=VALUE: use stack,"));
    }
}
