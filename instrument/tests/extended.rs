//! Arguments and jumps of more than eight bits.

use instrument::{PyVersion, Wanted, disassemble, instrument};

use crate::fixtures;
use crate::object::{self, Object};

/// Instructions whose opcode byte is EXTENDED_ARG in the code of `long`.
fn prefixes(version: PyVersion, module: &[u8]) -> usize {
    let module = object::module(module);
    let long = module.consts().iter().find_map(|object| match &**object {
        Object::Code(code) if code.qualname() == "long" => Some(code),
        _ => None,
    });
    let Object::Bytes(code) = &*long.expect("there is `long`").code else {
        panic!("co_code is no bytes");
    };
    let extended_arg = match version {
        PyVersion::V311 | PyVersion::V312 => 144,
        PyVersion::V313 => 71,
        PyVersion::V314 => 69,
        PyVersion::V315 => 67,
    };
    code.chunks(2)
        .filter(|unit| unit[0] == extended_arg)
        .count()
}

#[test]
fn more_than_255_constants() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "extended_args");
        let variant = instrument(version, fixture.marshalled(), Wanted::EveryLine)
            .expect("a fixture can be instrumented");
        let long = variant
            .sites
            .iter()
            .filter(|site| &*site.code.qualname == "long");
        let constants: Vec<u32> = long.map(|site| site.constant).collect();
        assert!(constants.len() > 300, "{version}");
        assert!(
            constants.iter().any(|&constant| constant > 255),
            "{version}"
        );
        let before = prefixes(version, fixture.marshalled());
        assert!(before > 0, "{version}: the fixture has no EXTENDED_ARG");
        assert!(prefixes(version, &variant.code) > before + 300, "{version}");
    }
}

#[test]
fn one_probe_keeps_the_prefixes_of_the_compiler() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "extended_args");
        let variant = instrument(version, fixture.marshalled(), Wanted::Lines(&[100]))
            .expect("a fixture can be instrumented");
        let [site] = &variant.sites[..] else {
            panic!("{version}: {:?}", variant.sites);
        };
        let own = usize::from(site.constant > 255);
        let added = prefixes(version, &variant.code) - prefixes(version, fixture.marshalled());
        assert_eq!(added, own, "{version}");
        let twice = instrument(version, &variant.code, Wanted::EveryLine);
        let twice = twice.expect("a variant can be read");
        assert_eq!(twice.untouched, [], "{version}");
        let printed = disassemble(version, &variant.code, Some("long")).expect("it prints");
        let load = format!("LOAD_CONST {}\n", site.constant);
        assert_eq!(printed.matches(&load).count(), 1, "{version}");
    }
}
