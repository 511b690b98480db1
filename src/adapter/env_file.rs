//! Files of environment variables: `NAME=VALUE` lines, as editors and shells read them.
//!
//! `#` begins a comment, `export` may stand in front, a value may be in quotes, and `${NAME}` in it
//! is a variable that was set before; in single quotes everything is meant literally.

use std::collections::BTreeMap;

/// The variables of a file, given those that are set already.
pub(super) fn parse(
    text: &str,
    set: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {} is not NAME=VALUE", number + 1));
        };
        let known = |name: &str| found.get(name).cloned().or_else(|| set(name));
        let value = value_of(value.trim(), known);
        found.insert(name.trim_end().to_owned(), value);
    }
    Ok(found)
}

fn value_of(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let quoted = |mark: char| {
        let inside = text.strip_prefix(mark)?;
        Some(&inside[..inside.rfind(mark)?])
    };
    if let Some(literal) = quoted('\'') {
        return literal.to_owned();
    }
    if let Some(inside) = quoted('"') {
        return expanded(&inside.replace("\\n", "\n").replace("\\\"", "\""), known);
    }
    let bare = text.split(" #").next().unwrap_or(text);
    expanded(bare.trim_end(), known)
}

fn expanded(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        out.push_str(&known(name).unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_are_variables() {
        let text = "# all\nA=1\nexport B = 'x ${A}' \nC=\"${A}${HOME}\\n\" # end\nD=a b # c\n\nE=";
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let found = parse(text, home).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("A", "1"),
                ("B", "x ${A}"),
                ("C", "1/h\n"),
                ("D", "a b"),
                ("E", "")
            ]
        );
        assert_eq!(
            parse("A=1\nnothing", home),
            Err("line 2 is not NAME=VALUE".to_owned())
        );
    }
}
