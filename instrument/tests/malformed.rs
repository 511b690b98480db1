//! Bytes that no interpreter wrote: an error or an honest answer, never a panic.

use instrument::{
    Error, ErrorKind, PyVersion, Reason, Untouched, Wanted, check_module, disassemble, instrument,
    line_map, verify,
};

use crate::fixtures;
use crate::object::{self, Object};

/// Everything that takes marshal data; a variant of it must be readable.
fn try_all(version: PyVersion, marshalled: &[u8]) -> Result<(), Error> {
    let map = line_map(version, marshalled);
    assert_eq!(check_module(marshalled).is_ok(), map.is_ok());
    let map = map?;
    let every = instrument(version, marshalled, Wanted::EveryLine)?;
    line_map(version, &every.code).expect("a variant can be read");
    let some = map.breakable().into_iter().take(1).chain([3, 900]);
    instrument(
        version,
        marshalled,
        Wanted::Lines(&some.collect::<Vec<_>>()),
    )?;
    verify(version, marshalled)?;
    disassemble(version, marshalled, None).map(drop)
}

fn kind(marshalled: &[u8]) -> ErrorKind {
    let error = try_all(PyVersion::V313, marshalled).expect_err("it is malformed");
    error.kind
}

/// A code object with these bytes as its constants.
fn with_constants(constants: &[u8]) -> Vec<u8> {
    let mut out = vec![b'c' | 0x80];
    out.extend([0; 20]);
    out.extend(b"s\0\0\0\0");
    out.extend(constants);
    out.extend(b")\0)\0s\0\0\0\0z\x01fz\x01nz\x01q");
    out.extend(1i32.to_le_bytes());
    out.extend(b"s\0\0\0\0s\0\0\0\0");
    out
}

#[test]
fn cut_off_at_every_byte() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "layout");
        let whole = fixture.marshalled();
        for length in 0..whole.len() {
            let error = try_all(version, &whole[..length]).expect_err("it is cut off");
            assert_eq!(error.kind, ErrorKind::Truncated, "{version} at {length}");
        }
        let longer = [whole, b"N"].concat();
        let error = try_all(version, &longer).expect_err("it is too long");
        assert_eq!(error.kind, ErrorKind::TrailingBytes(1));
        assert_eq!(error.offset, Some(whole.len()));
    }
}

#[test]
fn every_byte_changed() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "layout");
        let mut bytes = fixture.marshalled().to_vec();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x04, 0x10, 0x40, 0x80, 0xff] {
                bytes[at] ^= flip;
                let _ = try_all(version, &bytes);
                bytes[at] ^= flip;
            }
        }
        try_all(version, &bytes).expect("it is whole again");
    }
}

#[test]
fn read_as_another_version() {
    for fixture in fixtures::all() {
        for version in PyVersion::ALL {
            let _ = try_all(version, fixture.marshalled());
        }
    }
}

#[test]
fn references_to_nothing() {
    // Reference 0 is the code object itself, which is not complete yet.
    let itself = with_constants(b")\x01r\0\0\0\0");
    assert_eq!(kind(&itself), ErrorKind::BadReference(0));
    let tuple_in_itself = with_constants(b"\xa9\x01r\x01\0\0\0");
    assert_eq!(kind(&tuple_in_itself), ErrorKind::BadReference(1));
    let beyond = with_constants(b")\x01r\x09\0\0\0");
    assert_eq!(kind(&beyond), ErrorKind::BadReference(9));
    let negative = with_constants(b")\x01r\xff\xff\xff\xff");
    assert_eq!(kind(&negative), ErrorKind::BadReference(-1));
}

#[test]
fn singletons_take_no_reference_number() {
    // CPython ignores the bit on None: reference 1 is the tuple inside.
    let constants = with_constants(b")\x03\xce\xa9\x00r\x01\0\0\0");
    assert_eq!(line_map(PyVersion::V313, &constants).map(drop), Ok(()));
}

#[test]
fn lengths_that_make_no_sense() {
    let huge = i32::MAX.to_le_bytes();
    for tag in *b"(<>[suaAt" {
        let constants = [&[tag][..], &huge].concat();
        assert_eq!(
            kind(&with_constants(&constants)),
            ErrorKind::Truncated,
            "{tag}"
        );
        let constants = [&[tag][..], &(-5i32).to_le_bytes()].concat();
        assert_eq!(
            kind(&with_constants(&constants)),
            ErrorKind::BadLength(-5),
            "{tag}"
        );
    }
    for digits in [i32::MAX, i32::MIN] {
        let constants = [&b"l"[..], &digits.to_le_bytes()].concat();
        assert_eq!(kind(&with_constants(&constants)), ErrorKind::Truncated);
    }
}

#[test]
fn fields_of_the_wrong_type() {
    assert_eq!(kind(b"N"), ErrorKind::NotCode);
    assert_eq!(kind(b""), ErrorKind::Truncated);
    assert_eq!(kind(b"0"), ErrorKind::UnexpectedNull);
    assert_eq!(kind(b"?"), ErrorKind::UnknownType(b'?'));
    assert_eq!(
        kind(&with_constants(b"N")),
        ErrorKind::BadField("co_consts")
    );
    assert_eq!(
        kind(&with_constants(b"[\0\0\0\0")),
        ErrorKind::BadField("co_consts")
    );
    assert_eq!(kind(&with_constants(b")\x010")), ErrorKind::UnexpectedNull);
    let mut code = with_constants(b")\0");
    code[21] = b'z';
    assert_ne!(try_all(PyVersion::V313, &code), Ok(()));
}

/// The code of one function becomes unknown; the rest is instrumented all the same.
#[test]
fn a_function_that_is_not_understood_is_left_alone() {
    for version in PyVersion::ALL {
        let fixture = fixtures::one(version, "closures");
        let mut bytes = fixture.marshalled().to_vec();
        let module = object::module(&bytes);
        let code_of = |module: &object::Code| {
            let recurse = module.consts().iter().find_map(|object| match &**object {
                Object::Code(code) if code.qualname() == "recurse" => Some(code.code.clone()),
                _ => None,
            });
            match &*recurse.expect("there is `recurse`") {
                Object::Bytes(code) => code.clone(),
                other => panic!("co_code is {other:?}"),
            }
        };
        let code = code_of(&module);
        let at = bytes.windows(code.len()).position(|window| *window == code);
        bytes[at.expect("the code is there")] = 0;

        let reason = Reason::UnknownOpcode(0);
        let untouched = [Untouched {
            qualname: "recurse".to_owned(),
            first_line: 31,
            reason: reason.clone(),
        }];
        let variant = instrument(version, &bytes, Wanted::EveryLine).expect("it can be read");
        assert_eq!(variant.untouched, untouched, "{version}");
        assert!(
            variant
                .sites
                .iter()
                .any(|site| &*site.code.qualname == "add"),
            "{version}"
        );
        assert!(
            variant
                .sites
                .iter()
                .all(|site| &*site.code.qualname != "recurse"),
            "{version}"
        );
        let kept = code_of(&object::module(&variant.code));
        assert_eq!((kept[0], &kept[1..]), (0, &code[1..]), "{version}");

        let wanted = Wanted::Lines(&[32, 43]);
        let lines = instrument(version, &bytes, wanted)
            .expect("it can be read")
            .lines;
        assert_eq!(lines[0].actual, Err(reason), "{version}");
        assert_eq!(lines[1].actual, Ok(43), "{version}");
        let report = verify(version, &bytes).expect("it can be read");
        assert_eq!(report.untouched, untouched, "{version}");
        assert_eq!(report.failures, [], "{version}");
        let printed = disassemble(version, &bytes, Some("recurse")).expect("it prints");
        assert!(
            printed.ends_with("untouched: unknown opcode 0\n"),
            "{printed}"
        );
    }
}

fn nested_tuples(depth: usize) -> Vec<u8> {
    let mut constants = b")\x01".repeat(depth);
    constants.push(b'N');
    with_constants(&constants)
}

fn nested_code(depth: usize) -> Vec<u8> {
    let mut code = with_constants(b")\0");
    for _ in 0..depth {
        code = with_constants(&[b")\x01", &code[..]].concat());
    }
    code
}

/// Threads that Rust starts have 2 MiB of stack, and so have most of those of others.
fn on_a_small_stack(action: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let thread = thread.spawn(action).expect("a thread can be started");
    thread.join().expect("the thread ends well");
}

#[test]
fn deep_nesting_stays_on_the_stack() {
    on_a_small_stack(|| {
        let deepest = nested_tuples(1998);
        assert_eq!(try_all(PyVersion::V313, &deepest), Ok(()));
        for depth in [2000, 100_000] {
            assert_eq!(kind(&nested_tuples(depth)), ErrorKind::TooDeep(2000));
        }
        assert_eq!(try_all(PyVersion::V313, &nested_code(990)), Ok(()));
        assert_eq!(kind(&nested_code(1100)), ErrorKind::TooDeep(2000));
    });
}
