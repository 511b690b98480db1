//! Generated instruction sequences survive assembly; arguments and jumps get the prefixes they
//! need.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Assembled, assemble, prefixes_for};
use crate::PyVersion;
use crate::decode::{Tables, decode, index};
use crate::error::Reason;
use crate::exctable::Handler;
use crate::instr::{Body, Instr};
use crate::linetable::Location;
use crate::spec::{Role, Spec, Target, spec};

fn number(spec: &Spec, name: &str) -> u8 {
    let found = spec.details.iter().position(|op| op.name == name);
    u8::try_from(found.expect("an opcode")).expect("one byte")
}

fn on_line(line: i32) -> Location {
    Location {
        line,
        end_line: line,
        column: 0,
        end_column: 1,
    }
}

fn decoded(spec: &Spec, assembled: &Assembled) -> Result<Body, Reason> {
    let tables = Tables {
        code: &assembled.code,
        linetable: &assembled.linetable,
        exceptiontable: &assembled.exceptiontable,
        first_line: 1,
    };
    let mut body = Body::default();
    decode(spec, tables, &mut body).map(|()| body)
}

/// What an instruction is made from: opcode, argument or target, prefixes, line.
type Part = (Index, u32, Index, u8, i32);

fn part() -> impl Strategy<Value = Part> {
    let arg = prop_oneof![
        4 => 0..256u32,
        1 => select(&[255, 256, 65_535, 65_536, 0xff_ffff, 0x100_0000, u32::MAX][..]),
        1 => any::<u32>(),
    ];
    let prefixes = prop_oneof![9 => Just(0), 1 => 0..=3u8];
    (any::<Index>(), arg, any::<Index>(), prefixes, 1..6i32)
}

/// A body in which every jump goes the way its opcode says.
fn body(spec: &Spec, parts: &[Part], ranges: &[(Index, u32, u32, Index, bool)]) -> Body {
    let known: Vec<u8> = (0..=u8::MAX)
        .filter(|&op| {
            let role = spec.ops[usize::from(op)].role;
            role != Role::Unknown && role != Role::ExtendedArg
        })
        .collect();
    let mut body = Body::default();
    for (position, (op, arg, target, prefixes, line)) in parts.iter().enumerate() {
        let op = *op.get(&known);
        let ahead = parts.len() - 1 - position;
        let (op, arg) = match spec.ops[usize::from(op)].target {
            Target::None => (op, *arg),
            Target::Forward if ahead == 0 => (spec.pop_top, 0),
            Target::Forward => (op, index(position + 1 + target.index(ahead))),
            Target::Backward => (op, index(target.index(position + 1))),
        };
        body.locations.push(on_line(*line));
        body.instrs.push(Instr {
            op,
            prefixes: *prefixes,
            arg,
            location: index(position),
        });
    }
    let count = index(parts.len());
    let mut from = 0;
    for (target, gap, length, depth, lasti) in ranges {
        let start = from + gap;
        let end = start + length;
        if end > count {
            break;
        }
        from = end;
        body.handlers.push(Handler {
            start,
            end,
            target: index(target.index(parts.len())),
            depth: u32::try_from(depth.index(9)).unwrap_or_default(),
            lasti: *lasti,
        });
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sequences_survive_assembly(
        version in select(&PyVersion::ALL[..]),
        parts in vec(part(), 1..400),
        ranges in vec((any::<Index>(), 0..9u32, 1..9u32, any::<Index>(), any::<bool>()), 0..9),
    ) {
        let spec = spec(version);
        let original = body(spec, &parts, &ranges);
        let assembled = assemble(spec, &original, 1, &mut Vec::new())
            .map_err(|reason| TestCaseError::fail(reason.to_string()))?;
        let again = decoded(spec, &assembled)
            .map_err(|reason| TestCaseError::fail(reason.to_string()))?;
        prop_assert_eq!(again.instrs.len(), original.instrs.len());
        for position in 0..original.instrs.len() {
            let (ours, theirs) = (again.instrs[position], original.instrs[position]);
            prop_assert_eq!((ours.op, ours.arg), (theirs.op, theirs.arg));
            prop_assert!(ours.prefixes >= theirs.prefixes);
            if spec.ops[usize::from(ours.op)].target == Target::None {
                prop_assert_eq!(ours.prefixes, theirs.prefixes.max(prefixes_for(theirs.arg)));
            }
            let location = |body: &Body| body.locations[body.instrs[position].location as usize];
            prop_assert_eq!(location(&again), location(&original));
        }
        prop_assert_eq!(&again.handlers, &original.handlers);
        let twice = assemble(spec, &again, 1, &mut Vec::new());
        prop_assert_eq!(twice, Ok(assembled));
    }
}

/// A jump over `distance` NOPs, and one back.
fn jumps(spec: &Spec, distance: u32) -> Body {
    let instr = |op, arg| Instr {
        op,
        prefixes: 0,
        arg,
        location: 0,
    };
    let nop = instr(number(spec, "NOP"), 0);
    let mut instrs = vec![instr(spec.jump_forward, distance + 1)];
    instrs.extend((0..distance).map(|_| nop));
    instrs.push(instr(number(spec, "JUMP_BACKWARD"), 1));
    Body {
        instrs,
        locations: vec![on_line(1)],
        ..Body::default()
    }
}

#[test]
fn a_jump_gets_the_prefixes_its_distance_needs() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        for (distance, expected) in [
            (0, 0),
            (200, 0),
            (255, 0),
            (256, 1),
            (65_535, 1),
            (65_536, 2),
        ] {
            let body = jumps(spec, distance);
            let assembled = assemble(spec, &body, 1, &mut Vec::new()).expect("it assembles");
            let read = decoded(spec, &assembled).expect("it decodes");
            assert_eq!(read.instrs[0].prefixes, expected, "{version}, {distance}");
            assert_eq!(read.instrs[0].arg, distance + 1, "{version}, {distance}");
            // The jump back counts itself, its prefixes and its cache.
            let back = read.instrs.last().expect("a jump back");
            let size = 1 + u32::from(spec.ops[usize::from(back.op)].caches);
            let needed = prefixes_for(distance + size + u32::from(back.prefixes));
            assert_eq!(back.prefixes, needed, "{version}, {distance}");
            assert_eq!(back.arg, 1, "{version}, {distance}");
        }
    }
}

/// Widening one jump pushes the target of another over the edge.
#[test]
fn jumps_that_widen_each_other() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let mut body = jumps(spec, 255);
        // Inside the first jump, and itself too far by one.
        let far = index(body.instrs.len());
        body.instrs[1].op = spec.jump_forward;
        body.instrs[1].arg = far;
        body.instrs.extend([body.instrs[2]; 20]);
        let assembled = assemble(spec, &body, 1, &mut Vec::new()).expect("it assembles");
        let read = decoded(spec, &assembled).expect("it decodes");
        assert_eq!((read.instrs[0].prefixes, read.instrs[1].prefixes), (1, 1));
        assert_eq!((read.instrs[0].arg, read.instrs[1].arg), (256, far));
    }
}

#[test]
fn a_jump_the_wrong_way_is_refused() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let mut body = jumps(spec, 3);
        body.instrs[4].arg = 0;
        body.instrs[0].arg = 0;
        let refused = assemble(spec, &body, 1, &mut Vec::new());
        assert_eq!(refused, Err(Reason::BadJump), "{version}");
    }
}
