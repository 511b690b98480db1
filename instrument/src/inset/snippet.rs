//! An expression that CPython compiled, and how its instructions are moved.
//!
//! The interpreter whose bytecode it is compiles [`condition_source`] with `exec` or
//! [`value_source`] with `eval`: code of a module, in which every name is a LOAD_NAME. A
//! condition ends by loading [`HIT`] where it holds, and by returning where it does not, so
//! that `and`, `or` and `not` are the jumps that the compiler makes of an `if`. Whatever has a
//! scope of its own, assigns or suspends stays out of the line.

use super::fragment::{Builder, Label};
use super::host::{Host, Lookup};
use super::{Failed, UNREADABLE};
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
    pub(super) fn read(spec: &Spec, marshalled: &'a [u8]) -> Result<Self, Failed> {
        let module = Module::read(marshalled)?;
        let root = module.root_code();
        let mut body = Body::default();
        let mut depths = Vec::new();
        decode(spec, tables(&module, root)?, &mut body)?;
        stack::depths(spec, &body, &mut depths)?;
        if !body.handlers.is_empty()
            || !module
                .children(module.codes[root].localsplusnames)
                .is_empty()
        {
            return Err(SCOPE.into());
        }
        let mut names = Vec::new();
        for &name in module.children(module.codes[root].names) {
            names.push(module.text(name, "co_names")?.into_owned());
        }
        let mut targets = vec![false; body.instrs.len() + 1];
        for &jump in &body.jumps {
            let target = body.instrs[jump as usize].arg;
            if target <= jump {
                return Err(FOREIGN.into());
            }
            targets[target as usize] = true;
        }
        Ok(Self {
            module,
            body,
            depths,
            names,
            targets,
        })
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
        let operand = self.operand(spec, at);
        let loads = matches!(operand, Operand::Constant | Operand::Own)
            && spec.ops[usize::from(self.body.instrs[at].op)].target == Target::None
            && self.depths[at] == 0
            && self.depths.get(at + 1) == Some(&1);
        operand == Operand::ReturnConstant
            || (loads && self.operand(spec, at + 1) == Operand::Return && !self.targets[at + 1])
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
    ) -> Result<(), Failed> {
        self.steps(builder, place, Some(exits))?;
        builder.drop_jump_to(exits.hit);
        builder.place(exits.hit);
        Ok(())
    }

    /// Moves an expression whose value is on the stack afterwards.
    pub(super) fn value(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
    ) -> Result<(), Failed> {
        let end = self.steps(builder, place, None)?;
        builder.drop_jump_to(end);
        builder.place(end);
        Ok(())
    }

    /// The exit that control at an instruction leads to at once.
    fn exit(&self, spec: &Spec, exits: Option<Exits>, at: usize) -> Option<Label> {
        let exits = exits?;
        if self.hits(spec, at) {
            Some(exits.hit)
        } else {
            self.misses(spec, at).then_some(exits.miss)
        }
    }

    /// Moves the instructions; the label is the end of an expression that leaves its value.
    fn steps(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        exits: Option<Exits>,
    ) -> Result<Label, Failed> {
        let spec = builder.spec;
        let mut labels: Vec<Option<Label>> = vec![None; self.body.instrs.len()];
        let end = builder.label();
        let mut live = true;
        let mut at = 0;
        while let Some(&instr) = self.body.instrs.get(at) {
            if let Some(label) = labels[at] {
                builder.place(label);
                live = true;
            }
            if !live || self.depths[at] == UNREACHED {
                live = false;
                at += 1;
                continue;
            }
            let operand = self.operand(spec, at);
            if let Some(exit) = self.exit(spec, exits, at) {
                builder.jump(spec.jump_forward, exit);
                live = false;
            } else if operand == Operand::Own
                && spec.ops[usize::from(instr.op)].target != Target::None
            {
                let target = instr.arg as usize;
                // A jump that only leads to an exit leads there at once.
                let label = match (self.exit(spec, exits, target), labels[target]) {
                    (Some(exit), _) => exit,
                    (None, Some(label)) => label,
                    (None, None) => *labels[target].insert(builder.label()),
                };
                builder.jump(instr.op, label);
                live = spec.ops[usize::from(instr.op)].flow != Flow::Jump;
            } else if exits.is_none()
                && matches!(operand, Operand::Return | Operand::ReturnConstant)
            {
                if operand == Operand::ReturnConstant {
                    let constant = self.constant(place, instr.arg)?;
                    builder.push(spec.load_const, constant);
                }
                builder.jump(spec.jump_forward, end);
                live = false;
            } else {
                at += self.step(builder, place, at)?;
            }
            at += 1;
        }
        if live {
            return Err(UNREADABLE.into());
        }
        Ok(end)
    }

    /// Moves one instruction that does not turn; how many behind it went along.
    fn step(
        &self,
        builder: &mut Builder<'_>,
        place: &mut Place<'_, '_, '_>,
        at: usize,
    ) -> Result<usize, Failed> {
        let spec = builder.spec;
        let instr = self.body.instrs[at];
        let next = |operand| !self.targets[at + 1] && self.operand(spec, at + 1) == operand;
        let null_first = spec.expressions.null_first;
        match self.operand(spec, at) {
            Operand::Start => {}
            Operand::Own => builder.push(instr.op, instr.arg),
            // A global and the NULL beside it are one instruction.
            Operand::Null => {
                let pair = null_first && next(Operand::Load) && !self.hits(spec, at + 1);
                if pair && self.global(builder, place, at + 1, true)? {
                    return Ok(1);
                }
                builder.push(instr.op, instr.arg);
            }
            Operand::Load => {
                let pair = !null_first && next(Operand::Null);
                if pair && self.global(builder, place, at, true)? {
                    return Ok(1);
                }
                if !self.global(builder, place, at, false)? {
                    self.load(builder, place, at)?;
                }
            }
            Operand::Constant => {
                let constant = self.constant(place, instr.arg)?;
                builder.push(instr.op, constant);
            }
            Operand::Name(shift) => {
                let name = self.names.get((instr.arg >> shift) as usize);
                let name = place.host.mangled(name.ok_or(UNREADABLE)?);
                let name = place.host.name(&name)?;
                let rest = instr.arg & ((1 << shift) - 1);
                builder.push(instr.op, name << shift | rest);
            }
            Operand::Return | Operand::ReturnConstant | Operand::Foreign => {
                return Err(FOREIGN.into());
            }
        }
        Ok(0)
    }

    /// Gives the host a constant.
    fn constant(&self, place: &mut Place<'_, '_, '_>, number: u32) -> Result<u32, Failed> {
        let constants = self.module.constants(self.module.root_code())?;
        let node = *constants.get(number as usize).ok_or(UNREADABLE)?;
        let copy = place.host.module.copied(&self.module, node)?.ok_or(SCOPE)?;
        Ok(place.host.constant(copy))
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
                builder.load_fast(variable);
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
