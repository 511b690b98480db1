//! Hit rules: every form, its canonical spelling, and what is let through.
//!
//! Counts start at 1.

use crate::expr::{HitRule, HitRuleError};

/// Text, canonical text, the counts from 1 to 12 that are let through.
const RULES: [(&str, &str, &[u64]); 14] = [
    ("5", "== 5", &[5]),
    (" 5 ", "== 5", &[5]),
    ("==5", "== 5", &[5]),
    ("==\t5", "== 5", &[5]),
    ("!= 2", "!= 2", &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("> 10", "> 10", &[11, 12]),
    (">=10", ">= 10", &[10, 11, 12]),
    (">= 0", ">= 0", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("< 3", "< 3", &[1, 2]),
    ("<=3", "<= 3", &[1, 2, 3]),
    ("% 5", "% 5", &[5, 10]),
    ("%1", "% 1", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("007", "== 7", &[7]),
    ("18446744073709551615", "== 18446744073709551615", &[]),
];

#[test]
fn every_form() {
    for (text, canonical, counts) in RULES {
        let rule = HitRule::parse(text).expect(text);
        let through: Vec<u64> = (1..=12).filter(|&count| rule.lets_through(count)).collect();
        assert_eq!(through, counts, "{text}");
        assert_eq!(rule.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(rule));
    }
    let largest = HitRule::parse("18446744073709551615").expect("fits");
    assert!(largest.lets_through(u64::MAX));
}

#[test]
fn anything_else_names_the_text_and_the_forms() {
    let wrong = [
        "",
        " ",
        "x",
        "= 5",
        "=> 5",
        "=< 5",
        "=== 5",
        "== ",
        "%",
        "-1",
        "+1",
        "== -1",
        "5 5",
        "1.5",
        "1_000",
        "0x10",
        "5 ==",
        "> 1 and < 3",
        "٥",
        "% % 5",
        "> = 5",
    ];
    for text in wrong {
        let error = HitRule::parse(text).expect_err(text);
        assert_eq!(error, HitRuleError::Form(text.trim().to_owned()));
        assert!(
            error
                .to_string()
                .ends_with("write N, == N, != N, > N, >= N, < N, <= N or % N")
        );
    }
    assert_eq!(
        HitRule::parse(" x ").expect_err("no rule").to_string(),
        "`x` is no hit rule: write N, == N, != N, > N, >= N, < N, <= N or % N"
    );
}

#[test]
fn rules_that_cannot_mean_anything() {
    let over = "18446744073709551616";
    assert_eq!(
        HitRule::parse(over),
        Err(HitRuleError::TooLarge(over.to_owned()))
    );
    assert_eq!(
        HitRule::parse("%0"),
        Err(HitRuleError::Zero("%0".to_owned()))
    );
    for never in ["0", "== 0", "< 0", "< 1", "<= 0", "> 18446744073709551615"] {
        assert_eq!(
            HitRule::parse(never),
            Err(HitRuleError::Never(never.to_owned()))
        );
    }
}
