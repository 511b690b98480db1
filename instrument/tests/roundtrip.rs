//! Every promise of `verify` on every fixture: nothing fails, nothing is left alone.

use instrument::verify;

use crate::fixtures;

#[test]
fn every_code_object_takes_probes_and_gives_them_back() {
    for fixture in fixtures::all() {
        let report = verify(fixture.version, fixture.marshalled()).expect("a fixture can be read");
        let label = fixture.label();
        assert_eq!(report.failures, [], "{label}");
        assert_eq!(report.untouched, [], "{label}");
        assert!(report.code_objects > 0, "{label}");
        assert_eq!(
            report.code_objects,
            report.instrumented + report.without_lines,
            "{label}"
        );
    }
}

#[test]
fn no_lines_wanted_changes_no_byte() {
    for fixture in fixtures::all() {
        let wanted = instrument::Wanted::Lines(&[]);
        let variant = instrument::instrument(fixture.version, fixture.marshalled(), wanted)
            .expect("a fixture can be read");
        assert_eq!(variant.code, fixture.marshalled(), "{}", fixture.label());
        assert_eq!(variant.sites, [], "{}", fixture.label());
    }
}
