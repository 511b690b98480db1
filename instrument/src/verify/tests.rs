//! A good variant with one thing broken: each invariant is the one that notices.

use std::fs;
use std::path::Path;

use super::{Claim, Verifier};
use crate::PyVersion;
use crate::assemble::{Assembled, assemble};
use crate::decode::{decode, index};
use crate::error::Reason;
use crate::exctable::Handler;
use crate::instr::{Body, Instr};
use crate::linetable::Location;
use crate::marshal::Module;
use crate::pyc;
use crate::spec::{Spec, Target, spec};
use crate::variant::Engine;

/// Everything that a proof is about.
struct Case {
    spec: &'static Spec,
    original: Body,
    depths: Vec<i32>,
    /// The variant, decoded.
    variant: Body,
    first_line: i32,
    first_constant: u32,
    lines: Vec<u32>,
    stacksize: i32,
}

impl Case {
    /// `leaving` of `fixtures/source/exceptions.py`, a probe on every line.
    #[expect(clippy::disallowed_methods, reason = "fixtures are files")]
    fn good(version: PyVersion) -> Self {
        let path = format!("../fixtures/pyc/{version}/exceptions.pyc");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let bytes = fs::read(path).expect("the fixture can be read");
        let (_, marshalled) = pyc::read(&bytes).expect("a header");
        let module = Module::read(marshalled).expect("a module");
        let code = (0..module.codes.len())
            .find(|&code| {
                let name = module.text(module.codes[code].qualname, "co_qualname");
                name.is_ok_and(|name| name == "leaving")
            })
            .expect("there is `leaving`");
        let spec = spec(version);
        let mut engine = Engine::default();
        let edited = engine
            .edit(spec, &module, code, |_| true)
            .expect("the tables are there")
            .expect("it is understood")
            .expect("it has lines");
        let first_line = module.codes[code].firstlineno;
        let mut variant = Body::default();
        let tables = engine.splice.written.tables(first_line);
        decode(spec, tables, &mut variant).expect("it can be decoded");
        Self {
            spec,
            original: engine.analysis.body,
            depths: engine.analysis.depths,
            variant,
            first_line,
            first_constant: edited.first_constant,
            lines: engine.injection.lines,
            stacksize: edited.stacksize,
        }
    }

    fn assembled(&self) -> Assembled {
        assemble(self.spec, &self.variant, self.first_line, &mut Vec::new())
            .expect("it can be assembled")
    }

    fn check(&self, variant: &Assembled) -> Result<(), Reason> {
        let original = assemble(self.spec, &self.original, self.first_line, &mut Vec::new());
        let original = original.expect("it can be assembled");
        let claim = Claim {
            original: original.tables(self.first_line),
            first_constant: self.first_constant,
            lines: &self.lines,
            stacksize: self.stacksize,
        };
        let mut verifier = Verifier::default();
        verifier.check(self.spec, &self.original, &self.depths, variant, &claim)
    }

    /// Where probes start in the variant.
    fn probes(&self) -> Vec<usize> {
        let loads =
            |instr: &Instr| instr.op == self.spec.load_const && instr.arg >= self.first_constant;
        (0..self.variant.instrs.len())
            .filter(|&at| loads(&self.variant.instrs[at]))
            .collect()
    }

    /// The first instruction of the variant that was copied and holds for `accepts`.
    fn copied(&self, accepts: impl Fn(&Instr, Target) -> bool) -> usize {
        let probes = self.probes();
        let in_probe = |at: usize| probes.iter().any(|&probe| (probe..probe + 3).contains(&at));
        let instrs = self.variant.instrs.iter().enumerate();
        let mut found = instrs.filter(|&(at, instr)| {
            let target = self.spec.ops[usize::from(instr.op)].target;
            !in_probe(at) && instr.op != self.spec.jump_forward && accepts(instr, target)
        });
        found.next().expect("there is such an instruction").0
    }
}

/// Breaks the variant before assembly.
fn broken(breaks: impl Fn(&mut Case)) {
    broken_as(None, breaks);
}

fn broken_as(expected: Option<&'static str>, breaks: impl Fn(&mut Case)) {
    for version in PyVersion::ALL {
        let mut case = Case::good(version);
        assert_eq!(case.check(&case.assembled()), Ok(()), "{version}");
        breaks(&mut case);
        let found = case.check(&case.assembled());
        let expected = expected.map_or(Ok(()), |message| Err(Reason::Verification(message)));
        assert_eq!(found, expected, "{version}");
    }
}

/// Breaks the bytes.
fn broken_bytes(expected: impl Fn(&Case) -> Reason, breaks: impl Fn(&Case, &mut Assembled)) {
    for version in PyVersion::ALL {
        let case = Case::good(version);
        let mut assembled = case.assembled();
        breaks(&case, &mut assembled);
        assert_eq!(case.check(&assembled), Err(expected(&case)), "{version}");
    }
}

#[test]
fn nothing_broken_passes() {
    broken(|_| {});
}

#[test]
fn half_an_instruction() {
    broken_bytes(|_| Reason::OddLength, |_, bytes| bytes.code.push(0));
}

#[test]
fn another_opcode() {
    broken_bytes(
        |_| Reason::Verification("an instruction changed"),
        |case, bytes| bytes.code[0] = case.spec.pop_top,
    );
}

#[test]
fn a_cache_that_is_filled() {
    broken_bytes(
        |_| Reason::Verification("the code is cut short"),
        |case, bytes| {
            let last = (0..case.variant.instrs.len())
                .rfind(|&at| case.variant.op(case.spec, at).caches > 0)
                .expect("there is a cache");
            let cache = case.variant.units[last + 1] as usize - 1;
            bytes.code[2 * cache] = 1;
        },
    );
}

#[test]
fn a_line_table_that_ends_early() {
    broken_bytes(|_| Reason::BadLineTable, |_, bytes| bytes.linetable.clear());
}

#[test]
fn a_line_table_that_goes_on() {
    broken_bytes(
        |_| Reason::Verification("something follows the code"),
        |_, bytes| bytes.linetable.push(0xf8),
    );
}

#[test]
fn an_exception_table_that_ends_early() {
    broken_bytes(
        |_| Reason::BadExceptionTable,
        |_, bytes| bytes.exceptiontable.truncate(1),
    );
}

#[test]
fn a_protected_range_beyond_the_code() {
    broken_bytes(
        |_| Reason::Verification("a protected range is cut wrongly"),
        |_, bytes| bytes.exceptiontable.extend([0xff, 0x7f, 0x3f, 1, 0, 0]),
    );
}

#[test]
fn an_instruction_more() {
    broken_as(Some("something follows the code"), |case| {
        let last = *case.variant.instrs.last().expect("instructions");
        case.variant.instrs.push(last);
    });
}

#[test]
fn an_instruction_less() {
    broken_as(Some("the code is cut short"), |case| {
        let end = index(case.variant.instrs.len()) - 1;
        case.variant.instrs.pop();
        for handler in &mut case.variant.handlers {
            handler.end = handler.end.min(end);
        }
    });
}

#[test]
fn another_argument() {
    broken_as(Some("an argument changed"), |case| {
        let at = case.copied(|instr, target| target == Target::None && instr.arg < 9);
        case.variant.instrs[at].arg += 1;
    });
}

#[test]
fn another_target() {
    broken_as(Some("a jump leads elsewhere"), |case| {
        let at = case.copied(|_, target| target == Target::Forward);
        case.variant.instrs[at].arg = index(case.variant.instrs.len()) - 1;
    });
}

#[test]
fn another_location() {
    broken_as(Some("a location changed"), |case| {
        let at = case.copied(|_, target| target == Target::Forward);
        let location = case.variant.instrs[at].location as usize;
        let moved = Location {
            end_column: case.variant.locations[location].end_column + 1,
            ..case.variant.locations[location]
        };
        case.variant.instrs[at].location = index(case.variant.locations.len());
        case.variant.locations.push(moved);
    });
}

#[test]
fn another_handler() {
    let change: [fn(&mut Handler); 3] = [
        |handler| handler.depth += 1,
        |handler| handler.lasti = !handler.lasti,
        |handler| handler.target = 0,
    ];
    for change in change {
        broken_as(Some("a protected range changed"), |case| {
            change(&mut case.variant.handlers[0]);
        });
    }
}

#[test]
fn a_range_that_is_lost() {
    broken_as(Some("a protected range changed"), |case| {
        case.variant.handlers.pop();
    });
}

#[test]
fn a_probe_without_a_constant() {
    broken_as(Some("a probe has no constant"), |case| {
        let at = case.probes()[0];
        case.variant.instrs[at].arg = case.first_constant + index(case.lines.len());
    });
}

#[test]
fn probes_that_are_exchanged() {
    broken_as(Some("a probe has the constant of another line"), |case| {
        let first = case.probes()[0];
        let ordinal = case.variant.instrs[first].arg - case.first_constant;
        case.variant.instrs[first].arg = case.first_constant + u32::from(ordinal == 0);
    });
}

#[test]
fn a_probe_that_does_something_else() {
    broken_as(Some("a probe is broken"), |case| {
        let first = case.probes()[0];
        case.variant.instrs[first + 2].op = case.spec.to_bool;
    });
}

#[test]
fn a_probe_half_on_another_line() {
    broken_as(Some("a location changed"), |case| {
        let first = case.probes()[0];
        let other = case.copied(|instr, _| {
            case.variant.locations[instr.location as usize]
                != case.variant.locations[case.variant.instrs[first].location as usize]
        });
        case.variant.instrs[first + 2].location = case.variant.instrs[other].location;
    });
}

#[test]
fn a_probe_that_was_not_placed() {
    broken_as(Some("a probe is missing"), |case| case.lines.push(9999));
}

#[test]
fn too_little_stack() {
    broken_as(Some("co_stacksize is too small"), |case| {
        case.stacksize = case.depths.iter().copied().min().unwrap_or_default().max(0);
    });
}

#[test]
fn a_handler_that_expects_more_than_there_is() {
    broken_as(Some("a probe is protected too deeply"), |case| {
        case.depths.fill(0);
    });
}
