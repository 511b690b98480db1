//! A second reader of marshal data, written for plainness: objects as a tree, references
//! resolved. It shares nothing with the crate.

use std::rc::Rc;

/// A marshalled object; what no test looks at is kept as its type byte and its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object {
    None,
    Bytes(Vec<u8>),
    Text(String),
    Tuple(Vec<Rc<Object>>),
    Code(Code),
    Other(u8, Vec<u8>, Vec<Rc<Object>>),
}

#[expect(clippy::struct_field_names, reason = "the names of CPython's fields")]
/// A code object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Code {
    /// Argument counts, stack size, flags, first line.
    pub(crate) numbers: [i32; 6],
    pub(crate) code: Rc<Object>,
    pub(crate) consts: Rc<Object>,
    /// Names, local names and kinds, file name, name, qualified name.
    pub(crate) names: [Rc<Object>; 6],
    pub(crate) linetable: Rc<Object>,
    pub(crate) exceptiontable: Rc<Object>,
}

impl Code {
    pub(crate) fn qualname(&self) -> &str {
        match &*self.names[5] {
            Object::Text(name) => name,
            other => panic!("a name is {other:?}"),
        }
    }

    pub(crate) fn consts(&self) -> &[Rc<Object>] {
        match &*self.consts {
            Object::Tuple(items) => items,
            other => panic!("co_consts is {other:?}"),
        }
    }

    /// The code object at the end of a path of constant indices.
    pub(crate) fn at(&self, path: &[u32]) -> &Self {
        path.iter()
            .fold(self, |code, &step| match &*code.consts()[step as usize] {
                Object::Code(inner) => inner,
                other => panic!("a path leads to {other:?}"),
            })
    }
}

/// Reads a module.
pub(crate) fn module(bytes: &[u8]) -> Code {
    let mut reader = Reader {
        rest: bytes,
        references: Vec::new(),
    };
    let root = reader.object();
    assert!(reader.rest.is_empty(), "bytes follow the module");
    match &*root {
        Object::Code(code) => code.clone(),
        other => panic!("a module is {other:?}"),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    references: Vec<Option<Rc<Object>>>,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken.to_vec()
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn int(&mut self) -> i32 {
        i32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn size(&mut self) -> usize {
        usize::try_from(self.int()).expect("a length")
    }

    fn object(&mut self) -> Rc<Object> {
        self.object_or_end().expect("an object")
    }

    fn object_or_end(&mut self) -> Option<Rc<Object>> {
        let byte = self.byte();
        let tag = byte & 0x7f;
        if tag == b'0' {
            return None;
        }
        if tag == b'r' {
            let index = self.size();
            return Some(self.references[index].clone().expect("a complete object"));
        }
        let number = self.references.len();
        if byte & 0x80 != 0 {
            self.references.push(None);
        }
        let object = Rc::new(self.body(tag));
        if byte & 0x80 != 0 {
            self.references[number] = Some(object.clone());
        }
        Some(object)
    }

    fn items(&mut self, count: usize) -> Vec<Rc<Object>> {
        (0..count).map(|_| self.object()).collect()
    }

    fn body(&mut self, tag: u8) -> Object {
        let text = |bytes: Vec<u8>| Object::Text(String::from_utf8_lossy(&bytes).into_owned());
        match tag {
            b'N' => Object::None,
            b'T' | b'F' | b'S' | b'.' => Object::Other(tag, Vec::new(), Vec::new()),
            b'i' => Object::Other(tag, self.take(4), Vec::new()),
            b'g' => Object::Other(tag, self.take(8), Vec::new()),
            b'y' => Object::Other(tag, self.take(16), Vec::new()),
            b'l' => {
                let digits = self.int().unsigned_abs() as usize;
                Object::Other(tag, self.take(2 * digits), Vec::new())
            }
            b's' => {
                let size = self.size();
                Object::Bytes(self.take(size))
            }
            b'z' | b'Z' => {
                let size = usize::from(self.byte());
                text(self.take(size))
            }
            b'u' | b't' | b'a' | b'A' => {
                let size = self.size();
                text(self.take(size))
            }
            b')' => {
                let count = usize::from(self.byte());
                Object::Tuple(self.items(count))
            }
            b'(' => {
                let count = self.size();
                Object::Tuple(self.items(count))
            }
            b'[' | b'<' | b'>' => {
                let count = self.size();
                Object::Other(tag, Vec::new(), self.items(count))
            }
            b':' => Object::Other(tag, Vec::new(), self.items(3)),
            b'{' | b'}' => {
                let items = std::iter::from_fn(|| self.object_or_end()).collect();
                Object::Other(tag, Vec::new(), items)
            }
            b'c' => Object::Code(self.code()),
            _ => panic!("unknown type {tag:#x}"),
        }
    }

    fn code(&mut self) -> Code {
        let [arguments, positional, keyword, stack, flags] = std::array::from_fn(|_| self.int());
        let (code, consts) = (self.object(), self.object());
        let names = std::array::from_fn(|_| self.object());
        let first_line = self.int();
        Code {
            numbers: [arguments, positional, keyword, stack, flags, first_line],
            code,
            consts,
            names,
            linetable: self.object(),
            exceptiontable: self.object(),
        }
    }
}
