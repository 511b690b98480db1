//! Sites point where they say: the variant is parsed again by a reader of the tests' own.

use std::collections::BTreeSet;

use instrument::{Wanted, instrument, line_map};

use crate::fixtures;
use crate::object::{self, Code, Object};

#[test]
fn placeholders_stand_behind_the_constants_of_the_original() {
    for fixture in fixtures::all() {
        let label = fixture.label();
        let variant = instrument(fixture.version, fixture.marshalled(), Wanted::EveryLine)
            .expect("a fixture can be instrumented");
        let before = object::module(fixture.marshalled());
        let after = object::module(&variant.code);
        assert!(!variant.sites.is_empty(), "{label}");
        let mut seen = BTreeSet::new();
        for site in &variant.sites {
            let (old, new) = (before.at(&site.code.path), after.at(&site.code.path));
            assert_eq!(new.qualname(), &*site.code.qualname, "{label}");
            assert_eq!(
                *new.consts()[site.constant as usize],
                Object::None,
                "{label}"
            );
            assert!(site.constant as usize >= old.consts().len(), "{label}");
            assert!(
                seen.insert((site.code.path.clone(), site.constant)),
                "{label}: twice"
            );
        }
        compare(&before, &after, &label);
    }
}

/// Only code, its tables, added constants and the stack size may differ.
fn compare(before: &Code, after: &Code, label: &str) {
    let [counts @ .., old_stack, flags, first] = before.numbers;
    let [counts_after @ .., new_stack, flags_after, first_after] = after.numbers;
    assert_eq!(
        (counts, flags, first),
        (counts_after, flags_after, first_after),
        "{label}"
    );
    assert!((old_stack..=old_stack + 2).contains(&new_stack), "{label}");
    assert_eq!(before.names, after.names, "{label}");
    let (old, new) = (before.consts(), after.consts());
    let (kept, added) = new.split_at(old.len());
    assert!(
        added.iter().all(|object| **object == Object::None),
        "{label}"
    );
    for (old, new) in old.iter().zip(kept) {
        match (&**old, &**new) {
            (Object::Code(old), Object::Code(new)) => compare(old, new, label),
            (old, new) => assert_eq!(old, new, "{label}"),
        }
    }
}

#[test]
fn every_breakable_line_of_every_function_has_one_site() {
    for fixture in fixtures::all() {
        let variant = instrument(fixture.version, fixture.marshalled(), Wanted::EveryLine)
            .expect("a fixture can be instrumented");
        let map = line_map(fixture.version, fixture.marshalled()).expect("it can be mapped");
        let mut expected: Vec<(&str, u32)> = map
            .functions
            .iter()
            .flat_map(|function| {
                let name = function.qualname.as_str();
                function.lines.iter().map(move |&line| (name, line))
            })
            .collect();
        let mut found: Vec<(&str, u32)> = variant
            .sites
            .iter()
            .map(|site| (&*site.code.qualname, site.line))
            .collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{}", fixture.label());
        assert_eq!(map.functions.len(), variant.code_objects as usize);
    }
}
