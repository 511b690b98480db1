//! Marshal bytes to the arena: one pass, bounds checked, no allocation per object.

use super::{Code, FLAG_REF, MAX_DEPTH, Module, Node, NodeId, takes_reference};
use crate::error::{Error, ErrorKind};

/// A node that is still being read may not be referred to.
const INCOMPLETE: u32 = u32::MAX;

pub(super) fn read(input: &[u8]) -> Result<Module<'_>, Error> {
    if u32::try_from(input.len()).is_err() {
        return Err(ErrorKind::TooLarge.into());
    }
    let mut reader = Reader {
        input,
        at: 0,
        depth: 0,
        references: Vec::new(),
        pending: Vec::new(),
        module: Module {
            input,
            pool: Vec::new(),
            nodes: Vec::with_capacity(input.len() / 24),
            children: Vec::with_capacity(input.len() / 32),
            codes: Vec::new(),
            root: 0,
            none: None,
        },
    };
    let root = reader.object()?;
    if reader.at != input.len() {
        let rest = input.len() - reader.at;
        return Err(Error::at(ErrorKind::TrailingBytes(rest), reader.at));
    }
    let mut module = reader.module;
    if module.node(root).tag != b'c' {
        return Err(ErrorKind::NotCode.into());
    }
    module.root = root;
    Ok(module)
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: usize,
    /// Reference list: node, or [`INCOMPLETE`].
    references: Vec<NodeId>,
    /// Children of the containers being read.
    pending: Vec<NodeId>,
    module: Module<'a>,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], Error> {
        let bytes = self
            .input
            .get(self.at..)
            .and_then(|rest| rest.get(..count))
            .ok_or_else(|| Error::at(ErrorKind::Truncated, self.input.len()))?;
        self.at += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn int(&mut self) -> Result<i32, Error> {
        let bytes = self.take(4)?;
        Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A 32-bit length; what follows cannot be shorter than one byte an element.
    fn length(&mut self) -> Result<usize, Error> {
        let at = self.at;
        let length = self.int()?;
        let rest = self.input.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= rest => Ok(length),
            Ok(_) => Err(Error::at(ErrorKind::Truncated, at)),
            Err(_) => Err(Error::at(ErrorKind::BadLength(i64::from(length)), at)),
        }
    }

    fn object(&mut self) -> Result<NodeId, Error> {
        let at = self.at;
        self.object_or_null()?
            .ok_or_else(|| Error::at(ErrorKind::UnexpectedNull, at))
    }

    /// The next object, or `None` for the end mark of a dict.
    fn object_or_null(&mut self) -> Result<Option<NodeId>, Error> {
        let at = self.at;
        let byte = self.byte()?;
        let (tag, shared) = (byte & !FLAG_REF, byte & FLAG_REF != 0);
        if tag == b'0' {
            return Ok(None);
        }
        if tag == b'r' {
            let index = self.int()?;
            let target = usize::try_from(index)
                .ok()
                .and_then(|index| self.references.get(index).copied());
            return match target {
                Some(node) if node != INCOMPLETE => Ok(Some(node)),
                _ => Err(Error::at(ErrorKind::BadReference(index), at)),
            };
        }
        let reference = (shared && takes_reference(tag)).then(|| {
            self.references.push(INCOMPLETE);
            self.references.len() - 1
        });
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::at(ErrorKind::TooDeep(MAX_DEPTH), at));
        }
        let (start, end) = self.body(tag, at)?;
        self.depth -= 1;
        let id = self.module.add(tag, start, end)?;
        if let Some(reference) = reference {
            self.module.nodes[id as usize].shared = true;
            self.references[reference] = id;
        }
        Ok(Some(id))
    }

    /// What follows a type byte: a range of bytes, of children, or the index of a code object.
    fn body(&mut self, tag: u8, at: usize) -> Result<(usize, usize), Error> {
        let start = self.at;
        match tag {
            b'N' | b'T' | b'F' | b'S' | b'.' => {}
            b'i' => drop(self.take(4)?),
            b'I' | b'g' => drop(self.take(8)?),
            b'y' => drop(self.take(16)?),
            b'l' => {
                let digits = self.int()?.unsigned_abs() as usize;
                let bytes = digits.checked_mul(2).ok_or(ErrorKind::Truncated)?;
                self.take(bytes)?;
            }
            b'f' | b'z' | b'Z' => self.short_text()?,
            b'x' => {
                self.short_text()?;
                self.short_text()?;
            }
            b's' | b'u' | b't' | b'a' | b'A' => {
                let length = self.length()?;
                self.take(length)?;
            }
            b')' => {
                let count = usize::from(self.byte()?);
                return self.sequence(count);
            }
            b'(' | b'[' | b'<' | b'>' => {
                let count = self.length()?;
                return self.sequence(count);
            }
            b':' => return self.sequence(3),
            b'{' | b'}' => return self.pairs(),
            b'c' => {
                let code = self.code()?;
                self.module.codes.push(code);
                let index = self.module.codes.len() - 1;
                return Ok((index, index));
            }
            _ => return Err(Error::at(ErrorKind::UnknownType(tag), at)),
        }
        Ok((start, self.at))
    }

    fn short_text(&mut self) -> Result<(), Error> {
        let length = usize::from(self.byte()?);
        self.take(length).map(drop)
    }

    fn sequence(&mut self, count: usize) -> Result<(usize, usize), Error> {
        let mark = self.pending.len();
        for _ in 0..count {
            let child = self.object()?;
            self.pending.push(child);
        }
        Ok(self.close(mark))
    }

    fn pairs(&mut self) -> Result<(usize, usize), Error> {
        let mark = self.pending.len();
        while let Some(key) = self.object_or_null()? {
            let value = self.object()?;
            self.pending.extend([key, value]);
        }
        Ok(self.close(mark))
    }

    fn close(&mut self, mark: usize) -> (usize, usize) {
        let start = self.module.children.len();
        self.module.children.extend(self.pending.drain(mark..));
        (start, self.module.children.len())
    }

    fn code(&mut self) -> Result<Code, Error> {
        Ok(Code {
            argcount: self.int()?,
            posonlyargcount: self.int()?,
            kwonlyargcount: self.int()?,
            stacksize: self.int()?,
            flags: self.int()?,
            code: self.object()?,
            consts: self.object()?,
            names: self.object()?,
            localsplusnames: self.object()?,
            localspluskinds: self.object()?,
            filename: self.object()?,
            name: self.object()?,
            qualname: self.object()?,
            firstlineno: self.int()?,
            linetable: self.object()?,
            exceptiontable: self.object()?,
        })
    }
}

impl Node {
    pub(super) fn is_shared(self) -> bool {
        self.shared
    }
}
