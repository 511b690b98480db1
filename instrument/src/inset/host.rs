//! The code object that an expression moves into: what a name is there.
//!
//! A name means what it would mean to an expression that stands in the source at that line: a
//! fast local, a variable of a closure, a global. A local that is not bound is looked up among
//! the globals, as `eval` with the frame's dictionaries does; where the analysis of
//! assignments proves that it is bound, that costs nothing.

use std::collections::HashMap;

use super::bound;
use crate::decode::index;
use crate::error::Error;
use crate::instr::Body;
use crate::marshal::{Module, NodeId};
use crate::spec::Spec;

/// `CO_OPTIMIZED`: locals are fast.
const OPTIMIZED: i32 = 0x1;
/// `CO_VARARGS` and `CO_VARKEYWORDS`: an argument more each.
const VARIADIC: [i32; 2] = [0x4, 0x8];

/// Kinds of `co_localspluskinds`.
const CELL: u8 = 0x40;
const FREE: u8 = 0x80;

/// Where the value of a name is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A fast local that is bound whenever the line is reached.
    Fast(u32),
    /// A fast local, else as the fallback.
    MaybeFast(u32),
    /// A cell or free variable, else as the fallback.
    Cell(u32),
    /// The namespace of the class body, then the variable of an enclosing function.
    ClassCell(u32),
    /// LOAD_GLOBAL in a function, LOAD_NAME elsewhere.
    Fallback,
}

/// A code object and what is to be added to it.
pub(super) struct Host<'m, 'a> {
    pub(super) module: &'m mut Module<'a>,
    code: usize,
    /// Local variables, cells and free variables with their kinds.
    variables: Vec<(String, u8)>,
    names: HashMap<String, u32>,
    new_names: Vec<NodeId>,
    new_constants: Vec<NodeId>,
    n_constants: usize,
    /// The class that private names belong to.
    class: Option<String>,
}

impl<'m, 'a> Host<'m, 'a> {
    pub(super) fn new(module: &'m mut Module<'a>, code: usize) -> Result<Self, Error> {
        let known = &module.codes[code];
        let (names, kinds) = (known.localsplusnames, known.localspluskinds);
        let kinds = module.bytes(kinds, "co_localspluskinds")?.to_vec();
        let mut variables = Vec::new();
        for (&name, kind) in module.children(names).iter().zip(kinds) {
            let name = module.text(name, "co_localsplusnames")?.into_owned();
            variables.push((name, kind));
        }
        let mut names = HashMap::new();
        for (number, &name) in module.children(known.names).iter().enumerate() {
            let name = module.text(name, "co_names")?.into_owned();
            names.entry(name).or_insert(index(number));
        }
        let qualname = module.text(known.qualname, "co_qualname")?;
        let class = class_of(&qualname, known.flags & OPTIMIZED != 0).map(str::to_owned);
        let n_constants = module.constants(code)?.len();
        Ok(Self {
            module,
            code,
            variables,
            names,
            new_names: Vec::new(),
            new_constants: Vec::new(),
            n_constants,
            class,
        })
    }

    fn has_flag(&self, flag: i32) -> bool {
        self.module.codes[self.code].flags & flag != 0
    }

    /// Whether names that are nowhere else are looked up by LOAD_GLOBAL.
    pub(super) fn is_function(&self) -> bool {
        self.has_flag(OPTIMIZED)
    }

    pub(super) fn n_variables(&self) -> usize {
        self.variables.len()
    }

    /// Where a name is found when control is at the instruction at `position` of `body`.
    pub(super) fn lookup(&self, spec: &Spec, body: &Body, position: u32, name: &str) -> Lookup {
        let found = self.variables.iter().position(|(known, _)| known == name);
        let Some(variable) = found else {
            return Lookup::Fallback;
        };
        let number = index(variable);
        match self.variables[variable].1 {
            kind if kind & (CELL | FREE) != 0 => {
                if self.is_function() {
                    Lookup::Cell(number)
                } else {
                    Lookup::ClassCell(number)
                }
            }
            _ if bound::always(spec, body, number, variable < self.n_arguments(), position) => {
                Lookup::Fast(number)
            }
            _ => Lookup::MaybeFast(number),
        }
    }

    fn n_arguments(&self) -> usize {
        let code = &self.module.codes[self.code];
        let variadic = VARIADIC.iter().filter(|flag| code.flags & **flag != 0);
        // Positional-only arguments are among the positional ones.
        let named = code.argcount.saturating_add(code.kwonlyargcount);
        usize::try_from(named).unwrap_or_default() + variadic.count()
    }

    /// A name as the compiler would store it in this place.
    pub(super) fn mangled(&self, name: &str) -> String {
        let private = name.starts_with("__") && !name.ends_with("__") && !name.contains('.');
        match &self.class {
            Some(class) if private => format!("_{class}{name}"),
            _ => name.to_owned(),
        }
    }

    /// The index of a name in `co_names`.
    pub(super) fn name(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(&number) = self.names.get(name) {
            return Ok(number);
        }
        let node = self.module.add_interned(name)?;
        self.new_names.push(node);
        let number = index(self.names_before() + self.new_names.len() - 1);
        self.names.insert(name.to_owned(), number);
        Ok(number)
    }

    fn names_before(&self) -> usize {
        let names = self.module.codes[self.code].names;
        self.module.children(names).len()
    }

    /// The index in `co_consts` of a constant that is added.
    pub(super) fn constant(&mut self, node: NodeId) -> u32 {
        self.new_constants.push(node);
        index(self.n_constants + self.new_constants.len() - 1)
    }

    /// The index of a placeholder for a probe that is added.
    pub(super) fn placeholder(&mut self) -> Result<u32, Error> {
        let none = self.module.none()?;
        Ok(self.constant(none))
    }

    pub(super) fn n_constants(&self) -> usize {
        self.n_constants + self.new_constants.len()
    }

    pub(super) fn n_names(&self) -> usize {
        self.names_before() + self.new_names.len()
    }

    /// Adds the names and constants to the code object.
    pub(super) fn extend(self) -> Result<(), Error> {
        let code = &self.module.codes[self.code];
        let (names, consts) = (code.names, code.consts);
        let names = self.module.extended(names, &self.new_names)?;
        let consts = self.module.extended(consts, &self.new_constants)?;
        let code = &mut self.module.codes[self.code];
        code.names = names;
        code.consts = consts;
        Ok(())
    }
}

/// The class whose private names a code object can use, without leading underscores.
///
/// In a qualified name functions are followed by `<locals>` and classes are not; the last part
/// is the code object itself.
fn class_of(qualname: &str, is_function: bool) -> Option<&str> {
    let mut parts: Vec<&str> = qualname.split('.').collect();
    if is_function {
        parts.pop();
    }
    while let Some(last) = parts.pop() {
        if last == "<locals>" {
            parts.pop();
        } else {
            let class = last.trim_start_matches('_');
            let plain = !class.is_empty() && !class.starts_with('<');
            return plain.then_some(class);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::class_of;

    #[test]
    fn private_names_belong_to_the_innermost_class() {
        for (qualname, is_function, class) in [
            ("f", true, None),
            ("C.f", true, Some("C")),
            ("C", false, Some("C")),
            ("_C.f", true, Some("C")),
            ("__.f", true, None),
            ("C.f.<locals>.g", true, Some("C")),
            ("f.<locals>.C.g", true, Some("C")),
            ("C.f.<locals>.<listcomp>", true, Some("C")),
            ("C.D.f", true, Some("D")),
            ("<module>", false, None),
        ] {
            assert_eq!(class_of(qualname, is_function), class, "{qualname}");
        }
    }
}
