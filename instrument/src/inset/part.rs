//! What one breakpoint does at its line, as a fragment.
//!
//! ```text
//!            [LOAD_CONST passes; TO_BOOL; POP_TOP]
//!            [LOAD_CONST meter; TO_BOOL; POP_TOP]
//!            condition ........................ guarded: raises go to `failed`
//! hit:       LOAD_CONST probe; TO_BOOL; POP_TOP
//!     or     LOAD_CONST probe; TO_BOOL; POP_JUMP_IF_FALSE miss
//!            field ............................ guarded: raises go to `field failed`
//!            JUMP_FORWARD next
//! field failed: LOAD_CONST probe; SWAP 2; BINARY_SUBSCR     (the text that stands for it)
//! next:      BUILD_STRING n; LOAD_CONST probe; CONTAINS_OP; POP_TOP
//!            JUMP_FORWARD miss
//! failed:    LOAD_CONST probe; CONTAINS_OP; POP_TOP          (the exception)
//!            [JUMP_FORWARD miss]
//! miss:      [LOAD_CONST None; LOAD_CONST meter; CONTAINS_OP; POP_TOP]
//! ```
//!
//! An exception is handed over from the stack, so that the program's own current exception
//! stays what it is. No handler goes back: control only ever moves on, which raises no line
//! event. Where passes are told of, a jump follows whenever the probe may stop: it is an event of
//! the interpreter for whoever asks for one there.

use super::Failed;
use super::fragment::{Builder, Fragment, Label};
use super::host::Host;
use super::snippet::{Exits, Place, Snippet};
use crate::instr::Body;
use crate::spec::Spec;

/// What a breakpoint wants in its line; expressions are marshalled code objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    /// Compiled from [`super::condition_source`] with `exec`.
    pub condition: Option<&'a [u8]>,
    /// The pieces of a message, of which the probe gets the whole text.
    pub message: Option<&'a [Piece<'a>]>,
    /// Whether a probe is asked before the condition, and given `None` where the part ends, so
    /// that evaluations can be counted and timed.
    pub metered: bool,
    /// Whether a probe is told of each pass before the condition.
    pub counted: bool,
}

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is.
    Text(&'a str),
    /// An f-string of one field, compiled from [`super::value_source`] with `eval`.
    Field(&'a [u8]),
}

/// The constants of a part.
#[derive(Clone, Copy)]
pub(super) struct Constants {
    pub(super) probe: u32,
    /// The meter, and `None`.
    pub(super) meter: Option<(u32, u32)>,
    /// Told of each pass.
    pub(super) passes: Option<u32>,
}

/// Where parts go.
#[derive(Clone, Copy)]
pub(super) struct Spot<'b> {
    pub(super) body: &'b Body,
    pub(super) position: u32,
}

/// A probe without anything else, as plain probes are.
pub(super) fn plain(spec: &Spec, probe: u32) -> Fragment {
    let mut builder = Builder::new(spec);
    ask(&mut builder, probe);
    builder.finish()
}

/// A part as a fragment, or why it has to be done out of line.
pub(super) fn fragment(
    spec: &Spec,
    host: &mut Host<'_, '_>,
    spot: Spot<'_>,
    part: &Part<'_>,
    constants: Constants,
) -> Result<Fragment, Failed> {
    let mut builder = Builder::new(spec);
    let ops = &spec.expressions;
    let (hit, miss, failed) = (builder.label(), builder.label(), builder.label());
    if let Some(passes) = constants.passes {
        ask(&mut builder, passes);
    }
    if let Some((meter, _)) = constants.meter {
        ask(&mut builder, meter);
    }
    if let Some(condition) = part.condition {
        let snippet = Snippet::read(spec, condition)?;
        let start = builder.here();
        let mut place = Place {
            host,
            body: spot.body,
            position: spot.position,
            depth: 0,
        };
        snippet.condition(&mut builder, &mut place, Exits { hit, miss })?;
        builder.guard(start, failed, 0);
    }
    if let Some(pieces) = part.message {
        builder.push(spec.load_const, constants.probe);
        if !ops.jump_asks {
            builder.push(spec.to_bool, 0);
        }
        builder.jump(ops.jump_if_false, miss);
        if let Some(not_taken) = ops.not_taken {
            builder.push(not_taken, 0);
        }
        let mut depth = 0;
        for piece in pieces {
            self::piece(&mut builder, host, spot, piece, depth, constants)?;
            depth += 1;
        }
        builder.push(ops.build_string, depth);
        hand_over(&mut builder, constants.probe);
    } else {
        ask(&mut builder, constants.probe);
    }
    if part.condition.is_some() {
        builder.jump(spec.jump_forward, miss);
        builder.place(failed);
        hand_over(&mut builder, constants.probe);
        if part.counted {
            builder.jump(spec.jump_forward, miss);
        }
    }
    builder.place(miss);
    if let Some((meter, none)) = constants.meter {
        builder.push(spec.load_const, none);
        hand_over(&mut builder, meter);
    }
    Ok(builder.finish())
}

fn piece(
    builder: &mut Builder<'_>,
    host: &mut Host<'_, '_>,
    spot: Spot<'_>,
    piece: &Piece<'_>,
    depth: u32,
    constants: Constants,
) -> Result<(), Failed> {
    let spec = builder.spec;
    let marshalled = match *piece {
        Piece::Text(text) => {
            let text = host.module.add_string(text)?;
            builder.push(spec.load_const, host.constant(text));
            return Ok(());
        }
        Piece::Field(marshalled) => marshalled,
    };
    let snippet = Snippet::read(spec, marshalled)?;
    let (failed, next): (Label, Label) = (builder.label(), builder.label());
    let start = builder.here();
    let mut place = Place {
        host,
        body: spot.body,
        position: spot.position,
        depth,
    };
    snippet.value(builder, &mut place)?;
    builder.guard(start, failed, depth);
    builder.jump(spec.jump_forward, next);
    builder.place(failed);
    builder.push(spec.load_const, constants.probe);
    builder.push(spec.expressions.swap, 2);
    let (op, arg) = spec.expressions.subscript;
    builder.push(op, arg);
    builder.place(next);
    Ok(())
}

/// Asks a probe for its truth, which is a hit.
fn ask(builder: &mut Builder<'_>, probe: u32) {
    let spec = builder.spec;
    builder.push(spec.load_const, probe);
    builder.push(spec.to_bool, 0);
    builder.push(spec.pop_top, 0);
}

/// Gives a probe what is on the stack.
fn hand_over(builder: &mut Builder<'_>, probe: u32) {
    let spec = builder.spec;
    builder.push(spec.load_const, probe);
    builder.push(spec.expressions.contains, 0);
    builder.push(spec.pop_top, 0);
}
