//! Objects that are added to a module: copies out of another one, texts, longer tuples.

use super::{Module, NodeId, takes_reference};
use crate::error::{Error, ErrorKind};

impl Module<'_> {
    /// The code object at the end of a path of indices into successive constants.
    pub(crate) fn at(&self, path: &[u32]) -> Result<usize, Error> {
        let mut code = self.root_code();
        for &step in path {
            let constant = self.constants(code)?.get(step as usize);
            let inner = constant.and_then(|&constant| self.code_index(constant));
            code = inner.ok_or(ErrorKind::BadField("co_consts"))?;
        }
        Ok(code)
    }

    /// The one `None` that is added.
    pub(crate) fn none(&mut self) -> Result<NodeId, Error> {
        if let Some(none) = self.none {
            return Ok(none);
        }
        self.pool.push(b'N');
        let end = self.input.len() + self.pool.len();
        let none = self.add(b'N', end, end)?;
        self.none = Some(none);
        Ok(none)
    }

    /// A new string that is interned when it is loaded.
    pub(crate) fn add_interned(&mut self, text: &str) -> Result<NodeId, Error> {
        self.add_text(text, b't')
    }

    /// A new string.
    pub(crate) fn add_string(&mut self, text: &str) -> Result<NodeId, Error> {
        self.add_text(text, b'u')
    }

    fn add_text(&mut self, text: &str, tag: u8) -> Result<NodeId, Error> {
        self.pool.push(tag);
        let start = self.input.len() + self.pool.len();
        let length = i32::try_from(text.len()).map_err(|_| ErrorKind::TooLarge)?;
        self.pool.extend_from_slice(&length.to_le_bytes());
        self.pool.extend_from_slice(text.as_bytes());
        let end = self.input.len() + self.pool.len();
        self.add(tag, start, end)
    }

    /// A copy of an object of another module; `None` when it is or holds a code object.
    pub(crate) fn copied(
        &mut self,
        other: &Module<'_>,
        id: NodeId,
    ) -> Result<Option<NodeId>, Error> {
        let node = other.node(id);
        match node.tag {
            b'c' => Ok(None),
            b')' | b'(' | b'[' | b'<' | b'>' | b':' | b'{' | b'}' => {
                let mut copies = Vec::new();
                for &child in other.children(id) {
                    let Some(copy) = self.copied(other, child)? else {
                        return Ok(None);
                    };
                    copies.push(copy);
                }
                let start = self.children.len();
                self.children.extend(copies);
                let end = self.children.len();
                self.add(node.tag, start, end).map(Some)
            }
            tag => {
                self.pool.push(tag);
                let start = self.input.len() + self.pool.len();
                self.pool.extend_from_slice(other.leaf(node));
                let end = self.input.len() + self.pool.len();
                self.add(tag, start, end).map(Some)
            }
        }
    }

    /// A tuple of the elements of `tuple` and `more`.
    pub(crate) fn extended(&mut self, tuple: NodeId, more: &[NodeId]) -> Result<NodeId, Error> {
        if more.is_empty() {
            return Ok(tuple);
        }
        let old = self.node(tuple);
        let start = self.children.len();
        self.children
            .extend_from_within(old.start as usize..old.end as usize);
        self.children.extend(more);
        let end = self.children.len();
        if old.shared {
            // Another code object has the same tuple: its elements stay one object each.
            for &child in &self.children[start..end - more.len()] {
                let child = &mut self.nodes[child as usize];
                child.shared = takes_reference(child.tag);
            }
        }
        let tag = if end - start < 256 { b')' } else { b'(' };
        self.add(tag, start, end)
    }
}
