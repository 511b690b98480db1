//! Where the breakpoints of one file stand in its code: lines, and the code objects meant.
//!
//! What was asked for is a line, a line with a column, or functions by name; what the code says
//! about each is a list of [`Spot`]s, or a reason. The paths of spots lead from the module. Relies
//! on [`LineMap`] for positions; columns, which users count in characters, are turned into the
//! UTF-8 bytes that line tables count in by the text of the line.

use std::collections::BTreeSet;
use std::sync::Arc;

use instrument::{FunctionPattern, LineMap, Spot};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::breakpoint::{Breakpoint, Request};
use crate::ffi::name::name;
use crate::registry::WantedFile;
use crate::variant::SnappedLine;

/// Where one breakpoint stands, or why it stands nowhere.
pub(crate) type Stand = Result<Vec<Spot>, String>;

/// Where the breakpoints of a file stand, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Stands(Vec<Stand>);

impl Stands {
    /// By what became of the requested lines, where no breakpoint picks code.
    pub(crate) fn of_lines(wanted: &WantedFile, lines: &[SnappedLine]) -> Self {
        let stand = |breakpoint: &Arc<Breakpoint>| {
            let line = breakpoint.request.line;
            let snapped = lines.iter().find(|snapped| snapped.requested == line);
            match snapped.map(|snapped| &snapped.actual) {
                Some(Ok(line)) => Ok(vec![anywhere(*line)]),
                Some(Err(reason)) => Err(reason.clone()),
                None => Err(format!("no code at or after line {line}")),
            }
        };
        Self(wanted.breakpoints.iter().map(stand).collect())
    }

    /// By the map of the module; `source` is the text that it was compiled from.
    pub(crate) fn in_module(
        py: Python<'_>,
        wanted: &WantedFile,
        map: &LineMap,
        source: Option<&[u8]>,
    ) -> Self {
        let stand = |breakpoint: &Arc<Breakpoint>| {
            let request = &breakpoint.request;
            if let Some(pattern) = &request.function {
                return in_functions(pattern, map);
            }
            let column = request.column.map(|column| Column {
                py,
                number: column,
                source,
                line: request.line,
            });
            at_line(request.line, column.as_ref(), map)
        };
        Self(wanted.breakpoints.iter().map(stand).collect())
    }

    /// By the maps of code that is loaded, where the source of the module, `missing` says why,
    /// cannot be had: places of code objects in it are not known.
    pub(crate) fn in_parts(wanted: &WantedFile, maps: &[Arc<LineMap>], missing: &str) -> Self {
        let stand = |breakpoint: &Arc<Breakpoint>| match &breakpoint.request {
            Request {
                function: Some(pattern),
                ..
            } => {
                let tried = maps
                    .iter()
                    .filter_map(|map| in_functions(pattern, map).ok());
                let lines: BTreeSet<u32> = tried.flatten().map(|spot| spot.line).collect();
                if lines.is_empty() {
                    return Err(no_function(pattern));
                }
                Ok(lines.into_iter().map(anywhere).collect())
            }
            Request {
                column: Some(column),
                ..
            } => Err(format!(
                "which code column {column} means cannot be told: {missing}"
            )),
            Request { line, .. } => {
                let tried = maps.iter().map(|map| map.snap(*line));
                let best = tried.min_by_key(|line| line.as_ref().copied().unwrap_or(u32::MAX));
                match best {
                    Some(Ok(line)) => Ok(vec![anywhere(line)]),
                    Some(Err(reason)) => Err(reason.to_string()),
                    None => Err(format!("no code at or after line {line}")),
                }
            }
        };
        Self(wanted.breakpoints.iter().map(stand).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stand> {
        self.0.iter()
    }

    /// All spots of all breakpoints.
    pub(crate) fn spots(&self) -> impl Iterator<Item = &Spot> {
        self.0.iter().flatten().flatten()
    }

    /// The spots in the code object at the path `within`, as it names what is inside it, ascending.
    pub(crate) fn within(&self, within: &[u32]) -> Vec<Spot> {
        let inside = |spot: &Spot| match &spot.path {
            None => Some(spot.clone()),
            Some(path) => Some(Spot {
                line: spot.line,
                path: Some(path.strip_prefix(within)?.into()),
            }),
        };
        let spots: BTreeSet<Spot> = self.spots().filter_map(inside).collect();
        spots.into_iter().collect()
    }
}

fn anywhere(line: u32) -> Spot {
    Spot { line, path: None }
}

fn no_function(pattern: &FunctionPattern) -> String {
    format!(
        "no function of module {} is named {}",
        pattern.module().unwrap_or_default(),
        pattern.qualname()
    )
}

fn in_functions(pattern: &FunctionPattern, map: &LineMap) -> Stand {
    let entries = map.entries(pattern);
    let mut spots = Vec::new();
    let mut reason = None;
    for entry in entries {
        match entry.line {
            Ok(line) => spots.push(Spot {
                line,
                path: Some(Arc::clone(&map.functions[entry.function].path)),
            }),
            Err(why) => reason = Some(why.to_string()),
        }
    }
    if spots.is_empty() {
        return Err(reason.unwrap_or_else(|| no_function(pattern)));
    }
    Ok(spots)
}

/// A column as it was asked for, with what it takes to find out where it is.
struct Column<'a, 'py> {
    py: Python<'py>,
    number: u32,
    line: u32,
    source: Option<&'a [u8]>,
}

fn at_line(line: u32, column: Option<&Column<'_, '_>>, map: &LineMap) -> Stand {
    let byte = column.map(Column::byte).transpose()?;
    let position = map
        .snap_at(line, byte)
        .map_err(|reason| reason.to_string())?;
    let code = position.function.map(|index| &map.functions[index].path);
    Ok(vec![Spot {
        line: position.line,
        path: code.map(Arc::clone),
    }])
}

impl Column<'_, '_> {
    /// The UTF-8 bytes in front of it, or what is wrong with it.
    fn byte(&self) -> Result<u32, String> {
        let before = self.number - 1;
        let Some(text) = self.source.and_then(|source| self.text(source)) else {
            // Without its text a line is taken for ASCII.
            return Ok(before);
        };
        let length = text.chars().count();
        if before as usize > length {
            return Err(format!(
                "column {} is behind the end of line {}, which has {length} characters",
                self.number, self.line
            ));
        }
        let bytes: usize = text.chars().take(before as usize).map(char::len_utf8).sum();
        Ok(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// The line, decoded; nothing where there is no such line.
    fn text(&self, source: &[u8]) -> Option<String> {
        let text = match str::from_utf8(source) {
            Ok(text) => text.to_owned(),
            Err(_) => decode(self.py, source)?,
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        nth_line(text, self.line).map(str::to_owned)
    }
}

/// A line as the compiler counts them: `\n`, `\r\n` and `\r` end one.
fn nth_line(text: &str, line: u32) -> Option<&str> {
    let mut rest = text;
    for _ in 1..line {
        let end = rest.find(['\n', '\r'])?;
        let width = if rest[end..].starts_with("\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + width..];
    }
    Some(rest.split(['\n', '\r']).next().unwrap_or(rest))
}

/// Text in the encoding that its first lines declare.
fn decode(py: Python<'_>, source: &[u8]) -> Option<String> {
    let declared = source
        .split(|byte| *byte == b'\n')
        .take(2)
        .find_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (_, after) = line.trim_start().strip_prefix('#')?.split_once("coding")?;
            let name = after.strip_prefix([':', '='])?.trim_start();
            let is_part = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
            Some(name.split(|char| !is_part(char)).next()?.to_owned())
        })?;
    let bytes = PyBytes::new(py, source);
    let text = bytes
        .call_method1(name!("decode"), (declared, "replace"))
        .ok()?;
    text.extract().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_the_compiler_has_them() {
        let text = "a\r\nb\rc\n\x0cd\n";
        let lines: Vec<_> = (1..=6).map(|line| nth_line(text, line)).collect();
        let expected = [
            Some("a"),
            Some("b"),
            Some("c"),
            Some("\x0cd"),
            Some(""),
            None,
        ];
        assert_eq!(lines, expected);
    }
}
