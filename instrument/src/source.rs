//! Functions and their spans from source text: an enrichment, never a gate.
//!
//! The compiled code decides what exists and what can hold a probe. The text knows one thing
//! better: where a function ends when it ends in a docstring, `pass` or code that was dropped.
//! The parser is rustpython-parser, which does not know the newest syntax: nothing comes back
//! then, and the code alone counts. Dropping its trees recurses with their depth, so all of it
//! happens on a stack that is large for the text, and very large texts are left alone.

use std::thread;

use rustpython_parser::Parse;
use rustpython_parser::ast::{self, ExceptHandler, Expr, Ranged, Stmt};

/// Texts from here on are not parsed.
const MAX_LENGTH: usize = 1 << 20;
/// Stack for each byte of text: the deepest tree a byte can make is one prefix operator.
const STACK_PER_BYTE: usize = 512;
const MIN_STACK: usize = 4 << 20;

/// A function or class as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFunction {
    /// As in `co_qualname`.
    pub qualname: String,
    /// The line of the first decorator, else that of the `def` or `class`: `co_firstlineno`.
    pub decorator_line: u32,
    /// The line of the `def` or `class`.
    pub def_line: u32,
    /// The last line of the body.
    pub end_line: u32,
}

/// The functions and classes of a module in the order of the text; nothing when the parser
/// does not accept it.
#[must_use]
pub fn functions(source: &str) -> Option<Vec<SourceFunction>> {
    if source.len() > MAX_LENGTH {
        return None;
    }
    let stack = MIN_STACK + source.len() * STACK_PER_BYTE;
    thread::scope(|scope| {
        let parse = || {
            let module = ast::Suite::parse(source, "<source>").ok()?;
            let mut walk = Walk {
                lines: line_starts(source),
                functions: Vec::new(),
            };
            walk.block(&module, "");
            Some(walk.functions)
        };
        let thread = thread::Builder::new()
            .stack_size(stack)
            .spawn_scoped(scope, parse)
            .ok()?;
        thread.join().ok()?
    })
}

/// Offsets at which lines start; `\n`, `\r\n` and `\r` end one.
fn line_starts(source: &str) -> Vec<usize> {
    let bytes = source.as_bytes();
    let ends = |&(at, byte): &(usize, &u8)| {
        *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
    };
    let starts = bytes.iter().enumerate().filter(ends).map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).collect()
}

struct Walk {
    lines: Vec<usize>,
    functions: Vec<SourceFunction>,
}

impl Walk {
    fn line(&self, offset: usize) -> u32 {
        let line = self.lines.partition_point(|&start| start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    fn block(&mut self, block: &[Stmt], prefix: &str) {
        for statement in block {
            self.statement(statement, prefix);
        }
    }

    fn statement(&mut self, statement: &Stmt, prefix: &str) {
        match statement {
            Stmt::FunctionDef(def) => {
                self.define(statement, &def.name, &def.decorator_list, prefix);
                self.block(&def.body, &format!("{prefix}{}.<locals>.", def.name));
            }
            Stmt::AsyncFunctionDef(def) => {
                self.define(statement, &def.name, &def.decorator_list, prefix);
                self.block(&def.body, &format!("{prefix}{}.<locals>.", def.name));
            }
            Stmt::ClassDef(def) => {
                self.define(statement, &def.name, &def.decorator_list, prefix);
                self.block(&def.body, &format!("{prefix}{}.", def.name));
            }
            Stmt::For(ast::StmtFor { body, orelse, .. })
            | Stmt::AsyncFor(ast::StmtAsyncFor { body, orelse, .. })
            | Stmt::While(ast::StmtWhile { body, orelse, .. })
            | Stmt::If(ast::StmtIf { body, orelse, .. }) => {
                self.block(body, prefix);
                self.block(orelse, prefix);
            }
            Stmt::With(ast::StmtWith { body, .. })
            | Stmt::AsyncWith(ast::StmtAsyncWith { body, .. }) => self.block(body, prefix),
            Stmt::Match(ast::StmtMatch { cases, .. }) => {
                for case in cases {
                    self.block(&case.body, prefix);
                }
            }
            Stmt::Try(ast::StmtTry {
                body,
                handlers,
                orelse,
                finalbody,
                ..
            })
            | Stmt::TryStar(ast::StmtTryStar {
                body,
                handlers,
                orelse,
                finalbody,
                ..
            }) => {
                self.block(body, prefix);
                for ExceptHandler::ExceptHandler(handler) in handlers {
                    self.block(&handler.body, prefix);
                }
                self.block(orelse, prefix);
                self.block(finalbody, prefix);
            }
            _ => {}
        }
    }

    fn define(&mut self, statement: &Stmt, name: &str, decorators: &[Expr], prefix: &str) {
        let range = statement.range();
        let def_line = self.line(range.start().to_usize());
        let decorated = decorators
            .first()
            .map(|first| self.line(first.start().to_usize()));
        self.functions.push(SourceFunction {
            qualname: format!("{prefix}{name}"),
            decorator_line: decorated.map_or(def_line, |line| line.min(def_line)),
            def_line,
            end_line: self.line(range.end().to_usize().saturating_sub(1)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(source: &str) -> Vec<(String, u32, u32, u32)> {
        let tuple = |f: SourceFunction| (f.qualname, f.decorator_line, f.def_line, f.end_line);
        functions(source)
            .expect("parses")
            .into_iter()
            .map(tuple)
            .collect()
    }

    #[test]
    fn spans_cover_decorators_and_closing_text() {
        let source = "import a\n@a.b\n@a.c(\n  1)\ndef f():\n    x = 1\n    'end'\n\nclass C:\n    async def g(self):\n        def h(): pass\n        pass\n";
        let expected = [
            ("f", 2, 5, 7),
            ("C", 9, 9, 12),
            ("C.g", 10, 10, 12),
            ("C.g.<locals>.h", 11, 11, 11),
        ];
        let expected = expected.map(|(name, a, b, c)| (name.to_owned(), a, b, c));
        assert_eq!(spans(source), expected);
    }

    #[test]
    fn functions_are_found_in_every_block() {
        let source = "if 1:\n def a(): 1\nelse:\n def b(): 1\ntry:\n def c(): 1\nexcept E:\n def d(): 1\nfinally:\n def e(): 1\nwith x:\n def f(): 1\nmatch x:\n case 1:\n  def g(): 1\nfor x in y:\n def h(): 1\nwhile 1:\n def i(): 1\n";
        let names: String = spans(source).into_iter().map(|span| span.0).collect();
        assert_eq!(names, "abcdefghi");
    }

    #[test]
    fn every_kind_of_line_end_counts() {
        assert_eq!(
            spans("x\r\ny\rdef f():\r  1\n"),
            [("f".to_owned(), 3, 3, 4)]
        );
    }

    #[test]
    fn text_that_is_not_accepted_gives_nothing() {
        assert_eq!(functions("def f(:\n"), None);
        assert_eq!(functions(&" ".repeat(MAX_LENGTH + 1)), None);
    }

    #[test]
    fn deep_trees_do_not_exhaust_the_stack() {
        let deep = |start: &str, part: &str, end: &str| {
            let count = (MAX_LENGTH - 64) / part.len();
            let _any = functions(&format!("{start}{}{end}", part.repeat(count)));
        };
        deep("x = a", "+a", "\n");
        deep("x = a", ".a", "\n");
        deep("x = ", "-", "1\n");
        deep("x = ", "not ", "1\n");
        deep("x = ", "lambda:", "1\n");
        deep("if a: b\n", "elif a: b\n", "");
        deep("x = ", "(", "\n");
    }
}
