//! Which functions a pattern means, and what is no pattern.
//!
//! The wildcards are those of Python's `fnmatch.fnmatchcase`.

use super::FunctionPattern;

fn matches(pattern: &str, qualname: &str) -> bool {
    FunctionPattern::parse(pattern)
        .expect(pattern)
        .matches(qualname)
}

#[test]
fn names_and_wildcards() {
    let meant = [
        ("f", "f"),
        ("m:Class.method", "Class.method"),
        ("Class.*", "Class.method"),
        ("Class.*", "Class.Inner.method"),
        ("*.method", "Class.method"),
        ("*", "f"),
        ("*", "Class.method"),
        ("get_?", "get_x"),
        ("[a-c]x[!0-9]", "bxy"),
        ("[]x]*", "xs"),
        ("a*b*c", "aXbYbZc"),
        ("**a", "a"),
        ("f.<locals>.g", "f.<locals>.g"),
        ("*<locals>.*", "f.<locals>.g"),
        ("f.<locals>.<lambda>", "f.<locals>.<lambda>"),
        ("f.<locals>.<*", "f.<locals>.<genexpr>"),
        ("Class.__annotate__", "Class.__annotate__"),
        ("été*", "été_1"),
        ("a[b", "a[b"),
    ];
    for (pattern, qualname) in meant {
        assert!(matches(pattern, qualname), "{pattern} {qualname}");
    }
    let left_out = [
        ("f", "F"),
        ("f", "ff"),
        ("Class.*", "Class"),
        ("Class.*", "OtherClass.method"),
        ("*", "f.<locals>.g"),
        ("f.*", "f.<locals>.g"),
        ("*", "<lambda>"),
        ("f.<locals>.*", "f.<locals>.<genexpr>"),
        ("Class.*", "Class.__annotate__"),
        ("?", ""),
        ("[!a]", "a"),
        ("a*b*c", "aXbYbZ"),
    ];
    for (pattern, qualname) in left_out {
        assert!(!matches(pattern, qualname), "{pattern} {qualname}");
    }
}

#[test]
fn the_module_is_in_front() {
    let pattern = FunctionPattern::parse(" pkg.mod:Class.* ").expect("a pattern");
    assert_eq!(pattern.module(), Some("pkg.mod"));
    assert_eq!(pattern.qualname(), "Class.*");
    assert_eq!(pattern.to_string(), "pkg.mod:Class.*");
    assert_eq!(
        "f".parse::<FunctionPattern>().expect("a name").module(),
        None
    );
}

#[test]
fn what_names_no_function() {
    for text in [
        "", " ", ":", "m:", ":f", "a:b:c", "f()", "a b", "m:.f", "f.", "x.py:3", "a/b.py:f",
    ] {
        let error = FunctionPattern::parse(text).map(drop);
        // A line number is told from a name by the caller, who knows files.
        assert_eq!(error.is_ok(), text == "x.py:3", "{text}");
    }
    assert_eq!(
        FunctionPattern::parse("f()")
            .expect_err("a call")
            .to_string(),
        "`f()` names no function: write module:function, module:Class.method or module:Class.*"
    );
}

#[test]
fn stars_take_no_exponential_time() {
    let pattern = "*a".repeat(2000) + "b";
    assert!(!matches(&pattern, &"a".repeat(4000)));
}
