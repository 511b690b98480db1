//! What a snapshot records, and its limits: what the options of a capture come to.
//!
//! Owns the defaults and the bounds. Relies on [`options`](super::options) for what users write.

use std::time::Duration;

use super::options::{CaptureOptions, Repr};
use super::redact::Redaction;

/// What a snapshot records, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Capture {
    /// How many frames, from the one that was hit.
    pub(crate) stack_depth: u32,
    /// How many of them with their local variables.
    pub(crate) frames_with_locals: u32,
    /// How deep values are looked into.
    pub(crate) locals_depth: u32,
    /// How many items of a container, attributes of an object and variables of a frame.
    pub(crate) max_items: usize,
    /// How many characters of a string.
    pub(crate) max_string: usize,
    /// How many bytes of values in all.
    pub(crate) max_total_bytes: usize,
    /// How many snapshots a breakpoint takes.
    pub(crate) max_count: u64,
    /// How long one snapshot may take before the rest is left out.
    pub(crate) time_budget: Duration,
    /// What is evaluated beside the variables.
    pub(crate) expressions: Vec<String>,
    /// Whose values are not recorded.
    pub(crate) redact: Redaction,
    /// The patterns beside those that always hold.
    own_redact: Vec<String>,
    /// Whether the program's own `__repr__` is called.
    pub(crate) full_repr: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            stack_depth: 20,
            frames_with_locals: 3,
            locals_depth: 2,
            max_items: 20,
            max_string: 200,
            max_total_bytes: 16 << 10,
            max_count: 100,
            time_budget: Duration::from_millis(5),
            expressions: Vec::new(),
            redact: Redaction::default(),
            own_redact: Vec::new(),
            full_repr: false,
        }
    }
}

/// Deeper values would be written on a stack that the program needs.
const DEEPEST: u32 = 20;

impl CaptureOptions {
    /// What they come to, or what is wrong with them.
    pub(crate) fn capture(&self) -> Result<Capture, String> {
        let default = Capture::default();
        let locals_depth = self.locals_depth.unwrap_or(default.locals_depth);
        if locals_depth > DEEPEST {
            return Err(format!(
                "capture: locals_depth {locals_depth} is more than {DEEPEST}"
            ));
        }
        if self.max_count == Some(0) {
            return Err("capture: a max_count of 0 would record nothing".to_owned());
        }
        let time_budget = match self.time_budget_s {
            Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| {
                format!("capture: time_budget_s {seconds} is not a number of seconds from 0")
            })?,
            None => default.time_budget,
        };
        Ok(Capture {
            stack_depth: self.stack_depth.unwrap_or(default.stack_depth),
            frames_with_locals: self
                .frames_with_locals
                .unwrap_or(default.frames_with_locals),
            locals_depth,
            max_items: self.max_items.unwrap_or(default.max_items),
            max_string: self.max_string.unwrap_or(default.max_string),
            max_total_bytes: self.max_total_bytes.unwrap_or(default.max_total_bytes),
            max_count: self.max_count.unwrap_or(default.max_count),
            time_budget,
            expressions: self.expressions.clone(),
            redact: default.redact.and(self.redact.iter().map(String::as_str)),
            own_redact: self.redact.clone(),
            full_repr: self.repr == Some(Repr::Full),
        })
    }
}

impl Capture {
    /// The options that come to this, every one of them given.
    pub(crate) fn options(&self) -> CaptureOptions {
        CaptureOptions {
            stack_depth: Some(self.stack_depth),
            frames_with_locals: Some(self.frames_with_locals),
            locals_depth: Some(self.locals_depth),
            max_items: Some(self.max_items),
            max_string: Some(self.max_string),
            max_total_bytes: Some(self.max_total_bytes),
            max_count: Some(self.max_count),
            time_budget_s: Some(self.time_budget.as_secs_f64()),
            expressions: self.expressions.clone(),
            redact: self.own_redact.clone(),
            repr: Some(if self.full_repr {
                Repr::Full
            } else {
                Repr::Safe
            }),
        }
    }
}
