//! What a client says about itself, and what it asks of a session as a whole.

use serde::Deserialize;
use serde_json::{Value, json};

/// The arguments of `initialize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the protocol"
)]
pub(crate) struct Client {
    /// Whether its first line is 1.
    #[serde(rename = "linesStartAt1")]
    pub(crate) lines_start_at_1: bool,
    /// Whether its first column is 1.
    #[serde(rename = "columnsStartAt1")]
    pub(crate) columns_start_at_1: bool,
    /// `path` or `uri`.
    pub(crate) path_format: Option<String>,
    /// Whether variables may have a type.
    pub(crate) supports_variable_type: bool,
    /// Whether it asks for parts of long containers.
    pub(crate) supports_variable_paging: bool,
    /// Whether it can start a program in a terminal.
    pub(crate) supports_run_in_terminal_request: bool,
    /// Whether it can start another session.
    pub(crate) supports_start_debugging_request: bool,
    /// Whether it shows progress.
    pub(crate) supports_progress_reporting: bool,
    /// Whether it takes events that tell of changed values.
    pub(crate) supports_invalidated_event: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            lines_start_at_1: true,
            columns_start_at_1: true,
            path_format: None,
            supports_variable_type: false,
            supports_variable_paging: false,
            supports_run_in_terminal_request: false,
            supports_start_debugging_request: false,
            supports_progress_reporting: false,
            supports_invalidated_event: false,
        }
    }
}

impl Client {
    /// A line as the client counts.
    pub(crate) fn line(&self, line: u32) -> u32 {
        line - u32::from(!self.lines_start_at_1 && line > 0)
    }

    /// A line of the client's, from 1.
    pub(crate) fn line_from(&self, line: u32) -> u32 {
        line + u32::from(!self.lines_start_at_1)
    }

    /// A column as the client counts.
    pub(crate) fn column(&self, column: u32) -> u32 {
        column - u32::from(!self.columns_start_at_1 && column > 0)
    }

    /// A column of the client's, from 1.
    pub(crate) fn column_from(&self, column: u32) -> u32 {
        column + u32::from(!self.columns_start_at_1)
    }
}

/// One pair of folders: where the client has the sources, and where the program has them.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathMapping {
    /// The client's folder.
    pub(crate) local_root: String,
    /// The program's folder.
    pub(crate) remote_root: String,
}

/// Where variables of a kind are shown.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Placement {
    /// In a group of their own.
    Group,
    /// Among the others.
    Inline,
    /// Nowhere.
    Hide,
}

/// Where variables are shown, by their kind; `all` is for every kind that is not named.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Presentation {
    all: Option<Placement>,
    special: Option<Placement>,
    function: Option<Placement>,
    class: Option<Placement>,
    protected: Option<Placement>,
}

impl Presentation {
    /// Of names between double underscores.
    pub(crate) fn special(self) -> Placement {
        self.special.or(self.all).unwrap_or(Placement::Group)
    }

    /// Of functions and methods.
    pub(crate) fn function(self) -> Placement {
        self.function.or(self.all).unwrap_or(Placement::Group)
    }

    /// Of classes.
    pub(crate) fn class(self) -> Placement {
        self.class.or(self.all).unwrap_or(Placement::Group)
    }

    /// Of names that begin with an underscore.
    pub(crate) fn protected(self) -> Placement {
        self.protected.or(self.all).unwrap_or(Placement::Inline)
    }
}

/// What the user says of some files or modules.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct CodeRule {
    /// A pattern of paths.
    pub(super) path: Option<String>,
    /// A module or package.
    pub(super) module: Option<String>,
    /// Whether it is the user's.
    pub(super) include: bool,
}

/// What `launch` and `attach` say that concerns the process of the program.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the protocol"
)]
pub(crate) struct Settings {
    /// Whether code of libraries is passed through and left out.
    pub(crate) just_my_code: bool,
    /// Whether a thread that stops has the others stop, too.
    #[serde(rename = "stopAllThreads")]
    pub(crate) stop_all_threads: bool,
    /// Which code is the user's, before anything else decides it.
    pub(crate) rules: Vec<CodeRule>,
    /// Whether the program stops at its first line.
    pub(crate) stop_on_entry: bool,
    /// Whether the end of a step shows what calls returned.
    pub(crate) show_return_value: bool,
    /// Where the sources are.
    pub(crate) path_mappings: Vec<PathMapping>,
    /// Whether the processes that the program starts are debugged, too.
    pub(crate) sub_process: bool,
    /// Whether what the program prints is sent to the client.
    pub(crate) redirect_output: bool,
    /// Whether breakpoints are left out altogether.
    pub(crate) no_debug: bool,
    /// What `terminate` does: `KeyboardInterrupt`, or it ends the process.
    pub(crate) on_terminate: Option<String>,
    /// How attributes are shown that are not the object's own data.
    pub(crate) variable_presentation: Presentation,
    /// How many seconds an expression of a watch or of a hover may take; none is the default.
    pub(crate) evaluation_timeout: Option<f64>,
    /// Whether an exit with status 0 stops where uncaught exceptions do.
    pub(crate) break_on_system_exit_zero: bool,
    /// The statuses of exits that stop where uncaught exceptions do; all but 0 if none are named.
    pub(crate) break_on_system_exit: Option<Vec<ExitStatus>>,
}

/// One status of a process, or several.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum ExitStatus {
    /// This one.
    One(i64),
    /// These, both ends included.
    Range {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
}

/// The statuses of exits that stop where uncaught exceptions do.
#[derive(Clone, Debug)]
pub(crate) struct ExitStatuses {
    named: Option<Vec<ExitStatus>>,
    zero: bool,
}

impl ExitStatuses {
    /// Whether an exit with this status stops.
    pub(crate) fn include(&self, status: i64) -> bool {
        let named = match &self.named {
            Some(named) => named.iter().any(|one| match one {
                ExitStatus::One(one) => *one == status,
                ExitStatus::Range { from, to } => (*from..=*to).contains(&status),
            }),
            None => status != 0,
        };
        named || (self.zero && status == 0)
    }

    /// Whether there is none that stops.
    pub(crate) fn is_none(&self) -> bool {
        !self.zero && self.named.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether the user has said anything about them.
    pub(crate) fn was_asked_for(&self) -> bool {
        !self.is_none() && (self.zero || self.named.is_some())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            just_my_code: true,
            stop_all_threads: true,
            rules: Vec::new(),
            stop_on_entry: false,
            show_return_value: false,
            path_mappings: Vec::new(),
            sub_process: true,
            redirect_output: false,
            no_debug: false,
            on_terminate: None,
            variable_presentation: Presentation::default(),
            evaluation_timeout: None,
            break_on_system_exit_zero: false,
            break_on_system_exit: None,
        }
    }
}

impl Settings {
    /// Names the folders of the program from the root, as `.` is meant.
    pub(super) fn resolve(&mut self) {
        let Ok(here) = std::env::current_dir() else {
            return;
        };
        for mapping in &mut self.path_mappings {
            let root = mapping.remote_root.as_str();
            let relative = root == "." || root.starts_with("./");
            if relative && let Some(root) = here.join(root).components().as_path().to_str() {
                root.trim_end_matches("/.")
                    .clone_into(&mut mapping.remote_root);
            }
        }
    }

    /// The statuses of exits that stop where uncaught exceptions do.
    pub(crate) fn exit_statuses(&self) -> ExitStatuses {
        ExitStatuses {
            named: self.break_on_system_exit.clone(),
            zero: self.break_on_system_exit_zero,
        }
    }

    /// The path by which the program knows a file of the client's.
    pub(crate) fn remote(&self, path: &str) -> String {
        self.mapped(path, |mapping| (&mapping.local_root, &mapping.remote_root))
    }

    /// The path by which the client knows a file of the program's.
    pub(crate) fn local(&self, path: &str) -> String {
        self.mapped(path, |mapping| (&mapping.remote_root, &mapping.local_root))
    }

    fn mapped<'a>(
        &'a self,
        path: &str,
        ends: impl Fn(&'a PathMapping) -> (&'a String, &'a String),
    ) -> String {
        let below = |root: &str| {
            let rest = below_root(path, root.trim_end_matches(['/', '\\']))?;
            (rest.is_empty() || rest.starts_with(['/', '\\'])).then(|| rest.to_owned())
        };
        // The longest root is the one that is meant.
        let mut found: Option<(usize, String)> = None;
        for mapping in &self.path_mappings {
            let (from, to) = ends(mapping);
            if let Some(rest) = below(from)
                && found
                    .as_ref()
                    .is_none_or(|(length, _)| *length < from.len())
            {
                let to = to.trim_end_matches(['/', '\\']);
                let windows = to.contains('\\') && !to.contains('/');
                let rest = if windows {
                    rest.replace('/', "\\")
                } else {
                    rest.replace('\\', "/")
                };
                found = Some((from.len(), format!("{to}{rest}")));
            }
        }
        found.map_or_else(|| path.to_owned(), |(_, path)| path)
    }
}

/// What of a path lies below a root; a root of Windows is written in many ways.
fn below_root<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let mut letters = root.chars();
    let drive = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && letters.next() == Some(':');
    if !drive && !root.starts_with("\\\\") {
        return path.strip_prefix(root);
    }
    let alike = |letter: char| match letter {
        '/' => '\\',
        letter => letter.to_ascii_lowercase(),
    };
    let start = path.get(..root.len())?;
    let same = start.chars().map(alike).eq(root.chars().map(alike));
    same.then(|| &path[root.len()..])
}

/// What concerns the session as a whole in the answer to `initialize`.
pub(super) fn capabilities() -> Value {
    json!({
        "supportsConfigurationDoneRequest": true,
        "supportsTerminateRequest": true,
        "supportTerminateDebuggee": true,
        "supportsSingleThreadExecutionRequests": true,
    })
}
