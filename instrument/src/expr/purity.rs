//! The calls that count as pure: builtins and methods of builtin types, by name and number of
//! arguments.
//!
//! What is not listed is impure. Left out on purpose: what calls what it is given (`map`,
//! `filter`, `iter` with two arguments, `type` with three), what advances (`next`), reads or
//! writes the world (`open`, `input`, `print`), and names whose best known bearer has an effect
//! (`pop`, `update`, `read`, `send`).

use rustpython_parser::ast::{Constant, Expr, ExprCall, Keyword};

const ANY: usize = usize::MAX;

/// Builtins with the least and the most positional arguments that are pure.
const BUILTINS: &[(&str, usize, usize)] = &[
    ("abs", 1, 1),
    ("all", 1, 1),
    ("any", 1, 1),
    ("ascii", 1, 1),
    ("bin", 1, 1),
    ("bool", 0, 1),
    ("bytearray", 0, 3),
    ("bytes", 0, 3),
    ("callable", 1, 1),
    ("chr", 1, 1),
    ("complex", 0, 2),
    ("dict", 0, 1),
    ("dir", 0, 1),
    ("divmod", 2, 2),
    ("enumerate", 1, 2),
    ("float", 0, 1),
    ("format", 1, 2),
    ("frozenset", 0, 1),
    ("getattr", 2, 3),
    ("globals", 0, 0),
    ("hasattr", 2, 2),
    ("hash", 1, 1),
    ("hex", 1, 1),
    ("id", 1, 1),
    ("int", 0, 2),
    ("isinstance", 2, 2),
    ("issubclass", 2, 2),
    ("len", 1, 1),
    ("list", 0, 1),
    ("locals", 0, 0),
    ("max", 1, ANY),
    ("min", 1, ANY),
    ("oct", 1, 1),
    ("ord", 1, 1),
    ("pow", 2, 3),
    ("range", 1, 3),
    ("repr", 1, 1),
    ("reversed", 1, 1),
    ("round", 1, 2),
    ("set", 0, 1),
    ("slice", 1, 3),
    ("sorted", 1, 1),
    ("str", 0, 3),
    ("sum", 1, 2),
    ("super", 0, 2),
    ("tuple", 0, 1),
    ("type", 1, 1),
    ("vars", 0, 1),
    ("zip", 0, ANY),
];

/// Methods of `str`, `bytes`, `dict`, `list`, `tuple`, `set`, `int` and `float`, likewise.
const METHODS: &[(&str, usize, usize)] = &[
    ("as_integer_ratio", 0, 0),
    ("bit_count", 0, 0),
    ("bit_length", 0, 0),
    ("capitalize", 0, 0),
    ("casefold", 0, 0),
    ("center", 1, 2),
    ("conjugate", 0, 0),
    // With arguments it is `shutil.copy`.
    ("copy", 0, 0),
    ("count", 1, 3),
    ("decode", 0, 2),
    ("difference", 0, ANY),
    ("encode", 0, 2),
    ("endswith", 1, 3),
    ("expandtabs", 0, 1),
    ("find", 1, 3),
    ("format", 0, ANY),
    // Without arguments it is `queue.Queue.get`.
    ("get", 1, 2),
    ("hex", 0, 2),
    ("index", 1, 3),
    ("intersection", 0, ANY),
    ("is_integer", 0, 0),
    ("isalnum", 0, 0),
    ("isalpha", 0, 0),
    ("isascii", 0, 0),
    ("isdecimal", 0, 0),
    ("isdigit", 0, 0),
    ("isdisjoint", 1, 1),
    ("isidentifier", 0, 0),
    ("islower", 0, 0),
    ("isnumeric", 0, 0),
    ("isprintable", 0, 0),
    ("isspace", 0, 0),
    ("issubset", 1, 1),
    ("issuperset", 1, 1),
    ("istitle", 0, 0),
    ("isupper", 0, 0),
    ("items", 0, 0),
    ("join", 1, 1),
    ("keys", 0, 0),
    ("ljust", 1, 2),
    ("lower", 0, 0),
    ("lstrip", 0, 1),
    ("partition", 1, 1),
    ("removeprefix", 1, 1),
    ("removesuffix", 1, 1),
    // With one argument it is `pathlib.Path.replace`.
    ("replace", 2, 3),
    ("rfind", 1, 3),
    ("rindex", 1, 3),
    ("rjust", 1, 2),
    ("rpartition", 1, 1),
    ("rsplit", 0, 2),
    ("rstrip", 0, 1),
    ("split", 0, 2),
    ("splitlines", 0, 1),
    ("startswith", 1, 3),
    ("strip", 0, 1),
    ("swapcase", 0, 0),
    ("symmetric_difference", 1, 1),
    ("title", 0, 0),
    ("to_bytes", 0, 2),
    ("translate", 1, 1),
    ("union", 0, ANY),
    ("upper", 0, 0),
    ("values", 0, 0),
    ("zfill", 1, 1),
];

/// Methods that take keywords.
const WITH_KEYWORDS: &[&str] = &[
    "decode",
    "encode",
    "expandtabs",
    "format",
    "rsplit",
    "split",
    "splitlines",
    "to_bytes",
];

/// What a call is in the eyes of the purity analysis.
pub(super) enum Call<'c> {
    Builtin(&'c str),
    Method,
    Impure,
}

pub(super) fn of_call(call: &ExprCall) -> Call<'_> {
    match &*call.func {
        Expr::Name(name) if is_builtin(call, &name.id) => Call::Builtin(&name.id),
        Expr::Attribute(method) if is_method(call, &method.value, &method.attr) => Call::Method,
        _ => Call::Impure,
    }
}

fn is_builtin(call: &ExprCall, name: &str) -> bool {
    let keywords_fit = call.keywords.iter().all(|keyword| match &keyword.arg {
        // `**values` may hold a `key` to call.
        None => name == "dict",
        Some(arg) if arg.as_str() == "key" && name != "dict" => is_pure_key(keyword),
        Some(_) => true,
    });
    keywords_fit && takes(BUILTINS, name, call)
}

/// What `sorted`, `min` and `max` may call: a lambda, whose body is looked at as everything
/// else is, or a builtin of one argument.
fn is_pure_key(keyword: &Keyword) -> bool {
    match &keyword.value {
        Expr::Lambda(_) => true,
        Expr::Name(name) => BUILTINS
            .iter()
            .any(|&(builtin, least, most)| builtin == name.id.as_str() && least <= 1 && most >= 1),
        Expr::Constant(constant) => constant.value == Constant::None,
        _ => false,
    }
}

fn is_method(call: &ExprCall, receiver: &Expr, name: &str) -> bool {
    let receiver_fits = match (name, receiver) {
        // Only of a literal; with any other it may be that of a thread or process.
        ("join", Expr::Constant(literal)) => {
            matches!(literal.value, Constant::Str(_) | Constant::Bytes(_))
        }
        ("join", receiver) => matches!(receiver, Expr::JoinedStr(_)),
        ("replace", Expr::Name(module)) => module.id.as_str() != "os",
        _ => true,
    };
    let keywords_fit = call.keywords.is_empty() || WITH_KEYWORDS.contains(&name);
    receiver_fits && keywords_fit && takes(METHODS, name, call)
}

fn takes(table: &[(&str, usize, usize)], name: &str, call: &ExprCall) -> bool {
    let unpacks = call.args.iter().any(Expr::is_starred_expr);
    let count = call.args.len();
    let row = table.binary_search_by_key(&name, |(listed, ..)| listed);
    row.is_ok_and(|row| {
        let (_, least, most) = table[row];
        (least..=most).contains(&count) && (!unpacks || most == ANY)
    })
}
