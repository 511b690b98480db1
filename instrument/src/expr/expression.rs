//! One expression: a condition, or what stands in a field of a log message.

use std::fmt;
use std::thread;

use rustpython_parser::Parse;
use rustpython_parser::ast;

use super::walk::Walk;

/// Longer texts are left to CPython's compiler.
const MAX_LENGTH: usize = 1 << 14;
/// Stack for each byte of text: the deepest tree a byte can make is one prefix operator, and
/// walking costs more than dropping.
const STACK_PER_BYTE: usize = 2048;
const MIN_STACK: usize = 1 << 20;

/// What is known of an expression before it is compiled.
///
/// A syntax error cannot be told from syntax that the parser does not know, so that neither is
/// an error here: [`Expression::is_known`] is `false` then, it is not spliced, and counts as
/// impure. CPython's compiler decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    text: String,
    facts: Facts,
}

/// What the tree says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) known: bool,
    pub(super) names: Vec<String>,
    pub(super) private_names: Vec<String>,
    pub(super) builtins: Vec<String>,
    pub(super) splice: Option<NotSpliced>,
    pub(super) purity: Purity,
}

/// Why a text is no expression whatever the compiler says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExprError {
    /// Nothing but space.
    #[error("the expression is empty")]
    Empty,
    /// No Python source may hold one.
    #[error("a null character at column {}", position + 1)]
    Null {
        /// The character, from 0.
        position: usize,
    },
}

/// Why an expression is evaluated out of line instead of being compiled into it.
///
/// What looks at the frame it runs in is no reason: in the line it runs in the very frame that
/// is meant. `locals()`, `vars()`, `dir()`, `globals()`, `eval(text)` and `exec(text)` see what
/// they see in `eval` with the frame's namespaces, and what they bind is as lost or kept there
/// (`exec` in a function binds nothing in either); `super()` finds its method, which it does
/// not in `eval`, and `sys._getframe()` is the frame itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotSpliced {
    /// A function of its own.
    Lambda,
    /// A scope of its own.
    Comprehension,
    /// A scope of its own that outlives the line.
    GeneratorExpression,
    /// It would suspend the program.
    Await,
    /// It would suspend the program.
    Yield,
    /// `name := value` would bind a name of the function.
    Assignment(String),
    /// The parser does not know the syntax, or the text is longer than 16 KiB.
    Unknown,
}

impl NotSpliced {
    /// A short stable name for logs, telemetry and `--json`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Comprehension => "comprehension",
            Self::GeneratorExpression => "generator-expression",
            Self::Await => "await",
            Self::Yield => "yield",
            Self::Assignment(_) => "assignment",
            Self::Unknown => "unknown-syntax",
        }
    }
}

impl std::error::Error for NotSpliced {}

impl fmt::Display for NotSpliced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("evaluated out of line: ")?;
        match self {
            Self::Lambda => f.write_str("a lambda has a scope of its own"),
            Self::Comprehension => f.write_str("a comprehension has a scope of its own"),
            Self::GeneratorExpression => {
                f.write_str("a generator expression has a scope of its own")
            }
            Self::Await => f.write_str("await would suspend the program"),
            Self::Yield => f.write_str("yield would suspend the program"),
            Self::Assignment(name) => write!(f, "`{name} :=` would bind a name of the program"),
            Self::Unknown => f.write_str("its syntax is not known to the analysis"),
        }
    }
}

/// Whether evaluating an expression can change the program, as far as its text tells.
///
/// Pure are: names, constants, attributes, subscripts, operators, comparisons, `and`, `or`,
/// `not`, conditional expressions, displays, f-strings, lambdas and comprehensions made of such,
/// and calls of a fixed list of builtins (`len`, `isinstance`, `getattr` ...) and of methods of
/// the builtin types (`startswith`, `get`, `items` ...) by name with a fitting number of
/// arguments. Every other call, and whatever assigns or suspends, is impure.
///
/// The text does not tell types: an operator, an attribute or a listed call may run code of the
/// program's own classes, a subscript may fill a `defaultdict`, iterating uses up an iterator,
/// and the name of a builtin may be bound to something else ([`Expression::builtins`] gives
/// those to check). All this is what people write as conditions and is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purity {
    /// It reads only.
    Pure,
    /// It may not, for this reason.
    Impure(String),
}

impl Purity {
    /// The reason against it, if any.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pure => None,
            Self::Impure(reason) => Some(reason),
        }
    }
}

impl Facts {
    fn unknown() -> Self {
        let reason = "its syntax is not known to the purity analysis";
        Self {
            known: false,
            names: Vec::new(),
            private_names: Vec::new(),
            builtins: Vec::new(),
            splice: Some(NotSpliced::Unknown),
            purity: Purity::Impure(reason.to_owned()),
        }
    }
}

impl Expression {
    /// Reads a condition; space around it does not count.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ExprError::Empty);
        }
        if let Some(null) = text.find('\0') {
            let position = text[..null].chars().count();
            return Err(ExprError::Null { position });
        }
        let facts = analyse(&[text], "", "").pop();
        Ok(Self {
            text: text.to_owned(),
            facts: facts.unwrap_or_else(Facts::unknown),
        })
    }

    /// Expressions as they stand in the fields of an f-string: in parentheses.
    pub(super) fn of_fields(texts: &[&str]) -> Vec<Self> {
        let facts = analyse(texts, "(", ")").into_iter();
        let expressions = facts.zip(texts).map(|(facts, text)| Self {
            text: text.trim().to_owned(),
            facts,
        });
        expressions.collect()
    }

    /// The text without the space around it, for the compiler.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the parser accepts it; what follows is empty otherwise.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.facts.known
    }

    /// The names that it loads from around it, ascending, each once, as they are written
    /// (CPython normalises names that are not ASCII).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.facts.names.iter().map(String::as_str)
    }

    /// Names that CPython mangles inside of a class, ascending, each once: `__x` without `__`
    /// at the end, as a name, attribute or parameter. Keywords of calls are not mangled.
    pub fn private_names(&self) -> impl Iterator<Item = &str> {
        self.facts.private_names.iter().map(String::as_str)
    }

    /// The builtins that it counts as pure because it calls them by name, ascending, each once.
    pub fn builtins(&self) -> impl Iterator<Item = &str> {
        self.facts.builtins.iter().map(String::as_str)
    }

    /// Whether it can be compiled into the line, and if not, why.
    pub fn splice(&self) -> Result<(), NotSpliced> {
        self.facts.splice.clone().map_or(Ok(()), Err)
    }

    /// Whether evaluating it can change the program.
    #[must_use]
    pub fn purity(&self) -> &Purity {
        &self.facts.purity
    }
}

/// The facts of each text put between `open` and `close`.
///
/// The trees are as deep as the texts are long and are walked and dropped by recursion, so all
/// of it happens on a stack that is large enough, whatever the caller's is.
fn analyse(texts: &[&str], open: &str, close: &str) -> Vec<Facts> {
    let unknown = || vec![Facts::unknown(); texts.len()];
    let is_short = |text: &&str| text.len() <= MAX_LENGTH;
    let longest = texts
        .iter()
        .filter(|text| is_short(text))
        .map(|text| text.len());
    let Some(longest) = longest.max() else {
        return unknown();
    };
    let facts = |text: &&str| {
        let text = is_short(text).then(|| format!("{open}{text}{close}"))?;
        let tree = ast::Expr::parse(&text, "<expression>").ok()?;
        Some(Walk::facts(&text, &tree))
    };
    let each = || {
        texts
            .iter()
            .map(|text| facts(text).unwrap_or_else(Facts::unknown))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(MIN_STACK + longest * STACK_PER_BYTE)
            .spawn_scoped(scope, || each().collect());
        let facts = thread.ok().and_then(|thread| thread.join().ok());
        facts.unwrap_or_else(unknown)
    })
}
