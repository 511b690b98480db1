//! The edge between `CPython` and dapper's engine.
//!
//! `registry` knows the breakpoints, `importer` and `main_script` bring variants into the program,
//! `loaded` does so for code that is there already, `link` puts probes into them, `probe` and `hit` are
//! what runs at a hit, `stands` says which lines and code objects a breakpoint means, `events` records it,
//! `log` writes messages, `tell` those about dapper itself, `snapshot`
//! records frames, `unattended` follows a file of breakpoints. `telemetry` counts why things went another way, `meter`
//! measures the engine's own time, `allowance` that of breakpoints, `memo` keeps the variants of loaded code.
//! `callback` is what stops call, `modules` knows where functions are that breakpoints name.
//! `request` is what is asked of a breakpoint (`terms` reads it from Python), `condition` evaluates it where it is hit (`compile`,
//! `evaluator`, `time_limit`), `figures` counts what came of it.
//! `owned` is for debuggers that see to their threads themselves.
//! `scoped` watches lines where no probe can stand, `step` runs on from a stop to the next, and
//! `exceptions` stops at exceptions, `changes` where a variable has got another value,
//! `instructions` at single instructions.
//! `variant` and `store` make and keep variants (`store_options`: within what and whose), `freshness` says
//! which `.pyc` they may come from. `environment` is what counts of the process's variables.
//! `dap` is the debug server, `adapter` the process between it and an editor. `run` is the launcher, `cli` the command
//! `dapper-instrument`. Only `ffi` holds unsafe code.
//! The extension never imports `dapper.*`: Python registers what is to be called.

#![deny(unsafe_code)]

mod adapter;
mod allowance;
pub mod breakpoint;
pub mod breakpoint_file;
mod callback;
mod changes;
pub mod cli;
mod compile;
mod condition;
mod counters;
mod dap;
mod environment;
mod evaluator;
mod events;
mod excepthook;
mod exceptions;
#[allow(
    unsafe_code,
    reason = "the one folder that touches interpreter internals"
)]
pub mod ffi;
mod figures;
mod freshness;
mod handle;
mod hit;
mod importer;
mod in_line;
mod inline;
mod instructions;
mod instrument_main;
mod interpreter;
mod link;
mod loaded;
mod log;
mod main_script;
mod memo;
mod meter;
mod metering;
mod modules;
mod owned;
mod pause;
mod pending;
mod probe;
mod registry;
mod remembered;
pub mod request;
mod run;
mod scoped;
mod session;
mod snapshot;
mod stands;
mod step;
mod store;
pub mod store_options;
mod telemetry;
mod tell;
mod terms;
mod thread_info;
mod time_limit;
mod trace_event;
mod unattended;
mod user_code;
pub mod variant;
pub mod variant_key;
