//! The CPython versions this crate knows, and the magic numbers that name them in `.pyc` files.

use std::fmt;

#[allow(missing_docs, reason = "the variants are the version numbers")]
/// A CPython feature release whose bytecode this crate understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PyVersion {
    V311,
    V312,
    V313,
    V314,
    V315,
}

impl PyVersion {
    /// All known versions, oldest first.
    pub const ALL: [Self; 5] = [Self::V311, Self::V312, Self::V313, Self::V314, Self::V315];

    /// The version whose final releases write this magic number
    /// (the first two bytes of a `.pyc`, little-endian), if it is known.
    #[must_use]
    pub fn from_magic(magic: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.magic() == magic)
    }

    /// The version `3.minor`, if it is known.
    #[must_use]
    pub fn from_minor(minor: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.minor() == minor)
    }

    /// The magic number of the final releases (`importlib.util.MAGIC_NUMBER`, first two bytes).
    #[must_use]
    pub fn magic(self) -> u16 {
        match self {
            Self::V311 => 3495,
            Self::V312 => 3531,
            Self::V313 => 3571,
            Self::V314 => 3627,
            Self::V315 => 3666,
        }
    }

    /// The minor version number: 11 for CPython 3.11.
    #[must_use]
    pub fn minor(self) -> u8 {
        match self {
            Self::V311 => 11,
            Self::V312 => 12,
            Self::V313 => 13,
            Self::V314 => 14,
            Self::V315 => 15,
        }
    }
}

impl fmt::Display for PyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}", self.minor())
    }
}
