//! The debug server: the Debug Adapter Protocol in the process of the program.
//!
//! `framing` and `protocol` read and write messages, `wire` is the connection, `client` what the
//! client is and wants. `session` owns the one session and the native thread that reads, `dispatch`
//! says which part answers a request. A thread that stops waits in `parked`, where it does in its own
//! context what the client asks; `progress` tells what takes long, `scene` is what a stop shows
//! (`view`). `stops` says where threads stop, in terms of the engine.
//! Nothing here runs code of the program but in a stopped thread.

mod activation;
pub(crate) mod children;
mod client;
mod dispatch;
mod ending;
mod frame_eval;
pub(crate) mod framing;
mod guests;
mod listener;
mod parked;
mod progress;
pub(crate) mod protocol;
mod python;
mod redirect;
mod relay;
mod scene;
mod session;
mod spawning;
mod start;
mod stops;
mod stuck;
mod view;
pub(crate) mod wire;

pub(crate) use activation::{Debug, ask};
pub(crate) use dispatch::capabilities;
pub(crate) use python::register;
