//! What a stop shows: the frames of its thread, and the values that were asked for.
//!
//! Owns the numbers by which the client knows frames and containers of values; they mean nothing
//! once the thread goes on.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::parked::Why;
use super::protocol::Refusal;
use super::session::Session;
use super::stops::hides;
use super::view::Programs;
use crate::ffi::name::name;
use crate::ffi::tracing;

/// Frames that are not on the stack of the thread have numbers from here on.
const ASIDE: usize = 1 << 32;

/// A frame of the stack.
pub(crate) struct Shown<'py> {
    /// The frame object.
    pub(crate) frame: Bound<'py, PyAny>,
    /// The line that it is at, where that is not what the frame says: it has been left.
    pub(crate) line: Option<u32>,
    /// The client's number of it, once it has one.
    id: Option<i64>,
}

impl Shown<'_> {
    /// The line that it is at.
    pub(crate) fn line(&self) -> u32 {
        self.line.unwrap_or_else(|| tracing::line_of(&self.frame))
    }
}

/// Which variables of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of the function, arguments included.
    Locals,
    /// Those shared with other functions.
    Cells,
    /// Those of the module.
    Globals,
    /// What calls have returned during a step.
    Returned,
    /// The exception that was raised.
    Exception,
}

/// What a `variablesReference` means.
pub(crate) enum Held<'py> {
    /// Variables of the frame of that number, the innermost being 0.
    Scope(usize, Scope, Part),
    /// An attribute that is computed when it is asked for.
    Lazy {
        /// The object whose attribute it is.
        object: Bound<'py, PyAny>,
        /// Its name.
        name: String,
        /// An expression that gives its value.
        evaluate_name: Option<String>,
        /// The frame in which the expression means it.
        frame: usize,
    },
    /// What is in a value; `evaluate_name` is an expression that gives the value, if there is one.
    Value {
        /// The value.
        value: Bound<'py, PyAny>,
        /// An expression that gives it.
        evaluate_name: Option<String>,
        /// The frame in which the expression means it.
        frame: usize,
        /// Which part of it is meant.
        part: Part,
    },
}

/// Which part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Items and attributes.
    Whole,
    /// Attributes between double underscores.
    Special,
    /// Callable attributes.
    Functions,
    /// Attributes that are classes.
    Class,
    /// Attributes whose name begins with one underscore.
    Protected,
}

/// A stop, in the thread that stopped.
pub(crate) struct Scene<'py> {
    session: Arc<Session>,
    ident: u64,
    frames: Vec<Shown<'py>>,
    /// Whether all frames are in `frames`.
    whole: bool,
    /// Frames of tasks that wait, numbered from [`ASIDE`].
    aside: Vec<Shown<'py>>,
    held: HashMap<i64, Held<'py>>,
    /// What the numbers that were given out have to be taken back by.
    given: Vec<i64>,
    /// Names that the user made in the console, by the number of the frame.
    extras: HashMap<usize, Bound<'py, PyDict>>,
    /// What was evaluated, compiled.
    pub(super) programs: Programs,
    /// Why it stopped.
    pub(crate) why: Why<'py>,
}

impl<'py> Scene<'py> {
    /// Of the thread with that number, which has stopped at `frame`.
    pub(crate) fn new(
        session: &Arc<Session>,
        frame: &Bound<'py, PyAny>,
        ident: u64,
        why: Why<'py>,
    ) -> Self {
        let shown = |frame: Bound<'py, PyAny>, line| Shown {
            frame,
            line,
            id: None,
        };
        let mut scene = Self {
            session: Arc::clone(session),
            ident,
            frames: vec![shown(frame.clone(), None)],
            whole: false,
            aside: Vec::new(),
            held: HashMap::new(),
            given: Vec::new(),
            extras: HashMap::new(),
            programs: Programs::default(),
            why,
        };
        if let Some((exception, _)) = &scene.why.exception {
            // Without it the rest of the stop is as good.
            if let Ok(named) = exception_names(exception) {
                scene.extras.insert(0, named);
            }
        }
        let uncaught = match &scene.why.exception {
            Some((exception, "unhandled")) => left_by(exception).unwrap_or_default(),
            _ => Vec::new(),
        };
        if !uncaught.is_empty() {
            let frames = uncaught
                .into_iter()
                .filter(|(frame, _)| !hides(&tracing::code_of(frame)))
                .map(|(frame, line)| shown(frame, Some(line)));
            let frames: Vec<_> = frames.collect();
            if !frames.is_empty() {
                scene.frames = frames;
                scene.whole = true;
            }
        }
        scene
    }

    /// The interpreter.
    pub(crate) fn py(&self) -> Python<'py> {
        // INVARIANT: a scene begins with a frame, and frames are never taken away.
        self.frames[0].frame.py()
    }

    /// The session.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The thread, as the system numbers it.
    pub(crate) fn ident(&self) -> u64 {
        self.ident
    }

    /// The frames from the innermost, at least `wanted` of them if there are so many.
    pub(crate) fn frames(&mut self, wanted: usize) -> PyResult<&[Shown<'py>]> {
        while !self.whole && self.frames.len() < wanted {
            let last = &self.frames[self.frames.len() - 1].frame;
            let name = name!("f_back");
            let mut back = last.getattr(name)?;
            while !back.is_none() && hides(&tracing::code_of(&back)) {
                back = back.getattr(name)?;
            }
            if back.is_none() {
                self.whole = true;
            } else {
                self.frames.push(Shown {
                    frame: back,
                    line: None,
                    id: None,
                });
            }
        }
        Ok(&self.frames)
    }

    /// Numbers a frame that is not on the stack of the thread.
    pub(crate) fn put_aside(&mut self, frame: Bound<'py, PyAny>) -> usize {
        let known = self.aside.iter().position(|shown| shown.frame.is(&frame));
        let index = known.unwrap_or_else(|| {
            self.aside.push(Shown {
                frame,
                line: None,
                id: None,
            });
            self.aside.len() - 1
        });
        ASIDE + index
    }

    /// The frame of that number, the innermost being 0.
    pub(crate) fn frame(&self, index: usize) -> &Shown<'py> {
        match index.checked_sub(ASIDE) {
            Some(aside) => &self.aside[aside],
            None => &self.frames[index],
        }
    }

    /// A number for something of a stop that can be asked nothing.
    pub(crate) fn idle_id(&mut self) -> i64 {
        let id = self.session.new_id(self.ident);
        self.given.push(id);
        id
    }

    /// The client's number of a frame.
    pub(crate) fn frame_id(&mut self, index: usize) -> i64 {
        if let Some(id) = self.frame(index).id {
            return id;
        }
        let id = self.idle_id();
        let shown = match index.checked_sub(ASIDE) {
            Some(aside) => &mut self.aside[aside],
            None => &mut self.frames[index],
        };
        shown.id = Some(id);
        id
    }

    /// The frame that the client knows by a number.
    pub(crate) fn frame_of(&self, id: i64) -> Result<usize, Refusal> {
        let of = |frames: &[Shown<'_>]| frames.iter().position(|shown| shown.id == Some(id));
        let found = of(&self.frames).or_else(|| of(&self.aside).map(|aside| ASIDE + aside));
        found.ok_or_else(|| Refusal::new(format!("there is no frame {id} at this stop")))
    }

    /// A `variablesReference` for something that has parts.
    pub(crate) fn hold(&mut self, held: Held<'py>) -> i64 {
        let id = self.session.new_id(self.ident);
        self.given.push(id);
        self.held.insert(id, held);
        id
    }

    /// Names that the user made in the console for a frame, if any.
    pub(crate) fn extras(&self, index: usize) -> Option<&Bound<'py, PyDict>> {
        self.extras.get(&index)
    }

    /// Names that the user makes in the console for a frame.
    pub(crate) fn extras_to_add_to(&mut self, index: usize) -> Bound<'py, PyDict> {
        let py = self.py();
        let extras = self.extras.entry(index);
        extras.or_insert_with(|| PyDict::new(py)).clone()
    }

    /// What a `variablesReference` means.
    pub(crate) fn held(&self, reference: i64) -> Result<&Held<'py>, Refusal> {
        let gone = || {
            Refusal::new(format!(
                "there is no variable container {reference} any more"
            ))
        };
        self.held.get(&reference).ok_or_else(gone)
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.session.forget_ids(&self.given);
    }
}

/// The name by which expressions know the exception of a stop: what `sys.exc_info()` would give.
fn exception_names<'py>(exception: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let named = PyDict::new(exception.py());
    let traceback = exception.getattr(name!("__traceback__"))?;
    named.set_item(
        "__exception__",
        (exception.get_type(), exception, traceback),
    )?;
    Ok(named)
}

/// The frames that an exception has left, the innermost first, with their lines.
fn left_by<'py>(exception: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, u32)>> {
    let mut left = Vec::new();
    let mut traceback = exception.getattr(name!("__traceback__"))?;
    while !traceback.is_none() {
        let line: Option<u32> = traceback.getattr(name!("tb_lineno"))?.extract()?;
        left.push((traceback.getattr(name!("tb_frame"))?, line.unwrap_or(0)));
        traceback = traceback.getattr(name!("tb_next"))?;
    }
    left.reverse();
    Ok(left)
}
