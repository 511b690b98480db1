//! The arena to marshal bytes; references are numbered in the order of writing.

use super::{FLAG_REF, Module, Node, NodeId};
use crate::bytes::append;
use crate::decode::index;

const UNWRITTEN: u32 = u32::MAX;

pub(super) fn write(module: &Module<'_>) -> Vec<u8> {
    let mut writer = Writer {
        module,
        numbers: vec![UNWRITTEN; module.nodes.len()],
        next: 0,
        out: Vec::with_capacity(module.input.len() + module.pool.len() + 64),
    };
    writer.object(module.root);
    writer.out
}

struct Writer<'m, 'a> {
    module: &'m Module<'a>,
    /// Reference number of each shared node written so far.
    numbers: Vec<u32>,
    next: u32,
    out: Vec<u8>,
}

impl Writer<'_, '_> {
    fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Writes an object. What was written before needs no call.
    #[inline]
    fn object(&mut self, id: NodeId) {
        let node = self.module.node(id);
        if node.is_shared() {
            let number = self.numbers[id as usize];
            if number != UNWRITTEN {
                let [a, b, c, d] = number.to_le_bytes();
                self.out.extend_from_slice(&[b'r', a, b, c, d]);
                return;
            }
        }
        self.unwritten(id, node);
    }

    #[inline(never)]
    fn unwritten(&mut self, id: NodeId, node: Node) {
        let mut tag = node.tag;
        if node.is_shared() {
            self.numbers[id as usize] = self.next;
            self.next += 1;
            tag |= FLAG_REF;
        }
        if node.is_leaf() {
            // The type byte is copied with the rest, and then set.
            let at = self.out.len();
            let (source, from, to) = self.module.tagged_leaf(node);
            append(&mut self.out, source, from, to);
            self.out[at] = tag;
        } else {
            self.container(node, tag);
        }
    }

    #[inline(never)]
    fn container(&mut self, node: Node, tag: u8) {
        match node.tag {
            b'c' => {
                self.out.push(tag);
                self.code(node.start as usize);
            }
            b')' => {
                let count = u8::try_from(node.end - node.start).unwrap_or(u8::MAX);
                self.out.extend_from_slice(&[tag, count]);
                self.children(node);
            }
            b':' => {
                self.out.push(tag);
                self.children(node);
            }
            b'{' | b'}' => {
                self.out.push(tag);
                self.children(node);
                self.out.push(b'0');
            }
            _ => {
                let [a, b, c, d] = (node.end - node.start).to_le_bytes();
                self.out.extend_from_slice(&[tag, a, b, c, d]);
                self.children(node);
            }
        }
    }

    fn children(&mut self, node: Node) {
        let module = self.module;
        for &child in &module.children[node.start as usize..node.end as usize] {
            self.object(child);
        }
    }

    /// Writes a tuple that no one else has, and so many `None` behind its elements.
    fn own_constants(&mut self, tuple: NodeId, placeholders: usize) {
        let node = self.module.node(tuple);
        let count = (node.end - node.start) as usize + placeholders;
        if let Ok(count) = u8::try_from(count) {
            self.out.extend_from_slice(&[b')', count]);
        } else {
            let [a, b, c, d] = index(count).to_le_bytes();
            self.out.extend_from_slice(&[b'(', a, b, c, d]);
        }
        self.children(node);
        let end = self.out.len() + placeholders;
        self.out.resize(end, b'N');
    }

    fn code(&mut self, number: usize) {
        let module = self.module;
        let code = &module.codes[number];
        let counts = [
            code.argcount,
            code.posonlyargcount,
            code.kwonlyargcount,
            code.stacksize,
            code.flags,
        ];
        self.out
            .extend_from_slice(counts.map(i32::to_le_bytes).as_flattened());
        self.object(code.code);
        match code.placeholders {
            Some(placeholders) => self.own_constants(code.consts, placeholders as usize),
            None => self.object(code.consts),
        }
        for node in [
            code.names,
            code.localsplusnames,
            code.localspluskinds,
            code.filename,
            code.name,
            code.qualname,
        ] {
            self.object(node);
        }
        self.int(code.firstlineno);
        self.object(code.linetable);
        self.object(code.exceptiontable);
    }
}
