//! Random sets of lines on every fixture: each passes the proof, reads again and is exact.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use instrument::{LineMap, Wanted, instrument, line_map};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures::{self, Fixture};
use crate::object;

static FIXTURES: LazyLock<Vec<(Fixture, LineMap)>> = LazyLock::new(|| {
    let mapped = |fixture: Fixture| {
        let map = line_map(fixture.version, fixture.marshalled()).expect("it can be mapped");
        (fixture, map)
    };
    fixtures::all().into_iter().map(mapped).collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_lines(which: Index, lines in vec(0u32..400, 0..12)) {
        let (fixture, map) = which.get(&FIXTURES);
        let variant = instrument(fixture.version, fixture.marshalled(), Wanted::Lines(&lines))
            .expect("a fixture can be instrumented");
        prop_assert_eq!(&variant.untouched, &[]);
        let requested: Vec<u32> = variant.lines.iter().map(|line| line.requested).collect();
        prop_assert_eq!(&requested, &lines);
        let mut actual = BTreeSet::new();
        for line in &variant.lines {
            prop_assert_eq!(&line.actual, &map.snap(line.requested));
            actual.extend(line.actual.clone());
        }
        let breakable: BTreeSet<u32> = map.breakable().into_iter().collect();
        prop_assert!(actual.is_subset(&breakable));
        let probed: BTreeSet<u32> = variant.sites.iter().map(|site| site.line).collect();
        prop_assert_eq!(probed, actual);
        let module = object::module(&variant.code);
        for site in &variant.sites {
            let constant = &module.at(&site.code.path).consts()[site.constant as usize];
            prop_assert_eq!(&**constant, &object::Object::None);
        }
    }
}
