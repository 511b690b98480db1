//! The arena to marshal bytes; references are numbered in the order of writing.

use super::{FLAG_REF, Module, NodeId};

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
    /// Reference number of each node written so far.
    numbers: Vec<u32>,
    next: u32,
    out: Vec<u8>,
}

impl Writer<'_, '_> {
    fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn object(&mut self, id: NodeId) {
        let node = self.module.node(id);
        let number = self.numbers[id as usize];
        if number != UNWRITTEN {
            self.out.push(b'r');
            self.out.extend_from_slice(&number.to_le_bytes());
            return;
        }
        let mut tag = node.tag;
        if node.is_shared() {
            tag |= FLAG_REF;
            self.numbers[id as usize] = self.next;
            self.next += 1;
        }
        self.out.push(tag);
        match node.tag {
            b'c' => self.code(node.start as usize),
            b')' => {
                let count = node.end - node.start;
                self.out.push(u8::try_from(count).unwrap_or(u8::MAX));
                self.children(id);
            }
            b'(' | b'[' | b'<' | b'>' => {
                self.out
                    .extend_from_slice(&(node.end - node.start).to_le_bytes());
                self.children(id);
            }
            b':' => self.children(id),
            b'{' | b'}' => {
                self.children(id);
                self.out.push(b'0');
            }
            _ => self.out.extend_from_slice(self.module.leaf(node)),
        }
    }

    fn children(&mut self, id: NodeId) {
        let module = self.module;
        for &child in module.children(id) {
            self.object(child);
        }
    }

    fn code(&mut self, index: usize) {
        let module = self.module;
        let code = &module.codes[index];
        for value in [
            code.argcount,
            code.posonlyargcount,
            code.kwonlyargcount,
            code.stacksize,
            code.flags,
        ] {
            self.int(value);
        }
        for node in [
            code.code,
            code.consts,
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
