//! Expressions in fixtures, and good results with one thing broken.

use std::fs;
use std::path::Path;

use super::fragment::{Builder, Fragment};
use super::prove::{self, Claim};
use super::weave::Insertion;
use super::{Part, Piece, Wish, Woven, inset, part, woven};
use crate::assemble::assemble;
use crate::decode::{Tables, decode, index};
use crate::error::Reason;
use crate::fuzzing::{marshalled, write_linetable};
use crate::instr::{Body, Instr};
use crate::linetable::Location;
use crate::marshal::Module;
use crate::spec::{Spec, Target, spec};
use crate::stack;
use crate::variant::{Role, Site};
use crate::{PyVersion, Wanted, instrument, pyc};

fn number(spec: &Spec, name: &str) -> Option<u8> {
    let found = spec.details.iter().position(|op| op.name == name);
    found.and_then(|op| u8::try_from(op).ok())
}

/// Code of these instructions, with the names `a` and that of a hit.
fn module(spec: &Spec, instrs: &[(&str, u8)]) -> Vec<u8> {
    let mut code = Vec::new();
    for &(name, arg) in instrs {
        // Up to 3.12 a jump asks for the truth of a value itself, and jumps say their direction.
        let directed = name.replace("POP_JUMP_IF", "POP_JUMP_FORWARD_IF");
        let Some(op) = number(spec, name).or(number(spec, &directed)) else {
            continue;
        };
        code.extend([op, arg]);
        let caches = usize::from(spec.ops[usize::from(op)].caches);
        code.resize(code.len() + 2 * caches, 0);
    }
    let location = Location {
        line: 1,
        end_line: 1,
        column: 0,
        end_column: 4,
    };
    let entries = [(index(code.len() / 2), location)];
    let linetable = write_linetable(spec.merges_locations, 1, &entries);
    let tables = Tables {
        code: &code,
        linetable: &linetable,
        exceptiontable: &[],
        first_line: 1,
    };
    marshalled(tables, 4)
}

/// `a`, as a condition.
fn condition(spec: &Spec) -> Vec<u8> {
    let hit = [("RESUME", 0), ("LOAD_NAME", 0), ("TO_BOOL", 0)];
    // What a hit consists of is jumped over, NOT_TAKEN among it.
    let skipped = 4 + u8::from(number(spec, "NOT_TAKEN").is_some());
    let rest = [
        ("POP_JUMP_IF_FALSE", skipped),
        ("NOT_TAKEN", 0),
        ("LOAD_NAME", 1),
        ("POP_TOP", 0),
        ("LOAD_CONST", 0),
        ("RETURN_VALUE", 0),
        ("LOAD_CONST", 0),
        ("RETURN_VALUE", 0),
    ];
    module(spec, &[&hit[..], &rest[..]].concat())
}

/// `a`, as a value.
fn value(spec: &Spec) -> Vec<u8> {
    module(
        spec,
        &[("RESUME", 0), ("LOAD_NAME", 0), ("RETURN_VALUE", 0)],
    )
}

#[expect(clippy::disallowed_methods, reason = "fixtures are files")]
fn fixture(version: PyVersion) -> Vec<u8> {
    let path = format!("../fixtures/pyc/{version}/exceptions.pyc");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let bytes = fs::read(path).expect("the fixture can be read");
    pyc::read(&bytes).expect("a header").1.to_vec()
}

#[test]
fn every_line_takes_a_condition_and_a_message() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let (condition, value) = (condition(spec), value(spec));
        let pieces = [Piece::Text("a="), Piece::Field(&value)];
        let variant = instrument(version, &fixture(version), Wanted::EveryLine);
        let variant = variant.expect("the fixture can be read");
        let parts = vec![
            Part {
                condition: Some(&condition),
                message: None,
                metered: true,
                counted: true,
            },
            Part {
                condition: Some(&condition),
                message: Some(&pieces),
                metered: false,
                counted: false,
            },
            Part::default(),
        ];
        let mut lines: Vec<u32> = variant.sites.iter().map(|site| site.line).collect();
        lines.dedup();
        let wishes: Vec<Wish<'_>> = lines
            .into_iter()
            .map(|line| Wish {
                line,
                path: None,
                parts: parts.clone(),
            })
            .collect();
        let made = inset(version, &variant.code, &variant.sites, &wishes).expect("it can be read");
        assert_eq!(made.refused, [], "{version}");
        let count = |role| made.sites.iter().filter(|site| site.role == role).count();
        let sites = variant.sites.len();
        assert_eq!(count(Role::Hit), sites);
        assert_eq!(count(Role::Meter), sites);
        assert_eq!(count(Role::Pass), sites);
        assert_eq!(count(Role::Compiled { message: false }), sites);
        assert_eq!(count(Role::Compiled { message: true }), sites);
        let read = Module::read(&made.code).expect("what was written can be read");
        for Site { code, constant, .. } in &made.sites {
            let code = read.at(&code.path).expect("a path leads to a code object");
            let constants = read.constants(code).expect("constants are a tuple");
            assert_eq!(read.node(constants[*constant as usize]).tag, b'N');
        }
    }
}

#[test]
fn what_assigns_keeps_its_plain_probe() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let store = [("RESUME", 0), ("LOAD_NAME", 0), ("STORE_NAME", 0)];
        let rest = [("LOAD_CONST", 0), ("RETURN_VALUE", 0)];
        let stores = module(spec, &[&store[..], &rest[..]].concat());
        let variant = instrument(version, &fixture(version), Wanted::EveryLine);
        let variant = variant.expect("the fixture can be read");
        let wish = Wish {
            line: variant.sites[0].line,
            path: None,
            parts: vec![Part {
                condition: Some(&stores),
                ..Part::default()
            }],
        };
        let made = inset(version, &variant.code, &variant.sites, &[wish]).expect("it can be read");
        assert_eq!(made.refused.len(), 1);
        assert!(matches!(made.refused[0].reason, Reason::OutOfLine(_)));
        assert!(made.sites.iter().all(|site| site.role == Role::Hit));
    }
}

/// A code object with one fragment, and what is claimed of it.
struct Case {
    spec: &'static Spec,
    original: Body,
    woven: Woven,
    /// The result, decoded.
    body: Body,
    n_constants: usize,
    first_line: i32,
}

impl Case {
    /// `leaving` of the fixture, with a condition on its last line.
    fn good(version: PyVersion) -> Self {
        let spec = spec(version);
        let variant = instrument(version, &fixture(version), Wanted::EveryLine);
        let variant = variant.expect("the fixture can be read");
        let mut sites = variant.sites.iter().rev();
        let site = sites.find(|site| &*site.code.qualname == "leaving");
        let site = site.expect("there is `leaving`");
        let mut module = Module::read(&variant.code).expect("a module");
        let code = module.at(&site.code.path).expect("a code object");
        let stacksize = module.codes[code].stacksize;
        let first_line = module.codes[code].firstlineno;
        let mut original = Body::default();
        let mut depths = Vec::new();
        let tables = crate::analysis::tables(&module, code).expect("tables");
        decode(spec, tables, &mut original).expect("it can be decoded");
        stack::depths(spec, &original, &mut depths).expect("it is understood");
        let loads = |instr: &Instr| instr.op == spec.load_const && instr.arg == site.constant;
        let position = original.instrs.iter().position(loads).expect("a probe");
        let condition = condition(spec);
        let mut host = super::host::Host::new(&mut module, code).expect("a host");
        let wanted = Part {
            condition: Some(&condition),
            ..Part::default()
        };
        let spot = part::Spot {
            body: &original,
            position: index(position),
        };
        let constants = part::Constants {
            probe: site.constant,
            meter: None,
            passes: None,
        };
        let fragment = part::fragment(spec, &mut host, spot, &wanted, constants);
        let fragment: Fragment = fragment.ok().expect("it moves");
        let n_constants = host.n_constants();
        let insertion = Insertion {
            position: index(position),
            depth: u32::try_from(depths[position]).expect("reached"),
            fragment,
        };
        let probes = vec![vec![site.constant]];
        let woven = woven(
            spec,
            &original,
            &[insertion],
            probes,
            (first_line, stacksize),
        );
        let woven = woven.expect("it can be woven");
        let mut body = Body::default();
        decode(spec, woven.tables.tables(first_line), &mut body).expect("it can be decoded");
        Self {
            spec,
            original,
            woven,
            body,
            n_constants,
            first_line,
        }
    }

    fn start(&self) -> usize {
        self.woven.extents[0].start as usize
    }

    fn check(&self) -> Result<(), Reason> {
        let tables = assemble(self.spec, &self.body, self.first_line, &mut Vec::new())?;
        let claim = Claim {
            original: &self.original,
            extents: &self.woven.extents,
            stacksize: self.woven.stacksize,
            n_constants: self.n_constants,
            n_names: 100,
            n_variables: 100,
        };
        prove::check(self.spec, tables.tables(self.first_line), &claim)
    }

    /// The instruction of the fragment for which this holds, from its start.
    fn within(&self, accepts: impl Fn(&Instr) -> bool) -> usize {
        let inside = &self.body.instrs[self.start()..];
        self.start()
            + inside
                .iter()
                .position(accepts)
                .expect("there is such an instruction")
    }
}

fn broken(breaks: impl Fn(&mut Case)) {
    for version in PyVersion::ALL {
        let mut case = Case::good(version);
        assert_eq!(case.check(), Ok(()), "{version}");
        breaks(&mut case);
        assert!(case.check().is_err(), "{version}");
    }
}

#[test]
fn a_jump_out_of_a_fragment_is_noticed() {
    broken(|case| {
        let spec = case.spec;
        let jumps = |instr: &Instr| spec.ops[usize::from(instr.op)].target != Target::None;
        let at = case.within(jumps);
        let end = case.start() + case.woven.extents[0].length as usize;
        case.body.instrs[at].arg = index(end + 1);
    });
}

#[test]
fn a_guard_that_leads_elsewhere_is_noticed() {
    broken(|case| {
        let start = index(case.start());
        let guard = case
            .body
            .handlers
            .iter_mut()
            .find(|guard| guard.start == start);
        guard.expect("there is a guard").target = 0;
    });
}

#[test]
fn a_guard_that_is_missing_is_noticed_where_the_code_is_protected() {
    broken(|case| {
        let length = case.woven.extents[0].length;
        let range = index(case.start())..index(case.start()) + length;
        case.body
            .handlers
            .retain(|guard| !range.contains(&guard.target));
    });
}

#[test]
fn another_instruction_is_noticed() {
    broken(|case| {
        let spec = case.spec;
        let at = case.within(|instr| instr.op == spec.pop_top);
        case.body.instrs[at].op = number(spec, "STORE_GLOBAL").expect("an opcode");
        case.body.instrs[at].arg = 0;
    });
}

#[test]
fn a_constant_that_is_not_there_is_noticed() {
    broken(|case| {
        let spec = case.spec;
        let at = case.within(|instr| instr.op == spec.load_const);
        case.body.instrs[at].arg = index(case.n_constants);
    });
}

#[test]
fn a_change_outside_is_noticed() {
    broken(|case| {
        let spec = case.spec;
        let after = case.start() + case.woven.extents[0].length as usize;
        let rest = case.body.instrs[after..].iter();
        let plain = |instr: &Instr| spec.ops[usize::from(instr.op)].target == Target::None;
        let found = { rest }.position(|instr| plain(instr) && instr.arg > 0);
        case.body.instrs[after + found.unwrap_or(0)].arg ^= 1;
    });
}

#[test]
fn a_stack_that_is_too_small_is_noticed() {
    broken(|case| case.woven.stacksize = 0);
}

#[test]
fn an_inner_guard_is_cut_out_of_the_outer_one() {
    let mut builder = Builder::new(spec(PyVersion::V313));
    let (outer, inner) = (builder.label(), builder.label());
    let pop = builder.spec.pop_top;
    builder.push(pop, 0);
    let start = builder.here();
    builder.push(pop, 0);
    builder.guard(start, inner, 2);
    builder.push(pop, 0);
    builder.guard(0, outer, 1);
    builder.place(inner);
    builder.push(pop, 0);
    builder.place(outer);
    let guards = builder.finish().guards;
    let ranges: Vec<_> = guards
        .iter()
        .map(|guard| (guard.start, guard.end, guard.target, guard.depth))
        .collect();
    assert_eq!(ranges, [(0, 1, 4, 1), (1, 2, 3, 2), (2, 3, 4, 1)]);
}

#[test]
fn two_loads_are_one_unless_control_comes_in_between() {
    for version in PyVersion::ALL {
        let spec = spec(version);
        let ops = &spec.expressions;
        let mut builder = Builder::new(spec);
        let between = builder.label();
        builder.load_fast(1);
        builder.load_fast(15);
        builder.load_fast(2);
        builder.load_fast(16);
        builder.load_fast(3);
        builder.place(between);
        builder.load_fast(4);
        let steps = builder.finish().steps;
        let found: Vec<_> = steps.iter().map(|step| (step.op, step.arg)).collect();
        let one = ops.load_fast;
        let Some(two) = ops.load_two_fast else {
            assert_eq!(found, [1, 15, 2, 16, 3, 4].map(|arg| (one, arg)));
            continue;
        };
        let expected = [(two, 31), (one, 2), (one, 16), (one, 3), (one, 4)];
        assert_eq!(found, expected, "{version}");
    }
}

#[test]
fn a_variable_that_is_not_there_is_noticed() {
    for version in PyVersion::ALL {
        let mut case = Case::good(version);
        let spec = case.spec;
        let at = case.within(|instr| instr.op == spec.to_bool || instr.op == spec.pop_top) - 1;
        case.body.instrs[at].op = spec.expressions.load_fast;
        case.body.instrs[at].arg = 100;
        assert!(case.check().is_err(), "{version}");
    }
}
