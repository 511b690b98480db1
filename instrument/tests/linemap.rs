//! Where requested lines snap to, line by line of `fixtures/source/layout.py`.

use instrument::{LineMap, PyVersion, Reason, line_map};

use crate::fixtures;

fn map(version: PyVersion, source: &str) -> LineMap {
    let fixture = fixtures::one(version, source);
    line_map(version, fixture.marshalled()).expect("a fixture can be mapped")
}

/// First and last requested line, and where all between go; `None`: to themselves.
const SNAPPED: [(u32, u32, Option<u32>, &str); 33] = [
    (0, 1, Some(2), "before the first statement"),
    (2, 2, None, "a docstring of the module"),
    (3, 6, Some(7), "the rest of a docstring, blanks, a comment"),
    (7, 7, None, "a statement with a comment"),
    (8, 8, Some(9), "a blank line before a decorator"),
    (9, 9, None, "a decorator"),
    (
        10,
        10,
        Some(19),
        "a comment between decorators is in the function",
    ),
    (11, 11, None, "another decorator"),
    (12, 12, None, "the `def`"),
    (13, 13, Some(19), "a parameter"),
    (15, 16, Some(19), "the end of the signature, the docstring"),
    (17, 18, Some(19), "a blank line and a comment"),
    (19, 21, None, "operands have lines of their own"),
    (22, 23, Some(24), "a closing parenthesis, a blank line"),
    (24, 24, None, "a condition"),
    (25, 25, None, "behind a backslash"),
    (26, 26, Some(27), "a blank line"),
    (27, 27, None, "a string over two lines"),
    (28, 28, Some(29), "the second line of a string"),
    (29, 30, None, "a call and its first argument"),
    (31, 32, Some(33), "a blank line and a comment in a call"),
    (33, 33, None, "the last argument"),
    (
        34,
        34,
        Some(33),
        "the end of the last statement of a function",
    ),
    (35, 38, Some(39), "behind a function"),
    (39, 39, None, "a class"),
    (40, 40, Some(41), "a comment in a class"),
    (41, 41, None, "an assignment in a class"),
    (42, 42, Some(43), "a blank line in a class"),
    (43, 43, None, "a function on one line"),
    (45, 47, None, "elements have lines of their own"),
    (48, 48, Some(47), "the end of the last statement of a class"),
    (49, 50, Some(51), "blank lines between definitions"),
    (51, 52, None, "a function"),
];

#[test]
fn every_line_of_layout() {
    for version in PyVersion::ALL {
        let map = map(version, "layout");
        for (first, last, target, what) in SNAPPED {
            for line in first..=last {
                let expected = Ok(target.unwrap_or(line));
                assert_eq!(map.snap(line), expected, "{version}, line {line}: {what}");
            }
        }
        for beyond in [53, 55, 56, 1000, u32::MAX] {
            assert_eq!(
                map.snap(beyond),
                Err(Reason::NoCodeAtLine(beyond)),
                "{version}"
            );
        }
    }
}

/// A constant default is evaluated on its own line until 3.14 folds it away.
#[test]
fn a_default_on_a_line_of_its_own() {
    let expected = [14, 14, 14, 19, 19];
    for (version, expected) in PyVersion::ALL.into_iter().zip(expected) {
        assert_eq!(map(version, "layout").snap(14), Ok(expected), "{version}");
    }
}

#[test]
fn functions_know_their_span() {
    let expected = [
        ("<module>", 1, 52, 0),
        ("decorated", 9, 34, 1),
        ("Body", 39, 48, 1),
        ("Body.method", 43, 43, 2),
        ("last", 51, 52, 1),
    ];
    for version in PyVersion::ALL {
        let map = map(version, "layout");
        let found: Vec<_> = map
            .functions
            .iter()
            .map(|function| {
                let name = function.qualname.as_str();
                (
                    name,
                    function.first_line,
                    function.last_line,
                    function.depth,
                )
            })
            .collect();
        assert_eq!(found, expected, "{version}");
    }
}

#[test]
fn breakable_lines_snap_to_themselves() {
    for fixture in fixtures::all() {
        let map = map(fixture.version, &fixture.name);
        let breakable = map.breakable();
        assert!(breakable.is_sorted_by(|a, b| a < b), "{}", fixture.label());
        for line in breakable {
            assert_eq!(map.snap(line), Ok(line), "{}", fixture.label());
        }
    }
}

/// From 3.12 on a comprehension is part of the code around it.
#[test]
fn comprehensions_are_code_of_their_own_up_to_3_11() {
    for version in PyVersion::ALL {
        let map = map(version, "comprehensions");
        let own = map
            .functions
            .iter()
            .filter(|function| function.qualname.ends_with("<listcomp>"))
            .count();
        assert_eq!(own > 0, version == PyVersion::V311, "{version}");
    }
}
