//! Marshal data as a flat arena that borrows from the input.
//!
//! Every object is a [`Node`]: leaves are byte ranges copied verbatim, containers are ranges of
//! children, code objects an index into [`Module::codes`]. A reference (`'r'`) resolves to the
//! node it names; the writer numbers references anew, so nodes may be replaced freely and what
//! was not replaced comes out byte for byte. The format is `Python/marshal.c`; it is the same
//! for CPython 3.11 to 3.15 but for the types added in 3.14 (slice) and 3.15 (frozendict).

mod graft;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::borrow::Cow;

use crate::assemble::Assembled;
use crate::error::{Error, ErrorKind};

/// The bit of a type byte that enters the object into the reference list.
const FLAG_REF: u8 = 0x80;

/// `MAX_MARSHAL_STACK_DEPTH` of CPython on most platforms.
const MAX_DEPTH: usize = 2000;

/// Whether objects of a type may be in the reference list: CPython ignores the bit on
/// singletons.
fn takes_reference(tag: u8) -> bool {
    !matches!(tag, b'N' | b'T' | b'F' | b'S' | b'.')
}

/// What [`Module::walk`] calls: with a code object and its path.
pub(crate) type Visitor<'v> = &'v mut dyn FnMut(usize, &[u32]) -> Result<(), Error>;

/// Index of a node in its [`Module`].
pub(crate) type NodeId = u32;

/// One marshalled object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// The type byte without [`FLAG_REF`].
    pub(crate) tag: u8,
    /// Whether the object is in the reference list.
    shared: bool,
    /// Leaves: the bytes after the type byte. Containers: children. Code: `start` is its index.
    start: u32,
    end: u32,
}

#[expect(clippy::struct_field_names, reason = "the names of CPython's fields")]
/// A code object; every field that is an object is a node.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) argcount: i32,
    pub(crate) posonlyargcount: i32,
    pub(crate) kwonlyargcount: i32,
    pub(crate) stacksize: i32,
    pub(crate) flags: i32,
    pub(crate) code: NodeId,
    pub(crate) consts: NodeId,
    pub(crate) names: NodeId,
    pub(crate) localsplusnames: NodeId,
    pub(crate) localspluskinds: NodeId,
    pub(crate) filename: NodeId,
    pub(crate) name: NodeId,
    pub(crate) qualname: NodeId,
    pub(crate) firstlineno: i32,
    pub(crate) linetable: NodeId,
    pub(crate) exceptiontable: NodeId,
    /// In edited code, which has a tuple of constants of its own: how many `None` follow them.
    placeholders: Option<u32>,
}

/// A marshalled module: the arena and the code objects found in it, innermost first.
pub(crate) struct Module<'a> {
    input: &'a [u8],
    /// Leaves made here, each behind its type byte; their ranges start at `input.len()`.
    pool: Vec<u8>,
    nodes: Vec<Node>,
    children: Vec<NodeId>,
    pub(crate) codes: Vec<Code>,
    root: NodeId,
    /// The one `None` that placeholders share.
    none: Option<NodeId>,
}

impl<'a> Module<'a> {
    /// Reads one marshalled code object that fills `input`.
    pub(crate) fn read(input: &'a [u8]) -> Result<Self, Error> {
        read::read(input)
    }

    /// The marshalled form.
    pub(crate) fn write(&self) -> Vec<u8> {
        write::write(self)
    }

    /// The index of the outermost code object.
    pub(crate) fn root_code(&self) -> usize {
        self.nodes[self.root as usize].start as usize
    }

    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes[id as usize]
    }

    /// The objects of a container, in order.
    pub(crate) fn children(&self, id: NodeId) -> &[NodeId] {
        let node = self.node(id);
        &self.children[node.start as usize..node.end as usize]
    }

    /// The code object that a node is, if it is one.
    pub(crate) fn code_index(&self, id: NodeId) -> Option<usize> {
        let node = self.node(id);
        (node.tag == b'c').then_some(node.start as usize)
    }

    /// The payload of a `bytes` object.
    pub(crate) fn bytes(&self, id: NodeId, field: &'static str) -> Result<&[u8], Error> {
        let node = self.node(id);
        match node.tag {
            b's' => Ok(&self.leaf(node)[4..]),
            _ => Err(ErrorKind::BadField(field).into()),
        }
    }

    /// The text of a `str` object; lone surrogates are replaced.
    pub(crate) fn text(&self, id: NodeId, field: &'static str) -> Result<Cow<'_, str>, Error> {
        let node = self.node(id);
        let skip = match node.tag {
            b'u' | b't' | b'a' | b'A' => 4,
            b'z' | b'Z' => 1,
            _ => return Err(ErrorKind::BadField(field).into()),
        };
        let bytes = &self.leaf(node)[skip..];
        // Of text that needs no replacement this is far quicker.
        Ok(std::str::from_utf8(bytes)
            .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    /// The constants of a code object, without placeholders.
    pub(crate) fn constants(&self, code: usize) -> Result<&[NodeId], Error> {
        let id = self.codes[code].consts;
        match self.node(id).tag {
            b'(' | b')' => Ok(self.children(id)),
            _ => Err(ErrorKind::BadField("co_consts").into()),
        }
    }

    /// Visits every code object once, outer before inner, with the path of constant indices
    /// that leads to it.
    pub(crate) fn walk(&self, visit: Visitor<'_>) -> Result<(), Error> {
        let mut walk = Walk::new(self);
        while let Some(code) = walk.next(self)? {
            visit(code, walk.path())?;
        }
        Ok(())
    }

    /// Puts edited tables into a code object, and `placeholders` times `None` behind its
    /// constants.
    pub(crate) fn replace(
        &mut self,
        code: usize,
        tables: &Assembled,
        stacksize: i32,
        placeholders: u32,
    ) -> Result<(), Error> {
        if self.pool.capacity() == 0 {
            // Where one code object is edited, mostly all are.
            self.pool.reserve(self.input.len());
        }
        self.own_constants(code)?;
        let instructions = self.add_bytes(&tables.code)?;
        let linetable = self.add_bytes(&tables.linetable)?;
        let exceptiontable = self.add_bytes(&tables.exceptiontable)?;
        let code = &mut self.codes[code];
        code.stacksize = stacksize;
        code.placeholders = Some(placeholders);
        code.code = instructions;
        code.linetable = linetable;
        code.exceptiontable = exceptiontable;
        Ok(())
    }

    /// A new `bytes` object.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) -> Result<NodeId, Error> {
        self.pool.push(b's');
        let start = self.input.len() + self.pool.len();
        let length = i32::try_from(bytes.len()).map_err(|_| ErrorKind::TooLarge)?;
        self.pool.extend_from_slice(&length.to_le_bytes());
        self.pool.extend_from_slice(bytes);
        let end = self.input.len() + self.pool.len();
        self.add(b's', start, end)
    }

    /// Prepares the constants of a code object for being written as a tuple of its own.
    fn own_constants(&mut self, code: usize) -> Result<(), Error> {
        let tuple = self.node(self.codes[code].consts);
        self.constants(code)?;
        if tuple.shared {
            // Another code object has the same tuple: its elements stay one object each.
            for &child in &self.children[tuple.start as usize..tuple.end as usize] {
                let child = &mut self.nodes[child as usize];
                child.shared = takes_reference(child.tag);
            }
        }
        Ok(())
    }

    fn add(&mut self, tag: u8, start: usize, end: usize) -> Result<NodeId, Error> {
        let too_large = |_| Error::from(ErrorKind::TooLarge);
        let id = NodeId::try_from(self.nodes.len()).map_err(too_large)?;
        self.nodes.push(Node {
            tag,
            shared: false,
            start: u32::try_from(start).map_err(too_large)?,
            end: u32::try_from(end).map_err(too_large)?,
        });
        Ok(id)
    }

    fn leaf(&self, node: Node) -> &[u8] {
        let (source, from, to) = self.tagged_leaf(node);
        &source[from + 1..to]
    }

    /// A leaf with a type byte in front that need not be up to date: what it is in, and where.
    fn tagged_leaf(&self, node: Node) -> (&[u8], usize, usize) {
        // No leaf starts at 0, where the module has its own type byte.
        let (start, end) = (node.start as usize - 1, node.end as usize);
        match start.checked_sub(self.input.len()) {
            Some(start) => (&self.pool, start, end - self.input.len()),
            None => (self.input, start, end),
        }
    }
}

/// A walk over the code objects of a module, each once, outer before inner. The one that was
/// returned last may be edited before the walk goes on.
pub(crate) struct Walk {
    /// Code objects on the way, each with the next of its constants.
    open: Vec<(usize, u32)>,
    path: Vec<u32>,
    seen: Vec<bool>,
    root: Option<usize>,
}

impl Walk {
    pub(crate) fn new(module: &Module<'_>) -> Self {
        Self {
            open: Vec::new(),
            path: Vec::new(),
            seen: vec![false; module.codes.len()],
            root: Some(module.root_code()),
        }
    }

    /// Indices into successive constants that lead to the code object returned last.
    pub(crate) fn path(&self) -> &[u32] {
        &self.path
    }

    pub(crate) fn next(&mut self, module: &Module<'_>) -> Result<Option<usize>, Error> {
        if let Some(root) = self.root.take() {
            self.seen[root] = true;
            self.open.push((root, 0));
            return Ok(Some(root));
        }
        while let Some((code, next)) = self.open.last_mut() {
            let constants = module.constants(*code)?;
            while let Some(&constant) = constants.get(*next as usize) {
                *next += 1;
                if let Some(inner) = module.code_index(constant)
                    && !std::mem::replace(&mut self.seen[inner], true)
                {
                    self.path.push(*next - 1);
                    self.open.push((inner, 0));
                    return Ok(Some(inner));
                }
            }
            self.open.pop();
            self.path.pop();
        }
        Ok(None)
    }
}
