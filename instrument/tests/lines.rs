//! `Wanted::Lines`: the lines asked for, where they snap to, and nothing else.

use instrument::{PyVersion, Reason, Snapped, Spot, Wanted, instrument};

use crate::fixtures;

fn sites_of(version: PyVersion, source: &str, lines: &[u32]) -> (Vec<(String, u32)>, Vec<Snapped>) {
    let fixture = fixtures::one(version, source);
    let variant = instrument(version, fixture.marshalled(), Wanted::Lines(lines))
        .expect("a fixture can be instrumented");
    assert_eq!(variant.untouched, []);
    let sites = variant.sites.iter();
    let mut sites: Vec<_> = sites
        .map(|site| (site.code.qualname.to_string(), site.line))
        .collect();
    sites.sort();
    (sites, variant.lines)
}

fn snapped(requested: u32, actual: u32) -> Snapped {
    Snapped {
        requested,
        actual: Ok(actual),
    }
}

#[test]
fn only_the_lines_asked_for() {
    for version in PyVersion::ALL {
        let (sites, lines) = sites_of(version, "control_flow", &[11, 7]);
        let expected = [("collatz".to_owned(), 7), ("collatz".to_owned(), 11)];
        assert_eq!(sites, expected, "{version}");
        assert_eq!(lines, [snapped(11, 11), snapped(7, 7)], "{version}");
    }
}

#[test]
fn requests_that_snap_to_one_line_share_a_probe() {
    for version in PyVersion::ALL {
        // The rest of the signature, a docstring, a comment and the first statement.
        let (sites, lines) = sites_of(version, "layout", &[13, 15, 16, 18, 19, 19]);
        assert_eq!(lines.len(), 6, "{version}");
        let actual: Vec<_> = lines.iter().map(|line| line.actual.clone()).collect();
        assert!(
            actual.iter().all(|line| *line == actual[0]),
            "{version}: {actual:?}"
        );
        assert_eq!(sites.len(), 1, "{version}");
        assert_eq!(Ok(sites[0].1), actual[0], "{version}");
    }
}

#[test]
fn lines_out_of_range_are_answered() {
    for version in PyVersion::ALL {
        let (sites, lines) = sites_of(version, "closures", &[1000, u32::MAX, 0]);
        assert_eq!(
            lines[0].actual,
            Err(Reason::NoCodeAtLine(1000)),
            "{version}"
        );
        assert_eq!(
            lines[1].actual,
            Err(Reason::NoCodeAtLine(u32::MAX)),
            "{version}"
        );
        // Before the first line means the first line, the docstring.
        assert_eq!(lines[2], snapped(0, 1), "{version}");
        assert_eq!(sites, [("<module>".to_owned(), 1)], "{version}");
    }
}

#[test]
fn a_line_of_two_code_objects_gets_a_probe_in_each() {
    for version in PyVersion::ALL {
        // `def one(x): y = x; return y`: the definition, and the body.
        let (sites, lines) = sites_of(version, "control_flow", &[50]);
        let expected = [("<module>".to_owned(), 50), ("one".to_owned(), 50)];
        assert_eq!(sites, expected, "{version}");
        assert_eq!(lines, [snapped(50, 50)], "{version}");
    }
}

#[test]
fn finally_has_a_probe_in_each_copy_and_one_constant() {
    for version in PyVersion::ALL {
        let (sites, _) = sites_of(version, "exceptions", &[26]);
        assert_eq!(sites, [("nested".to_owned(), 26)], "{version}");
    }
}

#[test]
fn spots_are_lines_of_single_code_objects() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "closures");
        let map = instrument::line_map(version, fixture.marshalled()).expect("it can be read");
        let functions = map.functions.iter();
        let inner = functions.filter(|it| it.qualname.ends_with(".decorate"));
        let path = inner.map(|it| it.path.clone()).next();
        let spots = [
            Spot { line: 9, path },
            Spot {
                line: 10,
                path: Some([].into()),
            },
            Spot {
                line: 13,
                path: None,
            },
        ];
        let made = instrument(version, fixture.marshalled(), Wanted::Spots(&spots))
            .expect("a fixture can be instrumented");
        let mut sites: Vec<_> = made
            .sites
            .iter()
            .map(|site| (&*site.code.qualname, site.line))
            .collect();
        sites.sort_unstable();
        let expected = [
            ("traced.<locals>.decorate", 9),
            ("traced.<locals>.decorate.<locals>.call", 13),
        ];
        // Line 10 is not in the module body, and nothing snaps.
        assert_eq!(sites, expected, "{version}");
        assert!(made.lines.is_empty());
    }
}
