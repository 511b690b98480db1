//! The properties that the targets of `instrument/fuzz` try to break; feature `fuzzing` only.
//!
//! They stand here because they need the tables and the marshal reader, which are private.
//! Each takes any bytes and panics when a promise does not hold.

use crate::PyVersion;
use crate::assemble::assemble;
use crate::decode::{Tables, decode};
use crate::exctable;
use crate::expr::{Expression, HitRule, Template};
use crate::inset::{self, Part, Piece, Wish};
use crate::instr::Body;
use crate::linetable::{Decoder, Encoder, Location};
use crate::marshal::Module;
use crate::spec::{Role, Spec, spec};
use crate::{FunctionPattern, Wanted, instrument, line_map, pyc, verify};

/// Marshal data, with or without a `.pyc` header.
pub fn marshal_read(data: &[u8]) {
    let data = pyc::read(data).map_or(data, |(_, marshalled)| marshalled);
    let Ok(module) = Module::read(data) else {
        return;
    };
    let written = module.write();
    // A reference flag on a type that takes none is dropped; nothing else may change.
    assert_eq!(written.len(), data.len(), "the length changed");
    let again = Module::read(&written).expect("what was written can be read");
    assert_eq!(again.write(), written, "reading again gives other bytes");
}

/// A line table.
pub fn linetable(data: &[u8]) {
    let Some((&[merges, l0, l1, l2, l3], table)) = data.split_first_chunk() else {
        return;
    };
    let (merges, first_line) = (merges & 1 != 0, i32::from_le_bytes([l0, l1, l2, l3]));
    let Some(entries) = entries(table, first_line) else {
        return;
    };
    let written = write_linetable(merges, first_line, &entries);
    let again = self::entries(&written, first_line).expect("what was written can be read");
    assert_eq!(units(&entries), units(&again), "a location moved");
}

pub(crate) fn entries(table: &[u8], first_line: i32) -> Option<Vec<(u32, Location)>> {
    let mut decoder = Decoder::new(table, first_line);
    let mut entries = Vec::new();
    while !decoder.is_done() {
        entries.push(decoder.entry()?);
    }
    Some(entries)
}

pub(crate) fn write_linetable(
    merges: bool,
    first_line: i32,
    entries: &[(u32, Location)],
) -> Vec<u8> {
    let body = Body {
        locations: entries.iter().map(|&(_, location)| location).collect(),
        ..Body::default()
    };
    let mut encoder = Encoder::new(merges, first_line, &body);
    for (location, &(units, _)) in (0..).zip(entries) {
        encoder.push(location, units);
    }
    encoder.finish()
}

/// The location of every single unit.
pub(crate) fn units(entries: &[(u32, Location)]) -> Vec<Location> {
    let each = |&(units, location): &(u32, Location)| (0..units).map(move |_| location);
    entries.iter().flat_map(each).collect()
}

/// An exception table.
pub fn exctable(data: &[u8]) {
    let mut handlers = Vec::new();
    if exctable::decode(data, &mut handlers).is_err() {
        return;
    }
    let mut written = Vec::new();
    for &handler in &handlers {
        exctable::encode(handler, &mut written);
    }
    let mut again = Vec::new();
    exctable::decode(&written, &mut again).expect("what was written can be read");
    assert_eq!(handlers, again);
}

/// A code object: version, length of the exception table, that table, code.
pub fn decode_assemble(data: &[u8]) {
    let Some((&[version, length, lines], rest)) = data.split_first_chunk() else {
        return;
    };
    let version = PyVersion::ALL[usize::from(version) % PyVersion::ALL.len()];
    let Some((exceptions, code)) = rest.split_at_checked(usize::from(length)) else {
        return;
    };
    let spec = spec(version);
    let mut exceptiontable = Vec::new();
    let mut handlers = Vec::new();
    if exctable::decode(exceptions, &mut handlers).is_ok() {
        // Nobody writes empty ranges, and injection drops them.
        for handler in handlers.into_iter().filter(|range| range.start < range.end) {
            exctable::encode(handler, &mut exceptiontable);
        }
    }
    let linetable = fitting_linetable(spec, code, lines);
    let tables = Tables {
        code,
        linetable: &linetable,
        exceptiontable: &exceptiontable,
        first_line: 1,
    };
    let mut body = Body::default();
    if decode(spec, tables, &mut body).is_err() {
        return;
    }
    if looks_probed(spec, &body) {
        return;
    }
    // A backward jump to its own end is read, but no assembler writes one.
    if let Ok(assembled) = assemble(spec, &body, 1, &mut Vec::new()) {
        assert_eq!(assembled.code, code);
        assert_eq!(assembled.linetable, linetable);
        assert_eq!(assembled.exceptiontable, exceptiontable);
        let marshalled = marshalled(tables, CONSTANTS);
        let report = verify(version, &marshalled).expect("the module can be read");
        // A handler that expects more than there is cannot be caught without a probe before it.
        let ours = |message: &str| message != "a probe is protected too deeply";
        for failure in report.failures {
            assert!(!ours(&failure.message), "{failure:?}");
        }
        examine(version, &marshalled);
    }
}

/// What no compiler writes and the proof may take for a probe, so that it rejects the result:
/// constants that are none, and jumps to the next instruction.
fn looks_probed(spec: &Spec, body: &Body) -> bool {
    (1..).zip(&body.instrs).any(|(next, instr)| {
        instr.op == spec.load_const && instr.arg >= CONSTANTS
            || instr.op == spec.jump_forward && instr.arg == next
    })
}

/// One entry an instruction, with a pattern of lines that `lines` chooses.
fn fitting_linetable(spec: &Spec, code: &[u8], lines: u8) -> Vec<u8> {
    let mut entries = Vec::new();
    let units: &[[u8; 2]] = code.as_chunks().0;
    let mut line = 1;
    let mut at = 0;
    while at < units.len() {
        let start = at;
        while at < units.len() && spec.ops[usize::from(units[at][0])].role == Role::ExtendedArg {
            at += 1;
        }
        let Some([op, _]) = units.get(at) else { break };
        at = (at + 1 + usize::from(spec.ops[usize::from(*op)].caches)).min(units.len());
        let pattern = lines.rotate_left(u32::try_from(start % 8).unwrap_or_default());
        let location = match pattern & 7 {
            0 => Location::NONE,
            1 | 2 => {
                line = line % 9 + 1;
                location(line)
            }
            _ => location(line),
        };
        let size = u32::try_from(at - start).unwrap_or(u32::MAX);
        entries.push((size, location));
    }
    write_linetable(spec.merges_locations, 1, &entries)
}

fn location(line: i32) -> Location {
    Location {
        line,
        end_line: line,
        column: 0,
        end_column: 4,
    }
}

/// Constants of the generated modules.
const CONSTANTS: u32 = 256;

/// A module of one code object whose constants are all `None`.
pub(crate) fn marshalled(tables: Tables<'_>, constants: u32) -> Vec<u8> {
    let mut out = vec![b'c'];
    let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.push(b's');
        out.extend(u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes());
        out.extend(bytes);
    };
    for number in [0i32, 0, 0, 4, 0] {
        out.extend(number.to_le_bytes());
    }
    bytes(&mut out, tables.code);
    out.push(b'(');
    out.extend(constants.to_le_bytes());
    out.extend((0..constants).map(|_| b'N'));
    // Names, one of which a condition ends with; no variables.
    out.extend(b")\x02z\x01az\x0e__dapper_hit__)\x00");
    bytes(&mut out, &[]);
    out.extend(b"z\x01fz\x01nz\x01q");
    out.extend(tables.first_line.to_le_bytes());
    bytes(&mut out, tables.linetable);
    bytes(&mut out, tables.exceptiontable);
    out
}

/// A text as everything that users type: what is accepted reads the same when it is printed.
pub fn user_text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(expression) = Expression::parse(text) {
        let again = Expression::parse(expression.text()).expect("it was accepted before");
        assert_eq!(again, expression);
        assert!(expression.is_known() || expression.splice().is_err());
        assert!(expression.names().is_sorted_by(|name, next| name < next));
    }
    if let Ok(template) = Template::parse(text) {
        let printed = template.to_string();
        let again = Template::parse(&printed).expect("what was printed can be read");
        assert_eq!(again, template, "printed as {printed:?}");
        for field in template.fields() {
            assert!(field.source.contains(field.expression.text()));
        }
    }
    if let Ok(rule) = HitRule::parse(text) {
        assert_eq!(HitRule::parse(&rule.to_string()), Ok(rule));
    }
    if let Ok(pattern) = FunctionPattern::parse(text) {
        assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
        assert!(!pattern.matches("") || text.contains('*'));
    }
}

/// A whole `.pyc`.
pub fn instrument_roundtrip(data: &[u8]) {
    let Ok((header, marshalled)) = pyc::read(data) else {
        return;
    };
    examine(header.version, marshalled);
}

fn examine(version: PyVersion, marshalled: &[u8]) {
    let Ok(variant) = instrument(version, marshalled, Wanted::EveryLine) else {
        return;
    };
    let read = Module::read(&variant.code).expect("a variant can be read");
    for site in &variant.sites {
        let mut code = read.root_code();
        for &step in site.code.path.iter() {
            let constants = read.constants(code).expect("a path leads through tuples");
            code = read
                .code_index(constants[step as usize])
                .expect("a path leads to a code object");
        }
        let constants = read.constants(code).expect("constants are a tuple");
        assert_eq!(read.node(constants[site.constant as usize]).tag, b'N');
    }
    verify(version, &variant.code).expect("a variant can be verified");
    let map = line_map(version, marshalled).expect("an original can be mapped");
    let lines = map.breakable();
    let some: Vec<u32> = lines
        .iter()
        .copied()
        .step_by(3)
        .chain([0, 7, 1 << 31])
        .collect();
    let partial = instrument(version, marshalled, Wanted::Lines(&some));
    let partial = partial.expect("what takes every line takes some");
    Module::read(&partial.code).expect("a variant can be read");
}

/// A host and an expression: version, pattern of lines, lengths of the host's exception table
/// and code, those, the code of the expression.
pub fn inset(data: &[u8]) {
    let Some((&[version, lines, exceptions, length], rest)) = data.split_first_chunk() else {
        return;
    };
    let version = PyVersion::ALL[usize::from(version) % PyVersion::ALL.len()];
    let spec = spec(version);
    let Some((exceptiontable, rest)) = rest.split_at_checked(usize::from(exceptions)) else {
        return;
    };
    let Some((code, expression)) = rest.split_at_checked(2 * usize::from(length)) else {
        return;
    };
    let module = |code, exceptiontable| {
        let linetable = fitting_linetable(spec, code, lines);
        let tables = Tables {
            code,
            linetable: &linetable,
            exceptiontable,
            first_line: 1,
        };
        marshalled(tables, CONSTANTS)
    };
    let host = module(code, exceptiontable);
    let Ok(variant) = instrument(version, &host, Wanted::EveryLine) else {
        return;
    };
    let expression = module(expression, &[]);
    let pieces = [Piece::Text("text"), Piece::Field(&expression)];
    let part = |condition, message, metered| Part {
        condition,
        message,
        metered,
        counted: metered,
    };
    let parts = vec![
        part(Some(&expression[..]), None, true),
        part(None, Some(&pieces[..]), false),
        Part::default(),
    ];
    let wishes: Vec<Wish<'_>> = (1..10)
        .map(|line| Wish {
            line,
            path: None,
            parts: parts.clone(),
        })
        .collect();
    let made = inset::inset(version, &variant.code, &variant.sites, &wishes);
    let made = made.expect("a variant takes expressions or refuses them");
    Module::read(&made.code).expect("what was written can be read");
    line_map(version, &made.code).expect("what was written can be mapped");
}
