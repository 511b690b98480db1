//! Hit rules: which of the counted hits of a breakpoint are let through.
//!
//! `N` alone means `== N`, as in other Python debuggers. Hits are counted from 1; only those
//! whose condition held are counted, which is the caller's business.

use std::fmt;
use std::str::FromStr;

/// A rule such as `>= 10` or `% 100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HitRule {
    comparison: Comparison,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    MultipleOf,
}

/// Longer operators first: `>=` starts like `>`.
const OPERATORS: [(&str, Comparison); 7] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
    ("%", Comparison::MultipleOf),
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
        let (comparison, digits) = OPERATORS
            .iter()
            .find_map(|&(operator, comparison)| {
                Some((comparison, rule.strip_prefix(operator)?.trim_start()))
            })
            .unwrap_or((Comparison::Equal, rule));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HitRuleError::Form(rule.to_owned()));
        }
        let number = digits
            .parse()
            .map_err(|_| HitRuleError::TooLarge(rule.to_owned()))?;
        match (comparison, number) {
            (Comparison::MultipleOf, 0) => Err(HitRuleError::Zero(rule.to_owned())),
            (Comparison::Equal | Comparison::LessOrEqual, 0)
            | (Comparison::Less, 0 | 1)
            | (Comparison::Greater, u64::MAX) => Err(HitRuleError::Never(rule.to_owned())),
            _ => Ok(Self { comparison, number }),
        }
    }

    /// Whether hit number `count`, from 1 on, is let through.
    #[inline]
    #[must_use]
    pub fn lets_through(&self, count: u64) -> bool {
        match self.comparison {
            Comparison::Equal => count == self.number,
            Comparison::NotEqual => count != self.number,
            Comparison::Greater => count > self.number,
            Comparison::GreaterOrEqual => count >= self.number,
            Comparison::Less => count < self.number,
            Comparison::LessOrEqual => count <= self.number,
            Comparison::MultipleOf => count.is_multiple_of(self.number),
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
        let operator = OPERATORS
            .iter()
            .find(|(_, comparison)| *comparison == self.comparison);
        let operator = operator.map_or("==", |(operator, _)| operator);
        write!(f, "{operator} {}", self.number)
    }
}
