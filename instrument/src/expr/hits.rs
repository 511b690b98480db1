//! Hit rules: which of the counted hits of a breakpoint are let through.
//!
//! `N` alone means `== N`, as in other Python debuggers. Hits are counted from 1; only those
//! whose condition held are counted, which is the caller's business.

use std::fmt;
use std::str::FromStr;

/// A rule such as `>= 10` or `% 100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HitRule {
    test: Test,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Test {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    MultipleOf,
}

/// Longer operators first: `>=` starts like `>`.
const OPERATORS: [(&str, Test); 7] = [
    ("==", Test::Equal),
    ("!=", Test::NotEqual),
    (">=", Test::GreaterOrEqual),
    ("<=", Test::LessOrEqual),
    (">", Test::Greater),
    ("<", Test::Less),
    ("%", Test::MultipleOf),
];

/// Why a text is no hit rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HitRuleError {
    /// Neither a number nor an operator with a number.
    #[error("`{0}` is no hit rule: write N, == N, != N, > N, >= N, < N, <= N or % N")]
    Form(String),
    /// More than 64 bits.
    #[error("the number in the hit rule `{0}` is too large: at most 18446744073709551615")]
    TooLarge(String),
    /// `% 0`.
    #[error("the hit rule `{0}` divides by zero: hits are counted from 1, write % 1 for every hit")]
    Zero(String),
    /// A rule such as `== 0` or `< 1`.
    #[error("the hit rule `{0}` never lets a hit through: hits are counted from 1")]
    Never(String),
}

impl HitRule {
    /// Reads a rule; space around its parts does not count.
    pub fn parse(text: &str) -> Result<Self, HitRuleError> {
        let rule = text.trim();
        let (test, digits) = OPERATORS
            .iter()
            .find_map(|&(operator, test)| Some((test, rule.strip_prefix(operator)?.trim_start())))
            .unwrap_or((Test::Equal, rule));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HitRuleError::Form(rule.to_owned()));
        }
        let number = digits
            .parse()
            .map_err(|_| HitRuleError::TooLarge(rule.to_owned()))?;
        match (test, number) {
            (Test::MultipleOf, 0) => Err(HitRuleError::Zero(rule.to_owned())),
            (Test::Equal | Test::LessOrEqual, 0)
            | (Test::Less, 0 | 1)
            | (Test::Greater, u64::MAX) => Err(HitRuleError::Never(rule.to_owned())),
            _ => Ok(Self { test, number }),
        }
    }

    /// Whether hit number `count`, from 1 on, is let through.
    #[inline]
    #[must_use]
    pub fn lets_through(&self, count: u64) -> bool {
        match self.test {
            Test::Equal => count == self.number,
            Test::NotEqual => count != self.number,
            Test::Greater => count > self.number,
            Test::GreaterOrEqual => count >= self.number,
            Test::Less => count < self.number,
            Test::LessOrEqual => count <= self.number,
            Test::MultipleOf => count.is_multiple_of(self.number),
        }
    }
}

impl FromStr for HitRule {
    type Err = HitRuleError;

    fn from_str(text: &str) -> Result<Self, HitRuleError> {
        Self::parse(text)
    }
}

impl fmt::Display for HitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = OPERATORS.iter().find(|(_, test)| *test == self.test);
        let operator = operator.map_or("==", |(operator, _)| operator);
        write!(f, "{operator} {}", self.number)
    }
}
