//! Marshal bytes to the arena: one pass, bounds checked, no allocation per object.

use super::{Code, FLAG_REF, MAX_DEPTH, Module, Node, NodeId, takes_reference};
use crate::decode::index;
use crate::error::{Error, ErrorKind};

/// A node that is still being read may not be referred to.
const INCOMPLETE: NodeId = u32::MAX;
/// The type of the end mark of a dict, in place of an object.
const NULL: u8 = b'0';

pub(super) fn read(input: &[u8]) -> Result<Module<'_>, Error> {
    if u32::try_from(input.len()).is_err() {
        return Err(ErrorKind::TooLarge.into());
    }
    let mut reader = Reader {
        input,
        at: 0,
        depth: 0,
        references: Vec::with_capacity(input.len() / 64),
        pending: Vec::new(),
        nodes: Vec::with_capacity(input.len() / 24),
        children: Vec::with_capacity(input.len() / 32),
        codes: Vec::new(),
        error: None,
    };
    let Ok(root) = reader.object() else {
        let unknown = ErrorKind::Truncated.into();
        return Err(reader.error.unwrap_or(unknown));
    };
    if reader.at != input.len() {
        let rest = input.len() - reader.at;
        return Err(Error::at(ErrorKind::TrailingBytes(rest), reader.at));
    }
    if reader.nodes[root as usize].tag != b'c' {
        return Err(ErrorKind::NotCode.into());
    }
    Ok(Module {
        input,
        pool: Vec::new(),
        nodes: reader.nodes,
        children: reader.children,
        codes: reader.codes,
        root,
        none: None,
    })
}

/// The error is in the reader, so that results of objects fit a register.
struct Failed;

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: usize,
    /// Reference list: node, or [`INCOMPLETE`].
    references: Vec<NodeId>,
    /// Children of the containers being read.
    pending: Vec<NodeId>,
    nodes: Vec<Node>,
    children: Vec<NodeId>,
    codes: Vec<Code>,
    error: Option<Error>,
}

impl Reader<'_> {
    #[cold]
    fn fail(&mut self, kind: ErrorKind, at: usize) -> Failed {
        self.error = Some(Error::at(kind, at));
        Failed
    }

    fn skip(&mut self, count: usize) -> Result<(), Failed> {
        if count > self.input.len() - self.at {
            return Err(self.fail(ErrorKind::Truncated, self.input.len()));
        }
        self.at += count;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Failed> {
        let Some(&byte) = self.input.get(self.at) else {
            return Err(self.fail(ErrorKind::Truncated, self.input.len()));
        };
        self.at += 1;
        Ok(byte)
    }

    fn int(&mut self) -> Result<i32, Failed> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk() else {
            return Err(self.fail(ErrorKind::Truncated, self.input.len()));
        };
        self.at += 4;
        Ok(i32::from_le_bytes(*bytes))
    }

    /// A 32-bit length; what follows cannot be shorter than one byte an element.
    fn length(&mut self) -> Result<usize, Failed> {
        let at = self.at;
        let length = self.int()?;
        let rest = self.input.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= rest => Ok(length),
            Ok(_) => Err(self.fail(ErrorKind::Truncated, at)),
            Err(_) => Err(self.fail(ErrorKind::BadLength(i64::from(length)), at)),
        }
    }

    #[inline]
    fn object(&mut self) -> Result<NodeId, Failed> {
        // Nearly half of all objects are references, which need nothing of what others do.
        let at = self.at;
        let rest = self.input.get(at..).unwrap_or_default();
        if let Some(&[b'r', a, b, c, d]) = rest.first_chunk()
            && let Some(&node) = self
                .references
                .get(u32::from_le_bytes([a, b, c, d]) as usize)
            && node != INCOMPLETE
        {
            self.at += 5;
            return Ok(node);
        }
        self.other_object()
    }

    #[inline(never)]
    fn other_object(&mut self) -> Result<NodeId, Failed> {
        let at = self.at;
        let byte = self.byte()?;
        let tag = byte & !FLAG_REF;
        match tag {
            b'r' => return self.reference(at),
            NULL => return Err(self.fail(ErrorKind::UnexpectedNull, at)),
            _ => {}
        }
        let shared = byte & FLAG_REF != 0 && takes_reference(tag);
        if self.depth >= MAX_DEPTH {
            return Err(self.fail(ErrorKind::TooDeep(MAX_DEPTH), at));
        }
        let start = self.at;
        match tag {
            b'N' | b'T' | b'F' | b'S' | b'.' => {}
            b'i' => self.skip(4)?,
            b'I' | b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            b'l' => {
                let digits = self.int()?.unsigned_abs() as usize;
                self.skip(digits.saturating_mul(2))?;
            }
            b'f' | b'z' | b'Z' => self.short_text()?,
            b'x' => {
                self.short_text()?;
                self.short_text()?;
            }
            b's' | b'u' | b't' | b'a' | b'A' => {
                // At most what is left.
                self.at += self.length()?;
            }
            _ => return self.container(tag, shared, at),
        }
        let id = self.add(tag, shared, start, self.at);
        if shared {
            self.references.push(id);
        }
        Ok(id)
    }

    fn reference(&mut self, at: usize) -> Result<NodeId, Failed> {
        let number = self.int()?;
        let target = usize::try_from(number)
            .ok()
            .and_then(|number| self.references.get(number).copied());
        match target {
            Some(node) if node != INCOMPLETE => Ok(node),
            _ => Err(self.fail(ErrorKind::BadReference(number), at)),
        }
    }

    /// An object that holds others: its node has a range of children, or the index of a code
    /// object.
    fn container(&mut self, tag: u8, shared: bool, at: usize) -> Result<NodeId, Failed> {
        let reference = self.references.len();
        if shared {
            self.references.push(INCOMPLETE);
        }
        self.depth += 1;
        let (start, end) = match tag {
            b')' => {
                let count = usize::from(self.byte()?);
                self.sequence(count)?
            }
            b'(' | b'[' | b'<' | b'>' => {
                let count = self.length()?;
                self.sequence(count)?
            }
            b':' => self.sequence(3)?,
            b'{' | b'}' => self.pairs()?,
            b'c' => {
                let code = self.code()?;
                self.codes.push(code);
                let number = self.codes.len() - 1;
                (number, number)
            }
            _ => return Err(self.fail(ErrorKind::UnknownType(tag), at)),
        };
        self.depth -= 1;
        let id = self.add(tag, shared, start, end);
        if shared {
            self.references[reference] = id;
        }
        Ok(id)
    }

    /// Objects, children and offsets are at most as many as there are bytes.
    fn add(&mut self, tag: u8, shared: bool, start: usize, end: usize) -> NodeId {
        let id = index(self.nodes.len());
        self.nodes.push(Node {
            tag,
            shared,
            start: index(start),
            end: index(end),
        });
        id
    }

    fn short_text(&mut self) -> Result<(), Failed> {
        let length = usize::from(self.byte()?);
        self.skip(length)
    }

    fn sequence(&mut self, count: usize) -> Result<(usize, usize), Failed> {
        let mark = self.pending.len();
        for _ in 0..count {
            let child = self.object()?;
            self.pending.push(child);
        }
        Ok(self.close(mark))
    }

    fn pairs(&mut self) -> Result<(usize, usize), Failed> {
        let mark = self.pending.len();
        loop {
            if self.input.get(self.at).map(|byte| byte & !FLAG_REF) == Some(NULL) {
                self.at += 1;
                return Ok(self.close(mark));
            }
            let key = self.object()?;
            let value = self.object()?;
            self.pending.extend([key, value]);
        }
    }

    fn close(&mut self, mark: usize) -> (usize, usize) {
        let start = self.children.len();
        self.children.extend_from_slice(&self.pending[mark..]);
        self.pending.truncate(mark);
        (start, self.children.len())
    }

    fn code(&mut self) -> Result<Code, Failed> {
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
            placeholders: None,
        })
    }
}

impl Node {
    pub(super) fn is_shared(self) -> bool {
        self.shared
    }

    /// Whether the object holds no others.
    pub(super) fn is_leaf(self) -> bool {
        !matches!(
            self.tag,
            b'(' | b')' | b'[' | b'<' | b'>' | b':' | b'{' | b'}' | b'c'
        )
    }
}
