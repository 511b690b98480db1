//! Variants of whole modules: making one, and what is stored beside its code.
//!
//! A [`Placement`] says where the probes of a variant are, which lines the requested ones became
//! and which code objects were left alone; the store keeps it as the opaque `sites` part of an
//! entry. The encoding is little-endian `u32`s and length-prefixed UTF-8, private to one engine
//! version, because the key of an entry holds that version ([`ENGINE`]).

use std::sync::Arc;

use instrument::{ProbedCode, PyVersion, Wanted};
pub use instrument::{Role, Site};

/// The engine version that keys carry: a variant of another engine is never looked at.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// What became of one requested line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnappedLine {
    /// The line as asked for.
    pub requested: u32,
    /// The line that holds the probe, or why there is none.
    pub actual: Result<u32, String>,
}

/// A code object that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntouchedCode {
    /// `co_qualname`.
    pub qualname: String,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// Why.
    pub reason: String,
}

/// Everything about a variant that its marshal bytes do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The placeholders, those of one code object next to each other.
    pub sites: Vec<Site>,
    /// The requested lines; empty when every line was wanted.
    pub lines: Vec<SnappedLine>,
    /// What was left alone.
    pub untouched: Vec<UntouchedCode>,
}

/// The marshal bytes of an instrumented module, and where its probes are.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Marshal bytes of the module's code object; `None` stands for each probe.
    pub code: Vec<u8>,
    /// Where the probes are.
    pub placement: Placement,
}

/// Compiles probes into the marshalled code object of a module.
pub fn make(
    version: PyVersion,
    marshalled: &[u8],
    wanted: Wanted<'_>,
) -> Result<Variant, instrument::Error> {
    let made = instrument::instrument(version, marshalled, wanted)?;
    let mut sites = made.sites;
    sites.sort_by(|a, b| a.code.path.cmp(&b.code.path));
    let lines = made.lines.into_iter().map(|line| SnappedLine {
        requested: line.requested,
        actual: line.actual.map_err(|reason| reason.to_string()),
    });
    let untouched = made.untouched.into_iter().map(|code| UntouchedCode {
        qualname: code.qualname,
        first_line: code.first_line,
        reason: code.reason.to_string(),
    });
    let placement = Placement {
        sites,
        lines: lines.collect(),
        untouched: untouched.collect(),
    };
    Ok(Variant {
        code: made.code,
        placement,
    })
}

impl Placement {
    /// The bytes that are stored beside the code.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_count(&mut out, self.sites.len());
        for site in &self.sites {
            write_count(&mut out, site.code.path.len());
            site.code
                .path
                .iter()
                .for_each(|index| write_u32(&mut out, *index));
            write_u32(&mut out, site.constant);
            write_u32(&mut out, site.line);
            write_text(&mut out, &site.code.qualname);
        }
        write_count(&mut out, self.lines.len());
        for line in &self.lines {
            write_u32(&mut out, line.requested);
            match &line.actual {
                Ok(actual) => write_u32(&mut out, *actual),
                Err(reason) => {
                    write_u32(&mut out, 0);
                    write_text(&mut out, reason);
                }
            }
        }
        write_count(&mut out, self.untouched.len());
        for code in &self.untouched {
            write_text(&mut out, &code.qualname);
            write_u32(&mut out, code.first_line);
            write_text(&mut out, &code.reason);
        }
        out
    }

    /// Decides what requested lines become in a variant that has a probe on every line: each
    /// goes to the first line with a probe at or after it.
    pub fn snap(&mut self, requested: &[u32]) {
        let mut lines: Vec<u32> = self.sites.iter().map(|site| site.line).collect();
        lines.sort_unstable();
        let snapped = requested.iter().map(|line| {
            let actual = lines.get(lines.partition_point(|candidate| candidate < line));
            let actual = actual
                .copied()
                .ok_or_else(|| format!("no code at or after line {line}"));
            SnappedLine {
                requested: *line,
                actual,
            }
        });
        self.lines = snapped.collect();
    }

    /// Reads what [`Placement::encode`] wrote; `None` when it did not write this.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let mut before: Option<Arc<ProbedCode>> = None;
        let sites = input.list(|input| {
            let path = input.list(Input::u32)?;
            let (constant, line) = (input.u32()?, input.u32()?);
            let qualname = input.text()?;
            let code = before.take().filter(|code| *code.path == *path);
            let code = code.unwrap_or_else(|| {
                let (path, qualname) = (path.into(), qualname.into());
                Arc::new(ProbedCode { path, qualname })
            });
            before = Some(Arc::clone(&code));
            Some(Site {
                code,
                constant,
                line,
                // What is stored has plain probes.
                part: None,
                role: Role::Hit,
            })
        })?;
        let lines = input.list(|input| {
            let requested = input.u32()?;
            let actual = match input.u32()? {
                0 => Err(input.text()?),
                line => Ok(line),
            };
            Some(SnappedLine { requested, actual })
        })?;
        let untouched = input.list(|input| {
            Some(UntouchedCode {
                qualname: input.text()?,
                first_line: input.u32()?,
                reason: input.text()?,
            })
        })?;
        input.0.is_empty().then_some(Self {
            sites,
            lines,
            untouched,
        })
    }
}

fn write_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_count(out: &mut Vec<u8>, count: usize) {
    // INVARIANT: a module's marshal bytes are below 4 GiB, so nothing in it is more numerous.
    write_u32(out, u32::try_from(count).unwrap_or(u32::MAX));
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*head))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).ok()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.u32()?).ok()?;
        // Every item takes at least four bytes, so a damaged count cannot ask for much memory.
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Placement {
        Placement {
            sites: vec![Site {
                code: Arc::new(ProbedCode {
                    path: [3, 0].into(),
                    qualname: "f.<locals>.é".into(),
                }),
                constant: 9,
                line: 12,
                part: None,
                role: Role::Hit,
            }],
            lines: vec![
                SnappedLine {
                    requested: 11,
                    actual: Ok(12),
                },
                SnappedLine {
                    requested: 99,
                    actual: Err("no code at or after line 99".into()),
                },
            ],
            untouched: vec![UntouchedCode {
                qualname: "g".into(),
                first_line: 4,
                reason: "odd".into(),
            }],
        }
    }

    #[test]
    fn decode_reads_what_encode_wrote() {
        let placement = example();
        assert_eq!(Placement::decode(&placement.encode()), Some(placement));
    }

    #[test]
    fn damaged_bytes_are_no_placement() {
        let bytes = example().encode();
        for length in 0..bytes.len() {
            assert_eq!(Placement::decode(&bytes[..length]), None);
        }
        assert_eq!(Placement::decode(&[0xff; 64]), None);
    }
}
