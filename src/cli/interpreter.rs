//! What the command has to know about the interpreter it prepares code for.
//!
//! One short run (`-I -S -c`: no site, no environment) tells everything; afterwards only the
//! compile workers run Python. Knows where that interpreter looks for `.pyc` files (PEP 3147,
//! PEP 488, `PYTHONPYCACHEPREFIX`). Relies on `instrument` to say which versions are understood.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use instrument::PyVersion;

use super::terminal::Running;
use crate::variant_key::Target;

/// Prints the facts, one a line; written so that 2.7 can still say that it is too old.
const PROBE: &str = "\
import sys
sys.stdout.write('%s %d.%d\\n' % (sys.platform, sys.version_info[0], sys.version_info[1]))
from _frozen_importlib_external import MAGIC_NUMBER
sys.stdout.write('%s\\n%d\\n%s\\n%s\\n%s\\n' % (
    sys.implementation.name, int.from_bytes(MAGIC_NUMBER[:2], 'little'),
    sys.implementation.cache_tag, getattr(sys, 'abiflags', ''), sys.base_prefix))
";

/// An interpreter that code is prepared for.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    /// The program that is started.
    pub program: PathBuf,
    /// Its bytecode.
    pub version: PyVersion,
    /// Its cache tag, such as `cpython-313`.
    pub cache_tag: String,
    /// Its ABI flags: `t` for a free-threaded build.
    pub abi_flags: String,
    /// Its optimisation level: 0, 1 (`-O`) or 2 (`-OO`).
    pub optimize: u8,
    /// `PYTHONPYCACHEPREFIX`, absolute, if it is set.
    pub pycache_prefix: Option<PathBuf>,
}

/// Why an interpreter cannot be used; every message names it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It could not be started.
    #[error("cannot run the interpreter {}: {source}; choose another with --python", program.display())]
    NotStarted {
        /// The program that was asked for.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ran, and did not answer like a Python interpreter.
    #[error("{} does not behave like a Python interpreter: {message}; choose another with --python", program.display())]
    NotPython {
        /// The program that was asked for.
        program: PathBuf,
        /// What it did instead.
        message: String,
    },
    /// It is Python, but its bytecode is not one we know.
    #[error("{} is {found}: dapper supports CPython 3.11 to 3.15; choose another with --python", program.display())]
    Unsupported {
        /// The program that was asked for.
        program: PathBuf,
        /// What it is.
        found: String,
    },
}

/// The program that `--python` names: by its path, or by its version.
#[must_use]
pub(super) fn program(named: &Path) -> PathBuf {
    let version = named.to_str().filter(|text| is_version(text));
    match version {
        Some(version) if !named.exists() => PathBuf::from(format!("python{version}")),
        _ => named.to_owned(),
    }
}

/// Whether this is a version as programs are named by it: `3.13`, `3.13t`.
fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let minor = text.strip_prefix("3.");
    minor.is_some_and(|minor| digits(minor.strip_suffix('t').unwrap_or(minor)))
}

impl Interpreter {
    /// Runs `program` once and asks it what it is.
    pub(super) fn ask(
        program: &Path,
        optimize: u8,
        prefix: Option<OsString>,
    ) -> Result<Self, Error> {
        let output = Command::new(program)
            .args(["-I", "-S", "-B", "-c", PROBE])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::NotStarted {
                program: program.to_owned(),
                source,
            })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let release = lines
            .next()
            .and_then(|line| line.split_once(' '))
            .map(|(_, release)| release);
        let Some(release) = release else {
            let said = String::from_utf8_lossy(&output.stderr);
            let message = said
                .lines()
                .last()
                .unwrap_or("it printed nothing")
                .to_owned();
            return Err(Error::NotPython {
                program: program.to_owned(),
                message,
            });
        };
        let unsupported = |found: String| Error::Unsupported {
            program: program.to_owned(),
            found,
        };
        let mut field = || lines.next().map(str::to_owned);
        let (Some(name), Some(magic), Some(cache_tag), Some(abi_flags)) =
            (field(), field(), field(), field())
        else {
            return Err(unsupported(format!("Python {release}")));
        };
        let version = magic.parse().ok().and_then(PyVersion::from_magic);
        let Some(version) = version.filter(|_| name == "cpython") else {
            return Err(unsupported(format!(
                "{name} {release} (magic number {magic})"
            )));
        };
        Ok(Self {
            program: program.to_owned(),
            version,
            cache_tag,
            abi_flags,
            optimize,
            pycache_prefix: absolute(prefix),
        })
    }

    /// The interpreter that runs the command, which needs not be asked.
    pub(super) fn running(
        program: PathBuf,
        running: &Running,
        optimize: u8,
        prefix: Option<OsString>,
    ) -> Self {
        Self {
            program,
            version: running.version,
            cache_tag: running.cache_tag.clone(),
            abi_flags: running.abi_flags.clone(),
            optimize,
            pycache_prefix: absolute(prefix),
        }
    }

    /// The inputs of the store's keys. Code of an interpreter without debug ranges is never
    /// prepared: such a run differs from others in its tracebacks only, and makes its own.
    #[must_use]
    pub(super) fn target(&self) -> Target {
        Target {
            version: self.version,
            cache_tag: self.cache_tag.clone(),
            abi_flags: self.abi_flags.clone(),
            optimize: self.optimize,
            debug_ranges: true,
        }
    }

    /// What the store calls it in its listings.
    #[must_use]
    pub(super) fn name(&self) -> String {
        format!("CPython {}", self.version)
    }

    /// Where this interpreter keeps the compiled form of `source` (absolute), if it keeps one.
    #[must_use]
    pub(super) fn pyc_path(&self, source: &Path) -> Option<PathBuf> {
        if source.extension()? != "py" {
            return None;
        }
        let mut name = source.file_stem()?.to_owned();
        name.push(".");
        name.push(&self.cache_tag);
        if self.optimize > 0 {
            name.push(format!(".opt-{}", self.optimize));
        }
        name.push(".pyc");
        let folder = source.parent()?;
        Some(match &self.pycache_prefix {
            None => folder.join("__pycache__").join(name),
            Some(prefix) => {
                let below = folder
                    .components()
                    .filter(|part| matches!(part, Component::Normal(_)));
                prefix.join(below.collect::<PathBuf>()).join(name)
            }
        })
    }
}

fn absolute(prefix: Option<OsString>) -> Option<PathBuf> {
    let prefix = prefix.filter(|prefix| !prefix.is_empty())?;
    std::path::absolute(prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(optimize: u8, prefix: Option<&str>) -> Interpreter {
        Interpreter {
            program: PathBuf::from("python"),
            version: PyVersion::V313,
            cache_tag: "cpython-313".to_owned(),
            abi_flags: String::new(),
            optimize,
            pycache_prefix: prefix.map(PathBuf::from),
        }
    }

    #[test]
    fn pyc_paths_follow_pep_3147_and_488() {
        let path =
            |optimize, prefix, source| interpreter(optimize, prefix).pyc_path(Path::new(source));
        let expect = |text| Some(PathBuf::from(text));
        assert_eq!(
            path(0, None, "/a/b.py"),
            expect("/a/__pycache__/b.cpython-313.pyc")
        );
        assert_eq!(
            path(2, None, "/a/b.c.py"),
            expect("/a/__pycache__/b.c.cpython-313.opt-2.pyc")
        );
        assert_eq!(
            path(0, Some("/p"), "/a/b.py"),
            expect("/p/a/b.cpython-313.pyc")
        );
        assert_eq!(path(0, None, "/a/script"), None);
    }

    #[test]
    fn a_version_names_the_program_of_that_version() {
        let program = |named: &str| program(Path::new(named)).display().to_string();
        assert_eq!(program("3.13"), "python3.13");
        assert_eq!(program("3.14t"), "python3.14t");
        for path in ["python3.13", "3.", "3.13.1", "4.1", "bin/3.13", "3.x"] {
            assert_eq!(program(path), path);
        }
    }

    #[test]
    fn programs_that_are_no_interpreter_are_named() {
        let ask = |program: &str| {
            Interpreter::ask(Path::new(program), 0, None)
                .expect_err("refused")
                .to_string()
        };
        assert!(ask("/nonexistent/python").contains("/nonexistent/python"));
        assert!(ask("true").contains("printed nothing"));
    }
}
