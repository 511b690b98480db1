//! What an entry is stored under: the one place where keys are made.
//!
//! The import hook and `dapper-instrument precompile` both come through here, so that what one
//! writes the other finds. Precompile stores for each source the plain code ([`Probes::Plain`],
//! from which any variant is made without compiling) or, when asked, the variant with a probe on
//! every line; and for each file of a breakpoint file the variant with its requested lines. The
//! hook looks for the exact probe set, then for the plain code, then compiles. The `sites` part
//! of an entry is an encoded [`Placement`], which is empty for plain code.

use std::ffi::OsString;
use std::path::PathBuf;

use cache::{Build, KeyHasher, ProbeDigest, ProbeSet};
use instrument::{PyVersion, Wanted};

use crate::variant::{ENGINE, Placement, Variant};

/// Where the store is when no option says so: `DAPPER_CACHE_DIR`, else the user's cache.
#[must_use]
pub fn default_root(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let from = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("DAPPER_CACHE_DIR")
        .or_else(|| {
            // The base directory specification says to ignore what is not absolute.
            let base = from("XDG_CACHE_HOME").filter(|path| path.is_absolute())?;
            Some(base.join("dapper"))
        })
        .or_else(|| Some(from("HOME")?.join(".cache/dapper")))
}

/// The interpreter facts that are inputs of every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The bytecode.
    pub version: PyVersion,
    /// `sys.implementation.cache_tag`.
    pub cache_tag: String,
    /// `sys.abiflags`.
    pub abi_flags: String,
    /// `sys.flags.optimize`.
    pub optimize: u8,
    /// False under `-X no_debug_ranges` and `PYTHONNODEBUGRANGES`.
    pub debug_ranges: bool,
}

impl Target {
    /// The store's view of this interpreter.
    #[must_use]
    pub fn build(&self) -> Build<'_> {
        Build {
            engine: ENGINE,
            magic: self.version.magic(),
            cache_tag: &self.cache_tag,
            abi_flags: &self.abi_flags,
            optimize: self.optimize,
            debug_ranges: self.debug_ranges,
        }
    }

    /// Makes keys for this interpreter.
    #[must_use]
    pub fn keys(&self) -> KeyHasher {
        KeyHasher::new(&self.build())
    }
}

/// The probes that one variant of a module has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probes {
    /// None: the code as compiled.
    Plain,
    /// One on every line that can hold one.
    EveryLine,
    /// On these lines as requested, ascending, each once.
    Lines(Vec<u32>),
}

impl Probes {
    /// Probes on the requested lines; none at all when there are none.
    #[must_use]
    pub fn on(requested: impl IntoIterator<Item = u32>) -> Self {
        let mut lines: Vec<u32> = requested.into_iter().collect();
        lines.sort_unstable();
        lines.dedup();
        if lines.is_empty() {
            Self::Plain
        } else {
            Self::Lines(lines)
        }
    }

    /// What the key of this variant is made with.
    #[must_use]
    pub fn digest(&self) -> ProbeDigest {
        ProbeDigest::of(match self {
            Self::Plain => ProbeSet::Plain,
            Self::EveryLine => ProbeSet::EveryLine,
            Self::Lines(lines) => ProbeSet::Lines(lines),
        })
    }

    /// The probe set in words, for listings.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::EveryLine => "every line".to_owned(),
            Self::Lines(lines) => {
                let lines: Vec<String> = lines.iter().map(u32::to_string).collect();
                format!("lines {}", lines.join(" "))
            }
        }
    }
}

/// Makes a variant of a module from the marshal bytes of its plain code. What [`Probes::Plain`]
/// makes is those bytes, unread.
pub fn make(
    version: PyVersion,
    plain: &[u8],
    probes: &Probes,
) -> Result<Variant, instrument::Error> {
    let wanted = match probes {
        Probes::Plain => {
            let placement = Placement::default();
            return Ok(Variant {
                code: plain.to_vec(),
                placement,
            });
        }
        Probes::EveryLine => Wanted::EveryLine,
        Probes::Lines(lines) => Wanted::Lines(lines),
    };
    crate::variant::make(version, plain, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_lines_are_a_set() {
        assert_eq!(Probes::on([3, 1, 3]), Probes::Lines(vec![1, 3]));
        assert_eq!(Probes::on([3, 1, 3]).digest(), Probes::on([1, 3]).digest());
        assert_eq!(Probes::on([]), Probes::Plain);
    }
}
