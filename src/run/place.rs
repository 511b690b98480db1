//! Places as options name them: `FILE:LINE`, `FILE:LINE:COLUMN` and `MODULE:FUNCTION`.
//!
//! What ends in `:LINE` or `:LINE:COLUMN` is in a file; since no name in Python begins with a
//! digit, anything else with a colon is a function. Files are looked for here, where they are
//! named, and handed on from the root.

use std::ffi::OsStr;
use std::path::Path;

use crate::breakpoint::Kind;
use crate::registry;
use crate::request::{Place, Terms, function_pattern};
use crate::session::Asked;

const EXPECTED: &str = "expected FILE:LINE, FILE:LINE:COLUMN or MODULE:FUNCTION";

/// What an option asks for that names a place alone.
pub(super) fn at(text: &str, kind: Kind) -> Result<Asked, String> {
    Ok(Asked {
        place: place(text)?,
        kind,
        terms: Terms::default(),
    })
}

/// What `--log PLACE=TEXT` asks for.
pub(super) fn log(text: &str) -> Result<Asked, String> {
    let (place, message) = split(text)?;
    let terms = Terms {
        log_message: Some(message.to_owned()),
        ..Terms::default()
    };
    Ok(Asked {
        place,
        kind: Kind::Log,
        terms,
    })
}

fn split(text: &str) -> Result<(Place, &str), String> {
    let expected = || "expected FILE:LINE=TEXT or MODULE:FUNCTION=TEXT".to_owned();
    // No name of a function holds an equal sign.
    if let Some((name, message)) = text.split_once('=')
        && let Some((_, function)) = name.split_once(':')
        && !function.starts_with(|char: char| char.is_ascii_digit())
        && let Ok(place) = function_place(name)
    {
        return Ok((place, message));
    }
    // The first `:digits=` ends the file, which may hold colons and equal signs itself.
    for (end, _) in text.match_indices('=') {
        let (name, message) = (&text[..end], &text[end + 1..]);
        if name
            .rsplit_once(':')
            .is_some_and(|(_, line)| is_number(line))
        {
            return Ok((place(name)?, message));
        }
    }
    Err(expected())
}

fn place(text: &str) -> Result<Place, String> {
    let (before, last) = text.rsplit_once(':').ok_or(EXPECTED)?;
    if !is_number(last) {
        return function_place(text);
    }
    if let Some((file, line)) = before.rsplit_once(':')
        && is_number(line)
    {
        let column = number(last, "column")?;
        return line_place(file, number(line, "line")?, Some(column));
    }
    line_place(before, number(last, "line")?, None)
}

fn line_place(file: &str, line: u32, column: Option<u32>) -> Result<Place, String> {
    Ok(Place::Line {
        file: source_file(Path::new(file))?,
        line,
        column,
    })
}

fn function_place(text: &str) -> Result<Place, String> {
    let (before, last) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let is_source = Path::new(before).extension() == Some(OsStr::new("py"));
    if is_source || before.contains(['/', std::path::MAIN_SEPARATOR]) {
        return Err(format!(
            "{last:?} is not a line number (a function is named by its module, as in app:main)"
        ));
    }
    match function_pattern(text) {
        Ok(_) => Ok(Place::Function(text.to_owned())),
        Err(error) => Err(format!("{last:?} is not a line number, and {error}")),
    }
}

/// A place of a breakpoint file, with its file looked for.
pub(super) fn found(place: Place) -> Result<Place, String> {
    match place {
        Place::Line { file, line, column } => line_place(&file, line, column),
        Place::Function(_) => Ok(place),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str, what: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err(format!("{what} 0 does not exist: {what}s count from 1")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is not a {what} number")),
    }
}

fn source_file(path: &Path) -> Result<String, String> {
    let text = path
        .to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    if registry::is_pseudo(text) {
        return Ok(text.to_owned());
    }
    if path.as_os_str() == OsStr::new("") {
        return Err("the file is missing".to_owned());
    }
    let metadata = path
        .metadata()
        .map_err(|error| format!("cannot find {text}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{text} is not a file"));
    }
    // As the user named it: a link is also met under its own name.
    super::absolute(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        place(text).map_or_else(|error| error, |place| place.to_string())
    }

    #[test]
    fn numbers_at_the_end_are_lines_and_columns() {
        assert_eq!(shown("<stdin>:3"), "<stdin>:3");
        assert_eq!(shown("<stdin>:3:7"), "<stdin>:3:7");
        assert_eq!(
            shown("<stdin>:3:0"),
            "column 0 does not exist: columns count from 1"
        );
        assert_eq!(
            shown("<stdin>:0:3"),
            "line 0 does not exist: lines count from 1"
        );
    }

    #[test]
    fn other_names_are_functions() {
        assert_eq!(shown("app.models:User.*"), "app.models:User.*");
        assert_eq!(shown("__main__:f1"), "__main__:f1");
        assert!(shown("app.py:main").contains("named by its module"));
        assert!(shown("app.*:main").contains("has to be named in full"));
        assert!(shown("app:").contains("names no function"));
    }

    #[test]
    fn messages_begin_behind_the_place() {
        let shown = |text| split(text).map(|(place, message)| (place.to_string(), message));
        assert_eq!(
            shown("<stdin>:3=a=b:4=c"),
            Ok(("<stdin>:3".to_owned(), "a=b:4=c"))
        );
        assert_eq!(
            shown("<stdin>:3:9={x}"),
            Ok(("<stdin>:3:9".to_owned(), "{x}"))
        );
        assert_eq!(shown("m:f={x:3=}"), Ok(("m:f".to_owned(), "{x:3=}")));
        assert!(shown("m:f").is_err());
    }
}
