//! An expression that CPython compiled, and how its instructions are moved.
//!
//! The interpreter whose bytecode it is compiles [`condition_source`] with `exec` or
//! [`value_source`] with `eval`: code of a module, in which every name is a LOAD_NAME. A
//! condition ends by loading [`HIT`] where it holds, and by returning where it does not, so
//! that `and`, `or` and `not` are the jumps that the compiler makes of an `if`. Whatever has a
//! scope of its own, assigns or suspends stays out of the line.

use super::fragment::{Builder, Label};
use super::host::{Host, Lookup, UNREADABLE};
use crate::analysis::tables;
use crate::decode::decode;
use crate::error::{Error, Reason};
use crate::instr::Body;
use crate::marshal::Module;
use crate::spec::{ClassLookup, Flow, Operand, Spec, Target};
use crate::stack::{self, UNREACHED};

/// The name that a compiled condition loads where it holds.
const HIT: &str = "__dapper_hit__";

/// The statement to compile (`exec`) for a condition.
#[must_use]
pub fn condition_source(expression: &str) -> String {
    format!("if (\n{expression}\n): {HIT}\n")
}

/// The expression to compile (`eval`) for a value.
#[must_use]
pub fn value_source(expression: &str) -> String {
    format!("(\n{expression}\n)")
}

const SCOPE: Reason = Reason::OutOfLine("part of it has a scope of its own");
const FOREIGN: Reason = Reason::OutOfLine("it does more than read");
const PRIVATE: Reason = Reason::OutOfLine("it has a private name in a text");

/// Compiled code of an expression.
pub(super) struct Snippet<'a> {
    module: Module<'a>,
    body: Body,
    depths: Vec<i32>,
    names: Vec<String>,
    /// Where control comes from elsewhere.
    targets: Vec<bool>,
}

/// The end of a condition.
#[derive(Clone, Copy)]
pub(super) struct Exits {
    pub(super) hit: Label,
    pub(super) miss: Label,
}

/// Where an expression goes.
pub(super) struct Place<'h, 'm, 'a> {
    pub(super) host: &'h mut Host<'m, 'a>,
    /// The host's code, and the instruction in front of which the expression will stand.
    pub(super) body: &'h Body,
    pub(super) position: u32,
    /// Stack depth above that of the line.
    pub(super) depth: u32,
}

impl<'a> Snippet<'a> {
    pub(super) fn read(spec: &Spec, marshalled: &'a [u8]) -> Result<Result<Self, Reason>, Error> {
        let module = Module::read(marshalled)?;
        let root = module.root_code();
        let mut body = Body::default();
        let mut depths = Vec::new();
        let read = decode(spec, tables(&module, root)?, &mut body)
            .and_then(|()| stack::depths(spec, &body, &mut depths));
        if let Err(reason) = read {
            return Ok(Err(reason));
        }
        if !body.handlers.is_empty()
            || !module
                .children(module.codes[root].localsplusnames)
                .is_empty()
        {
            return Ok(Err(SCOPE));
        }
        let mut names = Vec::new();
        for &name in module.children(module.codes[root].names) {
            names.push(module.text(name, "co_names")?.into_owned());
        }
        let mut targets = vec![false; body.instrs.len() + 1];
        for &jump in &body.jumps {
            let target = body.instrs[jump as usize].arg;
            if target <= jump {
                return Ok(Err(FOREIGN));
            }
            targets[target as usize] = true;
        }
        Ok(Ok(Self {
            module,
            body,
            depths,
            names,
            targets,
        }))
    }

    fn operand(&self, spec: &Spec, at: usize) -> Operand {
        let instr = self.body.instrs.get(at);
        instr.map_or(Operand::Foreign, |instr| {
            spec.expressions.operands[usize::from(instr.op)]
        })
    }

    /// Whether a condition that does not hold ends at `at`: it returns what is only loaded to
    /// be returned.
    fn misses(&self, spec: &Spec, at: usize) -> bool {
        match self.operand(spec, at) {
            Operand::ReturnConstant => true,
            _ => {
                let op = &spec.ops[usize::from(self.body.instrs[at].op)];
                let loads = op.flow == Flow::Next && op.target == Target::None;
                loads
                    && matches!(self.operand(spec, at), Operand::Constant | Operand::Own)
                    && self.depths[at] == 0
                    && self.operand(spec, at + 1) == Operand::Return
                    && !self.targets[at + 1]
                    && self.depths[at + 1] == 1
            }
        }
    }

    fn hits(&self, spec: &Spec, at: usize) -> bool {
        self.operand(spec, at) == Operand::Load
            && self
                .names
                .get(self.body.instrs[at].arg as usize)
                .is_some_and(|name| name == HIT)
    }

    /// Moves a condition: control goes to one of the exits, and falls through where it holds.
    pub(super) fn condition(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        exits: Exits,
    ) -> Result<Result<(), Reason>, Error> {
        let moved = self.steps(builder, place, Some(exits));
        builder.drop_jump_to(exits.hit);
        builder.place(exits.hit);
        moved
    }

    /// Moves an expression whose value is on the stack afterwards.
    pub(super) fn value(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
    ) -> Result<Result<(), Reason>, Error> {
        self.steps(builder, place, None)
    }

    fn steps(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        exits: Option<Exits>,
    ) -> Result<Result<(), Reason>, Error> {
        let spec = builder.spec;
        let mut labels: Vec<Option<Label>> = vec![None; self.body.instrs.len()];
        let end = builder.label();
        let mut live = true;
        let mut at = 0;
        while let Some(&instr) = self.body.instrs.get(at) {
            let position = at;
            at += 1;
            if let Some(label) = labels[position] {
                builder.place(label);
                live = true;
            }
            if !live || self.depths[position] == UNREACHED {
                live = false;
                continue;
            }
            if let Some(exits) = exits {
                let exit = if self.hits(spec, position) {
                    Some(exits.hit)
                } else {
                    self.misses(spec, position).then_some(exits.miss)
                };
                if let Some(exit) = exit {
                    builder.jump(spec.jump_forward, exit);
                    live = false;
                    continue;
                }
            }
            match self.operand(spec, position) {
                Operand::Start => {}
                Operand::Own if spec.ops[usize::from(instr.op)].target != Target::None => {
                    let target = instr.arg as usize;
                    // A jump that only leads to an exit leads there at once.
                    let exit = exits.and_then(|exits| {
                        let hit = self.hits(spec, target).then_some(exits.hit);
                        hit.or(self.misses(spec, target).then_some(exits.miss))
                    });
                    let label = match (exit, labels[target]) {
                        (Some(exit), _) => exit,
                        (None, Some(label)) => label,
                        (None, None) => *labels[target].insert(builder.label()),
                    };
                    builder.jump(instr.op, label);
                    live = spec.ops[usize::from(instr.op)].flow != Flow::Jump;
                }
                Operand::Own => builder.push(instr.op, instr.arg),
                Operand::Null => {
                    let first = spec.expressions.null_first;
                    let next =
                        first && !self.targets[at] && self.operand(spec, at) == Operand::Load;
                    if next && !self.hits(spec, at) && self.global(builder, place, at, true)? {
                        at += 1;
                    } else {
                        builder.push(instr.op, instr.arg);
                    }
                }
                Operand::Constant => {
                    let constants = self.module.constants(self.module.root_code())?;
                    let Some(&node) = constants.get(instr.arg as usize) else {
                        return Ok(Err(UNREADABLE));
                    };
                    let Some(copy) = place.host.module.copied(&self.module, node)? else {
                        return Ok(Err(SCOPE));
                    };
                    // It may be the keyword of a call, which the compiler would mangle.
                    if place.host.has_private_text(copy)? {
                        return Ok(Err(PRIVATE));
                    }
                    builder.push(instr.op, place.host.constant(copy));
                }
                Operand::Name(shift) => {
                    let Some(name) = self.names.get((instr.arg >> shift) as usize) else {
                        return Ok(Err(UNREADABLE));
                    };
                    let name = place.host.mangled(name);
                    let name = place.host.name(&name)?;
                    let rest = instr.arg & ((1 << shift) - 1);
                    builder.push(instr.op, name << shift | rest);
                }
                Operand::Load => {
                    let null = !spec.expressions.null_first
                        && self.operand(spec, at) == Operand::Null
                        && !self.targets[at];
                    if null && self.global(builder, place, position, true)? {
                        at += 1;
                    } else if !self.global(builder, place, position, false)? {
                        self.load(builder, place, position)?;
                    }
                }
                Operand::Return if exits.is_none() => {
                    builder.jump(spec.jump_forward, end);
                    live = false;
                }
                Operand::Return | Operand::ReturnConstant | Operand::Foreign => {
                    return Ok(Err(FOREIGN));
                }
            }
        }
        if live {
            return Ok(Err(UNREADABLE));
        }
        if exits.is_none() {
            builder.drop_jump_to(end);
        }
        builder.place(end);
        Ok(Ok(()))
    }

    fn name(&self, at: usize) -> Result<&str, Error> {
        let name = self.names.get(self.body.instrs[at].arg as usize);
        name.map(String::as_str)
            .ok_or_else(|| crate::error::ErrorKind::BadField("co_names").into())
    }

    /// Loads a global of a function; false when the name is something else.
    fn global(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        at: usize,
        null: bool,
    ) -> Result<bool, Error> {
        let spec = builder.spec;
        let name = place.host.mangled(self.name(at)?);
        let found = place.host.lookup(spec, place.body, place.position, &name);
        if found != Lookup::Fallback || !place.host.is_function() {
            return Ok(false);
        }
        let name = place.host.name(&name)?;
        builder.push(spec.expressions.load_global, name << 1 | u32::from(null));
        Ok(true)
    }

    /// Loads any name.
    fn load(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        at: usize,
    ) -> Result<(), Error> {
        let spec = builder.spec;
        let ops = &spec.expressions;
        let name = place.host.mangled(self.name(at)?);
        let start = builder.here();
        match place.host.lookup(spec, place.body, place.position, &name) {
            Lookup::Fast(variable) => {
                builder.push(ops.load_fast, variable);
                return Ok(());
            }
            Lookup::Fallback => {
                let name = place.host.name(&name)?;
                builder.push(ops.load_name, name);
                return Ok(());
            }
            Lookup::MaybeFast(variable) => builder.push(ops.load_fast_checked, variable),
            Lookup::Cell(variable) => builder.push(ops.load_deref, variable),
            Lookup::ClassCell(variable) => match ops.class_lookup {
                ClassLookup::One(op) => builder.push(op, variable),
                ClassLookup::Two(locals, op) => {
                    builder.push(locals, 0);
                    builder.push(op, variable);
                }
            },
        }
        let (unbound, bound) = (builder.label(), builder.label());
        let depth = u32::try_from(self.depths[at]).unwrap_or_default();
        builder.guard(start, unbound, place.depth + depth);
        builder.jump(spec.jump_forward, bound);
        builder.place(unbound);
        builder.push(spec.pop_top, 0);
        let name = place.host.name(&name)?;
        if place.host.is_function() {
            builder.push(ops.load_global, name << 1);
        } else {
            builder.push(ops.load_name, name);
        }
        builder.place(bound);
        Ok(())
    }
}
