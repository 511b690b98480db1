//! The printed form of variants, as it stands in `snapshots/`.
//!
//! `INSTA_UPDATE=always cargo test -p dapper-instrument` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use instrument::{PyVersion, Wanted, disassemble, instrument};

use crate::fixtures;

/// Source, function, and lines that get a probe (none: every line).
const SHOWN: [(&str, &str, &[u32]); 3] = [
    ("control_flow", "search", &[]),
    ("exceptions", "bare", &[]),
    ("closures", "add.<locals>.inner", &[31]),
];

fn snapshot_name(version: PyVersion, source: &str, function: &str) -> String {
    let function = function.replace(['.', '<', '>'], "_");
    format!("{source}_{function}_{version}")
}

#[test]
fn variants_look_as_recorded() {
    for version in PyVersion::ALL {
        for (source, function, lines) in SHOWN {
            let fixture = fixtures::one(version, source);
            let wanted = match lines {
                [] => Wanted::EveryLine,
                lines => Wanted::Lines(lines),
            };
            let variant = instrument(version, fixture.marshalled(), wanted)
                .expect("a fixture can be instrumented");
            let printed = disassemble(version, &variant.code, Some(function))
                .expect("a variant can be printed");
            let name = snapshot_name(version, source, function);
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_snapshot!(name, printed);
            });
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "snapshots are files")]
fn every_snapshot_belongs_to_a_test() {
    let expected: BTreeSet<String> = PyVersion::ALL
        .into_iter()
        .flat_map(|version| {
            SHOWN.map(|(source, function, _)| {
                format!("{}.snap", snapshot_name(version, source, function))
            })
        })
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let found: BTreeSet<String> = fs::read_dir(folder)
        .expect("there are snapshots")
        .map(|entry| entry.expect("an entry can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| !name.ends_with(".snap.new"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn an_unknown_function_is_named() {
    let fixture = fixtures::one(PyVersion::V313, "closures");
    let error = disassemble(fixture.version, fixture.marshalled(), Some("nowhere"))
        .expect_err("there is no such function");
    assert_eq!(error.to_string(), "no function named nowhere");
}
