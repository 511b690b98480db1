//! What a terminal gets and a file or a pipe does not: colour and a progress bar.
//!
//! Both go to standard error. Colour never carries meaning of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use instrument::PyVersion;

use crate::store_options;

/// How often what is shown moves on.
const STEP: Duration = Duration::from_millis(200);

/// Where the command runs: everything it may read beside its arguments and files.
pub struct Environment<'a> {
    /// The interpreter that runs the command, if one does.
    pub python: Option<PathBuf>,
    /// What that interpreter is, if it is one that is supported.
    pub running: Option<Running>,
    /// Environment variables.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether standard output is a terminal.
    pub out_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub err_is_terminal: bool,
}

/// What code is prepared for, of the interpreter that runs the command.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its bytecode.
    pub version: PyVersion,
    /// Its cache tag, such as `cpython-313`.
    pub cache_tag: String,
    /// Its ABI flags.
    pub abi_flags: String,
}

impl Environment<'_> {
    /// An environment variable that is set and not empty.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The stores of other users that are used.
    #[must_use]
    pub fn trust(&self) -> cache::Trust {
        store_options::trust(self.set(store_options::TRUST).as_deref())
    }

    /// What the store is kept within, and what is wrong with how that was said.
    #[must_use]
    pub fn limits(&self) -> (cache::Limits, Option<String>) {
        store_options::limits_of(&|name| self.set(name))
    }

    /// Whether text for a stream may be coloured (<https://no-color.org>).
    #[must_use]
    pub fn colours(&self, is_terminal: bool) -> bool {
        let dumb = self.set("TERM").is_some_and(|term| term == "dumb");
        is_terminal && !dumb && self.set("NO_COLOR").is_none()
    }

    /// What is shown while files are looked for, invisible without a terminal.
    #[must_use]
    pub fn searching(&self) -> ProgressBar {
        if !self.err_is_terminal {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message("looking for files");
        spinner.enable_steady_tick(STEP);
        spinner
    }

    /// A progress bar over `length` files, invisible without a terminal.
    #[must_use]
    pub fn progress(&self, length: usize) -> ProgressBar {
        self.progress_in(length as u64, "{pos}/{len} files, {per_sec}")
    }

    /// A progress bar with a figure of its own, invisible without a terminal.
    #[must_use]
    pub fn progress_in(&self, length: u64, figure: &str) -> ProgressBar {
        if !self.err_is_terminal {
            return ProgressBar::hidden();
        }
        let colour = if self.colours(true) {
            "{bar:30.cyan}"
        } else {
            "{bar:30}"
        };
        let template = format!("{colour} {figure}, {{eta}} left");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(length), target).with_style(style);
        bar.enable_steady_tick(STEP);
        bar
    }
}
