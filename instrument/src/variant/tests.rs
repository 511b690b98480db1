//! Probes where they make jumps and constants outgrow a byte; constants that code objects share.

use super::{Wanted, instrument};
use crate::PyVersion;
use crate::assemble::assemble;
use crate::decode::{Tables, index};
use crate::exctable::Handler;
use crate::fuzzing::marshalled;
use crate::instr::{Body, Instr};
use crate::linetable::Location;
use crate::marshal::Module;
use crate::prove::verify;
use crate::spec::{Spec, spec};

fn number(spec: &Spec, names: &[&str]) -> u8 {
    let found = spec.details.iter().position(|op| names.contains(&op.name));
    u8::try_from(found.expect("an opcode")).expect("one byte")
}

/// `if None:` on line 2 around `inside` units of line 3, then the end on line 4.
fn conditional(version: PyVersion, inside: usize, constants: u32) -> Vec<u8> {
    let spec = spec(version);
    let instr = |op, arg, line: u32| Instr {
        op,
        prefixes: 0,
        arg,
        location: line - 1,
    };
    let jump = number(spec, &["POP_JUMP_IF_FALSE", "POP_JUMP_FORWARD_IF_FALSE"]);
    let mut instrs = vec![
        instr(number(spec, &["RESUME"]), 0, 1),
        instr(spec.load_const, 0, 2),
        instr(jump, index(3 + inside), 2),
    ];
    instrs.extend((0..inside).map(|_| instr(number(spec, &["NOP"]), 0, 3)));
    instrs.push(instr(spec.load_const, 0, 4));
    instrs.push(instr(number(spec, &["RETURN_VALUE"]), 0, 4));
    let body = Body {
        instrs,
        locations: [1, 2, 3, 4]
            .map(|line| Location {
                line,
                end_line: line,
                column: 0,
                end_column: 1,
            })
            .to_vec(),
        ..Body::default()
    };
    module(spec, &body, constants)
}

fn module(spec: &Spec, body: &Body, constants: u32) -> Vec<u8> {
    let assembled = assemble(spec, body, 1, &mut Vec::new()).expect("it assembles");
    let tables = Tables {
        code: &assembled.code,
        linetable: &assembled.linetable,
        exceptiontable: &assembled.exceptiontable,
        first_line: 1,
    };
    marshalled(tables, constants)
}

/// EXTENDED_ARG in the code of a module.
fn prefixes(version: PyVersion, marshalled: &[u8]) -> usize {
    let module = Module::read(marshalled).expect("it can be read");
    let code = module.codes[module.root_code()].code;
    let code = module.bytes(code, "co_code").expect("it is bytes");
    let extended_arg = spec(version).extended_arg;
    code.chunks(2)
        .filter(|unit| unit[0] == extended_arg)
        .count()
}

#[test]
fn jump_over_probe_needs_extended_arg() {
    for version in PyVersion::ALL {
        for (inside, expected) in [(100, 0), (253, 1), (255, 1)] {
            let module = conditional(version, inside, 1);
            assert_eq!(prefixes(version, &module), 0, "{version}");
            let variant =
                instrument(version, &module, Wanted::Lines(&[3])).expect("it can be read");
            assert_eq!(variant.untouched, [], "{version}");
            assert_eq!(variant.sites.len(), 1, "{version}");
            assert_eq!(prefixes(version, &variant.code), expected, "{version}");
            let twice = instrument(version, &variant.code, Wanted::EveryLine);
            let twice = twice.expect("a variant can be read");
            assert_eq!(twice.untouched, [], "{version}");
        }
    }
}

#[test]
fn jump_of_a_variant_grows_to_three_bytes() {
    for version in PyVersion::ALL {
        let module = conditional(version, 65_533, 1);
        assert_eq!(prefixes(version, &module), 1, "{version}");
        let variant = instrument(version, &module, Wanted::Lines(&[3])).expect("it can be read");
        assert_eq!(variant.untouched, [], "{version}");
        assert_eq!(prefixes(version, &variant.code), 2, "{version}");
    }
}

#[test]
fn constants_outgrow_one_and_two_bytes() {
    for version in PyVersion::ALL {
        for (constants, each) in [(253, 0), (256, 1), (300, 1), (65_536, 2), (70_000, 2)] {
            let module = conditional(version, 3, constants);
            let variant = instrument(version, &module, Wanted::EveryLine).expect("it can be read");
            assert_eq!(variant.untouched, [], "{version}, {constants}");
            let added: Vec<u32> = variant.sites.iter().map(|site| site.constant).collect();
            assert_eq!(
                added,
                [constants, constants + 1, constants + 2],
                "{version}"
            );
            assert_eq!(
                prefixes(version, &variant.code),
                3 * each,
                "{version}, {constants}"
            );
            let report = verify(version, &module).expect("it can be read");
            assert_eq!(report.failures, [], "{version}, {constants}");
        }
    }
}

/// A handler whose depth no stack has: nothing overflows, the code is left alone.
#[test]
fn depth_beyond_any_stack() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let instr = |name, location| Instr {
            op: number(spec, &[name]),
            prefixes: 0,
            arg: 0,
            location,
        };
        let line = |line| Location {
            line,
            end_line: line,
            column: -1,
            end_column: -1,
        };
        for depth in [i32::MAX - 3, i32::MAX - 2, i32::MAX - 1, i32::MAX] {
            let body = Body {
                instrs: vec![
                    instr("RESUME", 0),
                    instr("LOAD_CONST", 1),
                    instr("RETURN_VALUE", 1),
                    instr("PUSH_EXC_INFO", 2),
                    instr("RERAISE", 3),
                ],
                locations: vec![line(1), line(2), line(3), line(4)],
                handlers: vec![Handler {
                    start: 1,
                    end: 3,
                    target: 3,
                    depth: depth.unsigned_abs(),
                    lasti: false,
                }],
                ..Body::default()
            };
            let module = module(spec, &body, 1);
            let variant = instrument(version, &module, Wanted::EveryLine).expect("it can be read");
            assert_eq!(variant.untouched.len(), 1, "{version}, {depth}");
        }
    }
}

/// A tuple of constants grows from a byte to an integer as its length.
#[test]
fn the_constants_tuple_gets_long() {
    let version = PyVersion::V313;
    let module = conditional(version, 3, 254);
    let variant = instrument(version, &module, Wanted::EveryLine).expect("it can be read");
    let read = Module::read(&variant.code).expect("it can be read");
    let constants = read.constants(read.root_code()).expect("a tuple");
    assert_eq!(constants.len(), 257);
}

/// The same function twice in each of `levels` shared tuples: a tree of 2**levels, stored once.
fn shared_tuples(version: PyVersion, levels: u32) -> Vec<u8> {
    let leaf = conditional(version, 3, 1);
    let plain = b"(\x01\x00\x00\x00N";
    let at = leaf
        .windows(plain.len())
        .position(|window| window == plain)
        .expect("the constants");
    let (before, after) = (&leaf[..at], &leaf[at + plain.len()..]);
    // Every level: the tuple (None, code, code), where the second code has the tuple by reference.
    let mut out = Vec::new();
    let mut tails = Vec::new();
    for level in 0..levels {
        out.extend_from_slice(before);
        out.extend_from_slice(b"\xa9\x03N");
        tails.push(level);
    }
    out.extend_from_slice(before);
    out.extend_from_slice(plain);
    out.extend_from_slice(after);
    for level in tails.into_iter().rev() {
        // The innermost tuple holds two leaves; the others a code object with the tuple inside.
        out.extend_from_slice(before);
        if level + 1 < levels {
            out.push(b'r');
            out.extend_from_slice(&(level + 1).to_le_bytes());
        } else {
            out.extend_from_slice(plain);
        }
        out.extend_from_slice(after);
        out.extend_from_slice(after);
    }
    out
}

#[test]
fn code_in_shared_constants_is_written_once() {
    for version in PyVersion::ALL {
        let module = shared_tuples(version, 24);
        let read = Module::read(&module).expect("it can be read");
        assert_eq!(read.codes.len(), 49);
        let variant = instrument(version, &module, Wanted::EveryLine).expect("it can be read");
        assert!(
            variant.code.len() < 3 * module.len(),
            "{}",
            variant.code.len()
        );
        let twice = instrument(version, &variant.code, Wanted::EveryLine);
        let twice = twice.expect("a variant can be read");
        assert_eq!((twice.code_objects, &twice.untouched[..]), (49, &[][..]));
    }
}
