//! Log messages: where fields end, what is wrong with them, and the sources made of them.
//!
//! The sources in the tables were compiled on every supported version.

use proptest::prelude::*;

use crate::expr::{
    Conversion, Expression, Field, Piece, Purity, Template, TemplateErrorKind as Kind,
};

fn parse(text: &str) -> Template {
    Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The pieces, fields as `<expression|conversion|spec>`.
fn shape(text: &str) -> String {
    let field = |field: &Field| {
        let shown = field.shown.clone().unwrap_or_default();
        let conversion = field.conversion.map(Conversion::letter).map(String::from);
        let (conversion, spec) = (conversion.unwrap_or_default(), field.spec.clone());
        let spec = spec.unwrap_or_default();
        format!("<{shown}|{}|{conversion}|{spec}>", field.expression.text())
    };
    let pieces = parse(text);
    let pieces = pieces.pieces().iter().map(|piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Field(it) => field(it),
    });
    pieces.collect()
}

#[test]
fn fields_end_where_cpython_ends_them() {
    let cases = [
        ("plain", "plain"),
        ("", ""),
        ("n={n}", "n=<|n||>"),
        ("{a}{b}", "<|a||><|b||>"),
        ("{x!r:>10}", "<|x|r|>10>"),
        ("{x!s}{x!a }", "<|x|s|><|x|a|>"),
        ("{x=}", "<x=|x|r|>"),
        ("{ x = !s:5}", "< x = |x|s|5>"),
        ("{x=:>5}", "<x=|x||>5>"),
        ("{{literal}} {{{x}}}", "{literal} {<|x||>}"),
        ("lone } and }} and }}}", "lone } and } and }}"),
        ("{x:{w}.{p}f}", "<|x||{w}.{p}f>"),
        ("{x:{w!r:>3}}", "<|x||{w!r:>3}>"),
        ("{a != b}", "<|a != b||>"),
        ("{a!=b!r}", "<|a!=b|r|>"),
        (
            "{a == b} {a <= b} {a >= b} {a==b=}",
            "<|a == b||> <|a <= b||> <|a >= b||> <a==b=|a==b|r|>",
        ),
        ("{d['a:b}']}", "<|d['a:b}']||>"),
        ("{d[\"}\"]:x}", "<|d[\"}\"]||x>"),
        ("{xs[1:2]}", "<|xs[1:2]||>"),
        ("{ {1: 2}[1] }", "<|{1: 2}[1]||>"),
        ("{f(a=1)}", "<|f(a=1)||>"),
        ("{(lambda x: x)(1)}", "<|(lambda x: x)(1)||>"),
        ("{x:=5}", "<|x||=5>"),
        ("{(y:=5)}", "<|(y:=5)||>"),
        ("{'''a'b}'''}", "<|'''a'b}'''||>"),
        ("{r'\\'}'}", "<|r'\\'}'||>"),
        ("{'\\'}'}", "<|'\\'}'||>"),
        ("{f'{x:>{w}}}}'}", "<|f'{x:>{w}}}}'||>"),
        ("{f'{d['k']}'}", "<|f'{d['k']}'||>"),
        ("{f'\\N{DASH}{x}'}", "<|f'\\N{DASH}{x}'||>"),
        ("{b'}' + rb'}' + Rb'}'}", "<|b'}' + rb'}' + Rb'}'||>"),
        ("{a, b}", "<|a, b||>"),
        ("{x # }\n}", "<|x # }||>"),
        ("{d:%H:%M}", "<|d||%H:%M>"),
        ("a\\nb {x}", "a\\nb <|x||>"),
        ("{é}→{ñ!r}", "<|é||>→<|ñ|r|>"),
    ];
    for (text, expected) in cases {
        assert_eq!(shape(text), expected, "{text}");
    }
}

#[test]
fn errors_name_the_place() {
    let cases = [
        ("12345 {x", Kind::Unclosed, 6),
        ("{x:{w}", Kind::Unclosed, 0),
        ("{x:{w", Kind::Unclosed, 3),
        ("é{", Kind::Unclosed, 1),
        ("{(}", Kind::Bracket('}'), 2),
        ("{x # }", Kind::Unclosed, 0),
        ("{x!r", Kind::Unclosed, 0),
        ("a {} b", Kind::Empty, 2),
        ("{ }", Kind::Empty, 0),
        ("{!r}", Kind::Empty, 0),
        ("{:5}", Kind::Empty, 0),
        ("{=}", Kind::Empty, 0),
        ("{x:{}}", Kind::Empty, 3),
        ("{'a}", Kind::String, 1),
        ("{'a\n'}", Kind::String, 1),
        ("{'''a'}", Kind::String, 1),
        ("{x]}", Kind::Bracket(']'), 2),
        ("{(x]}", Kind::Bracket(']'), 3),
        ("{x!z}", Kind::Conversion, 2),
        ("{x!}", Kind::Conversion, 2),
        ("{x! r}", Kind::Conversion, 2),
        ("{x!rr}", Kind::Trailing, 4),
        ("{x=1}", Kind::Trailing, 3),
        ("{lambda x: x}", Kind::Lambda, 0),
        ("{x:{y:{z}}}", Kind::TooDeep, 6),
        ("x\0", Kind::Null, 1),
    ];
    for (text, kind, position) in cases {
        let error = Template::parse(text).expect_err(text);
        assert_eq!((error.kind, error.position), (kind, position), "{text}");
    }
    let message = |text| Template::parse(text).expect_err(text).to_string();
    assert_eq!(
        message("12345 {x"),
        "unclosed { at column 7: close it with } or write {{ for a brace"
    );
    assert_eq!(
        message("{}"),
        "empty field at column 1: put an expression between { and } or write {{}} for braces"
    );
    assert_eq!(
        message("{x!z}"),
        "bad conversion at column 3: write !r, !s or !a in front of : or }"
    );
    assert_eq!(message("{(x]}"), "] at column 4 closes nothing");
}

#[test]
fn sources_compile_on_every_version() {
    let source = |text| parse(text).fields().next().expect(text).source.clone();
    let cases = [
        ("{x}", "f'{x}'"),
        ("{x!r :>10}", "f'{x!r:>10}'"),
        ("{ x = }", "f'{ x = }'"),
        ("{x!=3}{y}", "f'{x!=3}'"),
        ("{x!=3=}", "'x!=3={0!r}'.format((x!=3))"),
        ("{d['k']}", "f\"{d['k']}\""),
        ("{d['k'] + \"\"}", "f'''{d['k'] + \"\"}'''"),
        ("{x +\ny}", "f'''{x +\ny}'''"),
        ("{'''a''' + \"b\"}", "f\"\"\"{'''a''' + \"b\"}\"\"\""),
        ("{x:\\>{ w!r }}", "rf'{x:\\>{ w!r}}'"),
        ("{'\\n'.join(x)}", "'{0}'.format(('\\n'.join(x)))"),
        (
            "{'\\n'=!s:>{w}}",
            "'\\'\\\\n\\'={0!s:>{1}}'.format(('\\n'), (w))",
        ),
        (
            "{d['{\\n}']=}",
            "'d[\\'{{\\\\n}}\\']={0!r}'.format((d['{\\n}']))",
        ),
        ("{x # c\n}", "'{0}'.format((x # c\n))"),
        (
            "{'''a''' + \"\"\"b\"\"\":>{x.y[\"z\"]}}",
            "'{0:>{1}}'.format(('''a''' + \"\"\"b\"\"\"), (x.y[\"z\"]))",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(source(text), expected, "{text}");
    }
}

#[test]
fn a_message_knows_the_names_and_effects_of_its_fields() {
    let template = parse("{a} {b:{c}} {a.d}");
    assert_eq!(template.names(), ["a", "b", "c"]);
    assert_eq!(template.splice(), Ok(()));
    assert_eq!(template.purity(), Purity::Pure);
    assert_eq!(parse("text").purity(), Purity::Pure);
    let template = parse("{a} {b:{f(c)}} {[x for x in a]}");
    let reason = "the call `f(c)` may have side effects";
    assert_eq!(template.purity(), Purity::Impure(reason.to_owned()));
    assert!(template.splice().is_err());
    assert!(
        parse("{a b}")
            .fields()
            .all(|field| !field.expression.is_known())
    );
    // As an f-string, a field may hold what else needs parentheses.
    assert!(
        parse("{yield x} {*a, b} {a,\nb}")
            .expressions()
            .all(Expression::is_known)
    );
}

#[test]
fn long_and_deep_messages_take_no_long_time() {
    let kind = |text: &str| Template::parse(text).map(drop).map_err(|error| error.kind);
    assert_eq!(kind(&"x".repeat((1 << 16) + 1)), Err(Kind::TooLong));
    assert_eq!(kind(&"{".repeat((1 << 16) - 1)), Err(Kind::Unclosed));
    let many = "{x}".repeat((1 << 16) / 3);
    assert_eq!(parse(&many).fields().count(), (1 << 16) / 3);
    for part in [
        "(", "[", "{ ", "f'{", "f'''{", "x:{", "'", "x!", "-", "{{", "f'\\N{",
    ] {
        let text = format!("{{{}", part.repeat(((1 << 16) - 1) / part.len()));
        assert!(kind(&text).is_err(), "{part}");
    }
}

/// Texts without braces, or with them doubled, and fields.
fn message() -> impl Strategy<Value = String> {
    let expression = prop_oneof![
        Just("x".to_owned()),
        Just(" {1: {2}}[1] ".to_owned()),
        Just("d['}{' \"!:=\"]".to_owned()),
        Just("f'{a:{b}}{{}}' != rb'\\''".to_owned()),
        Just("(lambda é: é)(1)".to_owned()),
        "[a-z]{1,4}(\\.[a-z]{1,3}){0,2}",
    ];
    let rest = prop_oneof![
        Just(""),
        Just("!r"),
        Just("="),
        Just(" = !s:>5"),
        Just(":{w!r:3}.{p}f"),
        Just(":'\"\\"),
    ];
    let field = (expression, rest).prop_map(|(expression, rest)| format!("{{{expression}{rest}}}"));
    let text = "[^{}\0]{1,8}".prop_map(|text| text);
    let piece = prop_oneof![text, Just("{{".to_owned()), Just("}}".to_owned()), field];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_put_back_together_give_the_text(text in message()) {
        let template = parse(&text);
        prop_assert_eq!(template.to_string(), text);
    }

    #[test]
    fn whatever_is_read_reads_the_same_again(text in "[{}!:=x'\"rf()\\\\#\n é]{0,24}") {
        if let Ok(template) = Template::parse(&text) {
            prop_assert_eq!(&parse(&template.to_string()), &template);
        }
    }
}
