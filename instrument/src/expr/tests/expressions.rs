//! Names, splicing, mangling and purity of real expressions.
//!
//! Where CPython is the judge (what is mangled, what binds), the cases were tried in it.

use crate::expr::{ExprError, Expression, NotSpliced, Purity};

fn parse(text: &str) -> Expression {
    Expression::parse(text).expect(text)
}

fn names(text: &str) -> String {
    let expression = parse(text);
    assert!(expression.is_known(), "{text}");
    expression.names().collect::<Vec<_>>().join(" ")
}

#[test]
fn free_names() {
    let cases = [
        ("x > 3", "x"),
        ("b.a + a[c:d:e] - b", "a b c d e"),
        ("f(x, *y, k=z, **w)", "f w x y z"),
        ("1 < i <= n and not done", "done i n"),
        ("x if y else z", "x y z"),
        ("[a, (b, *c), {d}, {e: f, **g}]", "a b c d e f g"),
        ("f'{a}{b!r:>{c}}{d=}' 'x'", "a b c d"),
        ("True is None or ...", ""),
        (
            "lambda a, /, b=x, *c, d=y, **e: a + b + c + d + e + z",
            "x y z",
        ),
        ("[i for i in xs if i > low]", "low xs"),
        ("[i for i in i]", "i"),
        ("{k: v for k, (v, *r) in d.items() for d in r}", "d"),
        ("any(x for row in rows for x in row) and x", "any rows x"),
        ("(lambda x: x)(x)", "x"),
        ("[[j for j in i] for i in j]", "j"),
        ("[(last := i) for i in xs] and last", "xs"),
        ("(y := f(x)) and y", "f x"),
        ("y and (y := 1)", "y"),
        ("(lambda: (y := 1) + y)() + y", "y"),
        ("é + ñ", "é ñ"),
        ("await f(x)", "f x"),
        ("(yield x) or (yield from y)", "x y"),
        ("[0 for o.a[i] in xs]", "i o xs"),
        ("[await x async for x in y]", "y"),
        ("a\t\\\n + b # c", "a b"),
    ];
    for (text, expected) in cases {
        assert_eq!(names(text), expected, "{text}");
    }
}

#[test]
fn private_names_are_those_that_a_class_mangles() {
    let private = |text| parse(text).private_names().collect::<Vec<_>>().join(" ");
    assert_eq!(private("self.__a + __b.c.__d"), "__a __b __d");
    assert_eq!(private("__a__ + _b + __ + ___ + x.__len__()"), "");
    // Keywords of calls stay as they are.
    assert_eq!(private("f(__k=__v)"), "__v");
    assert_eq!(private("(lambda __p: 0)([__q for __q in ()])"), "__p __q");
    assert_eq!(private("(__w := 1)"), "__w");
    assert_eq!(private("f'{self.__x}'"), "__x");
}

#[test]
fn what_can_be_spliced() {
    let spliced = [
        "x > 3",
        "len(xs) > n and isinstance(x, (int, str))",
        "f'{x!r:>{w}}' in seen",
        "obj.method(*args, **kwargs)[0]",
        "'x' in locals()",
        "vars() or vars(x) or dir() or globals()['x']",
        "super().x",
        "sys._getframe().f_lineno == 3",
        "eval(text) or exec(text)",
        "obj.eval(text)",
        "evaluate",
        "await_ + yield_",
    ];
    for text in spliced {
        assert_eq!(parse(text).splice(), Ok(()), "{text}");
    }
    let refused = [
        ("(lambda: 1)()", NotSpliced::Lambda),
        ("[i for i in x]", NotSpliced::Comprehension),
        ("{i for i in x}", NotSpliced::Comprehension),
        ("{i: i for i in x}", NotSpliced::Comprehension),
        ("any(i for i in x)", NotSpliced::GeneratorExpression),
        ("f'{[i for i in x]}'", NotSpliced::Comprehension),
        ("await f()", NotSpliced::Await),
        ("(yield)", NotSpliced::Yield),
        ("(yield from x)", NotSpliced::Yield),
        ("(n := 1)", NotSpliced::Assignment("n".to_owned())),
        ("x = 1", NotSpliced::Unknown),
    ];
    for (text, reason) in refused {
        assert_eq!(parse(text).splice(), Err(reason), "{text}");
    }
    assert_eq!(
        NotSpliced::Assignment("n".to_owned()).to_string(),
        "evaluated out of line: `n :=` would bind a name of the program"
    );
}

#[test]
fn pure_expressions() {
    let pure = [
        "x",
        "x.y[z] + 1 > -w ** 2",
        "len(x) > 3 and isinstance(x, list)",
        "getattr(x, 'y', None) is None",
        "type(x) is int",
        "name.startswith(('a', 'b')) or d.get('k', 0) > 1",
        "sorted(xs, key=len, reverse=True)[0]",
        "max(xs, key=lambda x: x.size, default=None)",
        "any(x > 3 for x in xs)",
        "{k: v for k, v in d.items() if k in keep}",
        "f'{x!r:>{w}}' == 'a' 'b'",
        "', '.join(str(x) for x in xs)",
        "f'{sep}'.join(xs)",
        "s.replace('a', '').strip().split(sep=',')",
        "a.union(b, *c)",
        "dict(a=1, **b)",
        "'x' in locals()",
        "lambda: 1",
        "int('ff', base=16)",
    ];
    for text in pure {
        assert_eq!(*parse(text).purity(), Purity::Pure, "{text}");
    }
    let called = |text| parse(text).builtins().collect::<Vec<_>>().join(" ");
    assert_eq!(
        called("len(x) + sum(len(y) for y in z) + f(x.copy())"),
        "len sum"
    );
}

#[test]
fn impure_expressions_say_what_is_against_them() {
    let call = |source: &str| format!("the call `{source}` may have side effects");
    let impure = [
        ("x > 1 and queue.pop(0)", call("queue.pop(0)")),
        ("f(x)", call("f(x)")),
        ("f'{x}{f( x )}'", call("f( x )")),
        ("len(next(it))", call("next(it)")),
        ("print(x)", call("print(x)")),
        ("type('C', (), {})", call("type('C', (), {})")),
        ("type(*x)", call("type(*x)")),
        ("getattr(x)", call("getattr(x)")),
        ("sorted(xs, key=f)", call("sorted(xs, key=f)")),
        ("sorted(xs, **options)", call("sorted(xs, **options)")),
        ("max(xs, key=lambda x: f(x))", call("f(x)")),
        ("thread.join(1)", call("thread.join(1)")),
        ("queue.get()", call("queue.get()")),
        (
            "queue.get(True, timeout=1)",
            call("queue.get(True, timeout=1)"),
        ),
        ("path.replace(other)", call("path.replace(other)")),
        ("os.replace(a, b)", call("os.replace(a, b)")),
        ("shutil.copy(a, b)", call("shutil.copy(a, b)")),
        ("(lambda: 1)()", call("(lambda: 1)()")),
        ("fs[0](x)", call("fs[0](x)")),
        ("(lambda len: len(x))(f)", call("(lambda len: len(x))(f)")),
        ("f(\n  x,\n  y)", call("f( x, y)")),
        ("(n := 1)", "`n := 1` assigns".to_owned()),
        ("[0 for o.a in xs]", "`for o.a in` assigns".to_owned()),
        ("await x", "`await x` suspends the program".to_owned()),
        ("(yield x)", "`yield x` suspends the program".to_owned()),
        (
            "[x async for x in y]",
            "`async for` suspends the program".to_owned(),
        ),
        (
            "x = 1",
            "its syntax is not known to the purity analysis".to_owned(),
        ),
    ];
    for (text, reason) in impure {
        assert_eq!(parse(text).purity().reason(), Some(&*reason), "{text}");
    }
    let long = format!("f({})", "x, ".repeat(50));
    let reason = parse(&long).purity().reason().map(str::len);
    assert!(reason.is_some_and(|length| length < 100), "{reason:?}");
    // A parameter that is named like a builtin is none.
    assert!(parse("[len(x) for len in fs]").purity().reason().is_some());
}

/// Neither a syntax error nor newer syntax is told from the other here.
#[test]
fn what_the_parser_does_not_know_is_left_to_the_compiler() {
    let unknown = [
        "x >",
        "if x: y",
        "f'{x['a']}'",
        "t'{x}'",
        "import a",
        "x; y",
        "# only",
        ")",
    ];
    for text in unknown {
        let expression = parse(text);
        assert!(!expression.is_known(), "{text}");
        assert_eq!(expression.names().count(), 0, "{text}");
        assert_eq!(expression.splice(), Err(NotSpliced::Unknown), "{text}");
        assert!(expression.purity().reason().is_some(), "{text}");
    }
    assert_eq!(parse("  x > 1\n").text(), "x > 1");
}

#[test]
fn text_that_can_be_no_expression() {
    assert_eq!(Expression::parse(" \t\n"), Err(ExprError::Empty));
    let null = Expression::parse("é\0x").expect_err("a null character");
    assert_eq!(null, ExprError::Null { position: 1 });
    assert_eq!(null.to_string(), "a null character at column 2");
}

/// On a thread whose stack is small, as those of a program may be.
#[test]
fn nesting_exhausts_no_stack() {
    let parse_all = || {
        let deep = |start: &str, part: &str, end: &str, close: &str| {
            let count = (1 << 14) / (part.len() + close.len()) - 8;
            let text = format!("{start}{}{end}{}", part.repeat(count), close.repeat(count));
            let expression = Expression::parse(&text).expect("not empty");
            drop(expression.clone());
            assert!(text.len() <= 1 << 14);
        };
        for prefix in ["-", "not ", "lambda:", "*", "await ", "x:=", "f'{", "["] {
            deep("", prefix, "x", "");
        }
        for (part, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("f(", ")"), ("x[", "]")] {
            deep("", part, "x", close);
            deep("", part, "x", "");
        }
        for part in [
            ".a",
            "+a",
            "**a",
            "()",
            "[0]",
            " if a else a",
            " and a",
            "<a",
            ",a",
        ] {
            deep("a", part, "", "");
        }
        deep("", "[a for a in ", "a", "]");
        deep("", "f(lambda x:", "x", ")");
        deep("", "9", "", "");
        let long = "x+".repeat(1 << 20) + "x";
        assert!(!parse(&long).is_known());
    };
    let thread = std::thread::Builder::new().stack_size(128 << 10);
    thread
        .spawn(parse_all)
        .expect("a thread")
        .join()
        .expect("no overflow");
}
