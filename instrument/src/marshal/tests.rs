//! Generated object trees with references come out byte for byte.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::Module;
use crate::fuzzing;

/// An object to be marshalled; the flag asks for a place in the reference list.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(Vec<u8>, bool),
    Tuple(Vec<Tree>, bool),
    List(u8, Vec<Tree>, bool),
    Dict(Vec<(Tree, Tree)>, bool),
    Slice(Box<[Tree; 3]>, bool),
    Code(Box<[Tree; 2]>, bool),
    Reference(Index),
}

fn sized(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap_or_default();
    [&[tag][..], &size.to_le_bytes(), bytes].concat()
}

fn leaf() -> impl Strategy<Value = Vec<u8>> {
    let text = vec(any::<u8>(), 0..12);
    let short = |tags: &'static [u8]| {
        (proptest::sample::select(tags), text.clone()).prop_map(|(tag, bytes)| {
            let size = u8::try_from(bytes.len()).unwrap_or_default();
            [&[tag, size][..], &bytes].concat()
        })
    };
    prop_oneof![
        proptest::sample::select(&b"NTFS."[..]).prop_map(|tag| vec![tag]),
        any::<i32>().prop_map(|value| [&b"i"[..], &value.to_le_bytes()].concat()),
        any::<f64>().prop_map(|value| [&b"g"[..], &value.to_le_bytes()].concat()),
        any::<[u8; 16]>().prop_map(|value| [&b"y"[..], &value].concat()),
        (vec(any::<[u8; 2]>(), 0..5), any::<bool>()).prop_map(|(digits, negative)| {
            let count = i32::try_from(digits.len()).unwrap_or_default();
            let count = if negative { -count } else { count };
            [&b"l"[..], &count.to_le_bytes(), &digits.concat()].concat()
        }),
        short(b"zZ"),
        (proptest::sample::select(&b"suta"[..]), text).prop_map(|(tag, bytes)| sized(tag, &bytes)),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => (leaf(), any::<bool>()).prop_map(|(bytes, shared)| Tree::Leaf(bytes, shared)),
        1 => any::<Index>().prop_map(Tree::Reference),
    ];
    leaf.prop_recursive(6, 80, 6, |inner| {
        let some = vec(inner.clone(), 0..6);
        prop_oneof![
            (some.clone(), any::<bool>()).prop_map(|(items, shared)| Tree::Tuple(items, shared)),
            (proptest::sample::select(&b"([<>"[..]), some, any::<bool>())
                .prop_map(|(tag, items, shared)| Tree::List(tag, items, shared)),
            (vec((inner.clone(), inner.clone()), 0..3), any::<bool>())
                .prop_map(|(items, shared)| Tree::Dict(items, shared)),
            ([inner.clone(), inner.clone(), inner.clone()], any::<bool>())
                .prop_map(|(items, shared)| Tree::Slice(Box::new(items), shared)),
            ([inner.clone(), inner], any::<bool>())
                .prop_map(|(items, shared)| Tree::Code(Box::new(items), shared)),
        ]
    })
}

/// Writes as CPython does: a number is taken when an object starts, usable when it ends.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    numbers: u32,
    complete: Vec<u32>,
}

impl Writer {
    fn start(&mut self, tag: u8, shared: bool) -> Option<u32> {
        let takes = shared && !b"NTFS.".contains(&tag);
        self.out.push(if takes { tag | 0x80 } else { tag });
        takes.then(|| {
            self.numbers += 1;
            self.numbers - 1
        })
    }

    fn items<'t>(&mut self, items: impl IntoIterator<Item = &'t Tree>) {
        for item in items {
            self.tree(item);
        }
    }

    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or_default();
        self.out.extend(count.to_le_bytes());
    }

    fn tree(&mut self, tree: &Tree) {
        let number = match tree {
            Tree::Reference(which) => {
                if self.complete.is_empty() {
                    self.out.push(b'N');
                } else {
                    let number = *which.get(&self.complete);
                    self.out.push(b'r');
                    self.out.extend(number.to_le_bytes());
                }
                None
            }
            Tree::Leaf(bytes, shared) => {
                let number = self.start(bytes[0], *shared);
                self.out.extend(&bytes[1..]);
                number
            }
            Tree::Tuple(items, shared) => {
                let number = self.start(b')', *shared);
                self.out.push(u8::try_from(items.len()).unwrap_or_default());
                self.items(items);
                number
            }
            Tree::List(tag, items, shared) => {
                let number = self.start(*tag, *shared);
                self.count(items.len());
                self.items(items);
                number
            }
            Tree::Dict(items, shared) => {
                let number = self.start(b'{', *shared);
                self.items(items.iter().flat_map(|(key, value)| [key, value]));
                self.out.push(b'0');
                number
            }
            Tree::Slice(items, shared) => {
                let number = self.start(b':', *shared);
                self.items(items.iter());
                number
            }
            Tree::Code(parts, shared) => {
                let number = self.start(b'c', *shared);
                self.code(&parts[0], &parts[1]);
                number
            }
        };
        self.complete.extend(number);
    }

    /// Any objects may stand for names; constants are a tuple.
    fn code(&mut self, constant: &Tree, names: &Tree) {
        self.out.extend([0; 20]);
        self.out.extend(b"s\0\0\0\0");
        self.out.extend(b")\x01");
        self.items([constant, names]);
        self.out.extend(b")\0s\0\0\0\0z\x01fz\x01nz\x01q");
        self.out.extend([1, 0, 0, 0]);
        self.out.extend(b"s\0\0\0\0s\0\0\0\0");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn trees_come_out_as_they_went_in(tree in tree(), names in tree(), shared: bool) {
        let root = Tree::Code(Box::new([tree, names]), shared);
        let mut writer = Writer::default();
        writer.tree(&root);
        let module = Module::read(&writer.out).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(module.write(), writer.out);
    }

    #[test]
    fn any_bytes_hold_the_promise(bytes: Vec<u8>) {
        fuzzing::marshal_read(&bytes);
    }
}
