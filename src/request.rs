//! What the user asks of a breakpoint: where it is, what it does, and when.
//!
//! [`Terms`] are the fields as they are written, in a file, an option or a call; [`Request`] is
//! what they mean. Both the launcher and the process that runs the program make one of the other,
//! so that what is wrong is told where it was asked for. Whether an expression is one, `CPython`
//! decides: see [`crate::condition::check`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use instrument::FunctionPattern;
use instrument::expr::{Expression, Field, HitRule, Piece, Template};
use serde::{Deserialize, Serialize};

use crate::snapshot::{Capture, CaptureOptions};

pub use crate::breakpoint_file::Kind;

impl Kind {
    /// The word that events and options use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Log => "log",
            Self::Count => "count",
            Self::Snapshot => "snapshot",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Stop, Self::Log, Self::Count, Self::Snapshot]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

/// Which expressions are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purity {
    /// All.
    #[default]
    Allow,
    /// Those that are known to change nothing.
    Require,
}

impl Purity {
    /// The option of that name, or what the names are.
    pub fn from_name(name: &str) -> Result<Self, String> {
        match name {
            "allow" => Ok(Self::Allow),
            "require" => Ok(Self::Require),
            _ => Err(format!(
                "purity {name:?} is not one of \"allow\" and \"require\""
            )),
        }
    }
}

/// Where a breakpoint is to be, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A line of a file.
    Line {
        /// The path, or a name in angle brackets.
        file: String,
        /// From 1.
        line: u32,
        /// In characters, from 1: means the code that stands there, where several code objects
        /// share the line.
        column: Option<u32>,
    },
    /// `module:qualname`: the first statement of each function that fits.
    Function(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line, column } => write_line(f, file, *line, *column),
            Self::Function(pattern) => f.write_str(pattern),
        }
    }
}

fn write_line(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    line: u32,
    column: Option<u32>,
) -> fmt::Result {
    write!(f, "{file}:{line}")?;
    column.map_or(Ok(()), |column| write!(f, ":{column}"))
}

/// The functions of one module that `module:qualname` means, or what is wrong with it.
pub fn function_pattern(text: &str) -> Result<FunctionPattern, String> {
    let pattern = FunctionPattern::parse(text).map_err(|error| error.to_string())?;
    let Some(module) = pattern.module() else {
        return Err(format!(
            "`{text}` names no module: write module:{pattern}, or __main__:{pattern} for the \
             main script"
        ));
    };
    if module.contains(['*', '?', '[']) {
        return Err(format!(
            "`{text}`: the module has to be named in full, wildcards are for its functions"
        ));
    }
    Ok(pattern)
}

/// The fields of a breakpoint beside its place and kind, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terms {
    /// An expression; a pass counts only where it is true.
    pub condition: Option<String>,
    /// A rule that the number of hits is compared with.
    pub hit_condition: Option<String>,
    /// A text with expressions in braces.
    pub log_message: Option<String>,
    /// Whether expressions that may change something are refused; else as in the session.
    pub purity: Option<Purity>,
    /// What is recorded of the program at each hit, beside what the kind does.
    pub(crate) capture: Option<CaptureOptions>,
}

/// The text of a log breakpoint.
#[derive(Clone, Debug)]
pub struct Message {
    /// As it was written.
    pub text: Arc<str>,
    /// As it is read.
    pub template: Arc<Template>,
    /// What is written when there is nothing in it to evaluate.
    pub plain: Arc<str>,
}

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Absolute path with links resolved, or a name in angle brackets; empty for functions.
    pub file: Arc<str>,
    /// The line as asked for; 0 for functions.
    pub line: u32,
    /// The column as asked for, in characters from 1.
    pub column: Option<u32>,
    /// The functions that are meant, where no line is.
    pub function: Option<Arc<FunctionPattern>>,
    /// What a hit does.
    pub kind: Kind,
    /// Where it is false, nothing happens.
    pub condition: Option<Arc<str>>,
    /// Which of the passes at which the condition held are let through.
    pub hit_rule: Option<HitRule>,
    /// What a log breakpoint writes.
    pub message: Option<Message>,
    /// What a snapshot of each hit records.
    pub(crate) capture: Option<Arc<Capture>>,
    /// Only in threads of these owners: see [`crate::owned`]; 0 for all threads.
    pub(crate) owners: u64,
    /// Whoever asks for it sees to the frames that run its code already.
    pub(crate) leaves_frames: bool,
}

impl Request {
    /// A breakpoint without conditions.
    #[must_use]
    pub fn plain(file: Arc<str>, line: u32, kind: Kind) -> Self {
        Self {
            file,
            line,
            column: None,
            function: None,
            kind,
            condition: None,
            hit_rule: None,
            message: None,
            capture: None,
            owners: 0,
            leaves_frames: false,
        }
    }

    /// A breakpoint on these terms, or what is wrong with them; `purity` is the session's.
    /// The file is taken as it is named.
    pub fn on_terms(
        place: &Place,
        kind: Kind,
        terms: &Terms,
        purity: Purity,
    ) -> Result<Self, String> {
        if kind == Kind::Log && terms.log_message.is_none() {
            return Err("kind \"log\" needs a log_message".to_owned());
        }
        if kind != Kind::Log && terms.log_message.is_some() {
            return Err(format!(
                "log_message is for kind \"log\", not \"{}\"",
                kind.as_str()
            ));
        }
        let hit_rule = match &terms.hit_condition {
            Some(text) => Some(HitRule::parse(text).map_err(|error| error.to_string())?),
            None => None,
        };
        let message = match &terms.log_message {
            Some(text) => Some(message(text)?),
            None => None,
        };
        let capture = match (&terms.capture, kind) {
            (Some(options), _) => Some(Arc::new(options.capture()?)),
            (None, Kind::Snapshot) => Some(Arc::default()),
            (None, _) => None,
        };
        let request = Self {
            condition: terms.condition.as_deref().map(Arc::from),
            hit_rule,
            message,
            capture,
            ..Self::at(place, kind)?
        };
        if terms.purity.unwrap_or(purity) == Purity::Require {
            request.require_purity()?;
        }
        Ok(request)
    }

    fn at(place: &Place, kind: Kind) -> Result<Self, String> {
        match place {
            Place::Line { line: 0, .. } => {
                Err("line 0 does not exist: lines count from 1".to_owned())
            }
            Place::Line {
                column: Some(0), ..
            } => Err("column 0 does not exist: columns count from 1".to_owned()),
            Place::Line { file, line, column } => Ok(Self {
                column: *column,
                ..Self::plain(file.as_str().into(), *line, kind)
            }),
            Place::Function(pattern) => Ok(Self {
                function: Some(Arc::new(function_pattern(pattern)?)),
                ..Self::plain("".into(), 0, kind)
            }),
        }
    }

    /// Whether it means certain code objects and not all of a line.
    #[must_use]
    pub fn picks_code(&self) -> bool {
        self.column.is_some() || self.function.is_some()
    }

    /// Whether a hit that is let through does more than count.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.kind != Kind::Count || self.capture.is_some()
    }

    /// Whether judging a pass or telling of it evaluates something of the user's.
    #[must_use]
    pub fn evaluates(&self) -> bool {
        self.condition.is_some() || self.fields().next().is_some()
    }

    /// The replacement fields of the message.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.message
            .iter()
            .flat_map(|message| message.template.fields())
    }

    /// The expressions whose values a snapshot records.
    pub fn captured(&self) -> impl Iterator<Item = &str> {
        let captures = self.capture.iter();
        captures.flat_map(|capture| capture.expressions.iter().map(String::as_str))
    }

    /// The names that its expressions read, but for private ones, ascending.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let condition = self.condition.as_deref();
        let condition = condition.and_then(|text| Expression::parse(text).ok());
        let mut names: BTreeSet<String> = BTreeSet::new();
        let captured: Vec<Expression> = self
            .captured()
            .filter_map(|text| Expression::parse(text).ok())
            .collect();
        for expression in condition
            .iter()
            .chain(self.fields().flat_map(Field::expressions))
            .chain(&captured)
        {
            names.extend(expression.names().map(str::to_owned));
            for private in expression.private_names() {
                names.remove(private);
            }
        }
        names.into_iter().collect()
    }

    fn require_purity(&self) -> Result<(), String> {
        if let Some(condition) = &self.condition {
            let expression = Expression::parse(condition)
                .map_err(|error| format!("condition {condition:?}: {error}"))?;
            refuse_impure(&expression, "condition", condition)?;
        }
        for field in self.fields() {
            for expression in field.expressions() {
                refuse_impure(expression, "log message field", &field.text)?;
            }
        }
        for text in self.captured() {
            let expression = Expression::parse(text)
                .map_err(|error| format!("capture expression {text:?}: {error}"))?;
            refuse_impure(&expression, "capture expression", text)?;
        }
        if self
            .capture
            .as_ref()
            .is_some_and(|capture| capture.full_repr)
        {
            return Err(
                "capture repr \"full\" may have side effects: it calls the program's own \
                 __repr__ (purity is \"require\")"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl fmt::Display for Request {
    /// Its place, as it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(pattern) => pattern.fmt(f),
            None => write_line(f, &self.file, self.line, self.column),
        }
    }
}

fn message(text: &str) -> Result<Message, String> {
    let template =
        Template::parse(text).map_err(|error| format!("log message {text:?}: {error}"))?;
    let plain: String = template
        .pieces()
        .iter()
        .filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Field(_) => None,
        })
        .collect();
    Ok(Message {
        text: text.into(),
        template: Arc::new(template),
        plain: plain.into(),
    })
}

fn refuse_impure(expression: &Expression, what: &str, text: &str) -> Result<(), String> {
    match expression.purity().reason() {
        None => Ok(()),
        Some(why) => Err(format!(
            "{what} {text:?} may have side effects: {why} (purity is \"require\")"
        )),
    }
}
