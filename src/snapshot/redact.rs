//! Names whose values are never recorded.
//!
//! A pattern matches a name that holds it, whatever the case and without regard to `_`, `-` and
//! blanks: `api_key` matches `X-Api-Key` and `apikey2`. The same holds for keys of dictionaries,
//! for attributes, and for the text of expressions.

/// What stands for a value that is not recorded.
pub(crate) const REDACTED: &str = "<redacted>";

const DEFAULT: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "credential",
    "cookie",
    "session_id",
    "signature",
];

/// Patterns of names.
#[derive(Clone, Debug)]
pub(crate) struct Redaction(Vec<String>);

impl Default for Redaction {
    fn default() -> Self {
        Self::of(DEFAULT)
    }
}

impl Redaction {
    /// Exactly these patterns; an empty one matches nothing.
    pub(crate) fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let bare = patterns.into_iter().map(bare);
        Self(bare.filter(|pattern| !pattern.is_empty()).collect())
    }

    /// These patterns beside those that it has.
    #[must_use]
    pub(crate) fn and<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.extend(Self::of(patterns).0);
        self
    }

    /// Whether the value of this name is not to be recorded.
    pub(crate) fn hides(&self, name: &str) -> bool {
        let name = bare(name);
        self.0.iter().any(|pattern| name.contains(pattern.as_str()))
    }
}

fn bare(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_separators() {
        let redaction = Redaction::default();
        for name in [
            "PASSWORD",
            "db_passwd",
            "X-Api-Key",
            "apikey2",
            "Set-Cookie",
            "authToken",
        ] {
            assert!(redaction.hides(name), "{name}");
        }
        for name in ["pass", "key", "author", "count", ""] {
            assert!(!redaction.hides(name), "{name}");
        }
    }

    #[test]
    fn patterns_can_be_added_or_replaced() {
        let added = Redaction::default().and(["iban", ""]);
        assert!(added.hides("customer_IBAN") && added.hides("password") && !added.hides("x"));
        let replaced = Redaction::of(["iban"]);
        assert!(replaced.hides("iban") && !replaced.hides("password"));
    }
}
