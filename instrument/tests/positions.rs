//! What a column means on a shared line, and where functions start, in
//! `fixtures/source/shared_lines.py`.

use instrument::{FunctionPattern, LineMap, Position, PyVersion, Reason, line_map};

use crate::fixtures;

fn map(version: PyVersion) -> LineMap {
    let fixture = fixtures::one(version, "shared_lines");
    line_map(version, fixture.marshalled()).expect("a fixture can be mapped")
}

/// Line, first and last column of a stretch, and the code that is meant there. Columns count
/// bytes: `é` and `ü` are two.
const MEANT: [(u32, u32, u32, &str); 17] = [
    (4, 0, 20, "<module>"),
    (4, 21, 40, "apply"),
    (7, 0, 14, "<module>"),
    (7, 15, 29, "<lambda>"),
    (7, 30, 42, "<module>"),
    (7, 43, 63, "<genexpr>"),
    (7, 64, 69, "<module>"),
    (7, 70, 81, "<lambda>"),
    (7, 82, 100, "<module>"),
    (8, 9, 16, "<lambda>"),
    (8, 17, 33, "<lambda>.<locals>.<lambda>"),
    (8, 34, 60, "<module>"),
    (10, 4, 14, "<genexpr>"),
    (10, 37, 54, "<lambda>"),
    (11, 19, 27, "<lambda>"),
    (30, 17, 28, "Body.items"),
    (30, 29, 37, "Body.items.<locals>.<lambda>"),
];

#[test]
fn a_column_means_the_innermost_code_around_it() {
    for version in PyVersion::ALL {
        let map = map(version);
        for (line, first, last, expected) in MEANT {
            for column in first..=last {
                let meant = map.snap_at(line, Some(column)).expect("the line has code");
                assert_eq!(meant.line, line, "{version}");
                let function = meant.function.expect("a shared line");
                let qualname = &map.functions[function].qualname;
                assert_eq!(qualname, expected, "{version}, {line}:{column}");
            }
        }
    }
}

#[test]
fn all_code_of_a_line_is_meant_where_no_column_says_otherwise() {
    for version in PyVersion::ALL {
        let map = map(version);
        let all = |line| {
            Ok(Position {
                line,
                function: None,
            })
        };
        assert_eq!(map.snap_at(7, None), all(7), "{version}: no column");
        assert_eq!(
            map.snap_at(26, Some(12)),
            all(26),
            "{version}: one code object"
        );
        assert_eq!(map.snap_at(6, Some(15)), all(7), "{version}: another line");
        let beyond = Err(Reason::NoCodeAtLine(99));
        assert_eq!(map.snap_at(99, Some(0)), beyond, "{version}");
        // The code for annotations is not to be found by a column.
        let method = map.snap_at(19, Some(27)).expect("the line has code");
        assert_eq!(method.function, None, "{version}");
        // The event of a function that does nothing is on the line of its `def`.
        let documented = map.snap_at(40, Some(4)).expect("the line has code");
        let functions = documented.function.map(|it| &*map.functions[it].qualname);
        assert_eq!(functions, Some("Body"), "{version}");
    }
}

#[test]
fn code_is_found_where_it_begins() {
    for fixture in fixtures::all() {
        let map = line_map(fixture.version, fixture.marshalled()).expect("it can be mapped");
        for line in map.breakable() {
            let spans = map.spans(line);
            assert!(spans.is_sorted_by_key(|span| (span.start, span.function)));
            for span in spans {
                assert!(span.start < span.end, "{}", fixture.label());
                assert!(map.functions[span.function].lines.contains(&line));
                let found = map.snap_at(line, Some(span.start)).expect("it has code");
                let found = spans.iter().find(|it| Some(it.function) == found.function);
                let found = found.expect("one of the line");
                assert!((found.start..found.end).contains(&span.start));
                assert!(found.end - found.start <= span.end - span.start);
            }
        }
    }
}

/// The pattern, and the functions with the lines of their first statements.
const ENTRIES: [(&str, &[(&str, u32)]); 9] = [
    ("apply", &[("apply", 4)]),
    ("Body.method", &[("Body.method", 26)]),
    (
        "Body.*",
        &[
            ("Body.method", 26),
            ("Body.items", 30),
            ("Body.coroutine", 33),
            ("Body.loop", 37),
            ("Body.only_documented", 40),
            ("Body.outer", 44),
        ],
    ),
    ("*.l[!o]op", &[]),
    ("*.l[no]?p", &[("Body.loop", 37)]),
    ("shared_lines:*.items", &[("Body.items", 30)]),
    (
        "Body.outer.<locals>.inner",
        &[("Body.outer.<locals>.inner", 45)],
    ),
    ("Body", &[]),
    ("nothing", &[]),
];

#[test]
fn functions_start_behind_their_docstrings() {
    for version in PyVersion::ALL {
        let map = map(version);
        for (pattern, expected) in ENTRIES {
            let parsed = FunctionPattern::parse(pattern).expect(pattern);
            let entries = map.entries(&parsed);
            let found = entries.iter().map(|entry| {
                let qualname = &*map.functions[entry.function].qualname;
                (qualname, entry.line.clone().expect("it has code"))
            });
            assert_eq!(found.collect::<Vec<_>>(), expected, "{version}, {pattern}");
        }
    }
}

/// Generators and coroutines have their prologue in front of the first statement.
#[test]
fn entries_raise_line_events() {
    for fixture in fixtures::all() {
        let map = line_map(fixture.version, fixture.marshalled()).expect("it can be mapped");
        let every = FunctionPattern::parse("*<locals>*").expect("a pattern");
        let every = map.entries(&every);
        let outer = FunctionPattern::parse("*").expect("a pattern");
        for entry in map.entries(&outer).into_iter().chain(every) {
            let function = &map.functions[entry.function];
            let line = entry.line.expect("fixtures are understood");
            assert!(function.is_function && function.lines.contains(&line));
            let label = fixture.label();
            assert!(line >= function.first_line, "{label} {}", function.qualname);
        }
    }
}
