//! What Python calls of the debug server.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::activation::{self, Debug};
use super::parked::{self, Why, park};
use super::{ending, frame_eval, listener, redirect, session, spawning, stops, stuck, wire};
use crate::ffi::name::name;
use crate::ffi::{exit, tracing};
use crate::hit;
use crate::pause;
use crate::{breakpoint, changes, instructions, time_limit};

/// What the thread that reads makes use of: it imports nothing later, when a stopped thread may
/// hold the lock of the import system.
const MODULES: [&str; 8] = [
    "contextvars",
    "linecache",
    "opcode",
    "sysconfig",
    "threading",
    "types",
    "warnings",
    "weakref",
];

fn prepare(py: Python<'_>) {
    for name in MODULES {
        // One that cannot be imported is told of where it is needed.
        let _ = py.import(name);
    }
    stops::prepare(py);
    redirect::prepare(py);
    frame_eval::prepare();
    ending::expect();
    pause::set_sink(stops::paused);
    changes::set_sink(stops::data_changed);
    instructions::set_sink(stops::instruction_reached);
    breakpoint::observe(stops::changed);
    time_limit::set_on_stuck(stuck::tell);
}

/// Connects to an adapter that waits at `HOST:PORT` or `unix:PATH`.
///
/// `follow` hooks what is to be hooked for the breakpoints that there are. With `children` the
/// processes that the program starts connect there as well.
#[pyfunction]
#[pyo3(signature = (address, follow, token=None, children=true))]
fn connect_client(
    py: Python<'_>,
    address: &str,
    follow: Py<PyAny>,
    token: Option<&str>,
    children: bool,
) -> PyResult<()> {
    prepare(py);
    let offer = children.then(|| Debug::of_children(address, token));
    activation::offer(py, offer, &follow);
    activation::connect(py, address, token, follow).map(drop)
}

/// Waits for clients at `HOST:PORT` from now on, one after the other; returns the host and port.
#[pyfunction]
#[pyo3(signature = (host, port, follow, children=true))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python arguments are extracted into values"
)]
fn listen_for_clients(
    py: Python<'_>,
    host: &str,
    port: u16,
    follow: Py<PyAny>,
    children: bool,
) -> PyResult<(String, u16)> {
    prepare(py);
    let own = follow.clone_ref(py);
    let listener = listener::begin(host, port, children, own)
        .map_err(|error| PyOSError::new_err(format!("cannot listen at {host}:{port}: {error}")))?;
    activation::offer(py, listener.offer(), &follow);
    let address = listener.address();
    Ok((address.ip().to_string(), address.port()))
}

/// Begins what the environment asks for; false when that is nothing.
#[pyfunction]
fn join_debugger(py: Python<'_>, follow: Py<PyAny>) -> PyResult<bool> {
    let Some(asked) = activation::asked() else {
        return Ok(false);
    };
    let token = asked.token.as_deref();
    if let Some(address) = &asked.connect {
        let connected = connect_client(py, address, follow, token, asked.sub_process);
        if asked.child && connected.is_err() {
            // The debugger of the parent is gone, which is no matter of the child's.
            return Ok(true);
        }
        connected?;
    } else if let Some((host, port)) = asked.listen.as_deref().and_then(|at| at.rsplit_once(':')) {
        listen_for_clients(py, host, port.parse()?, follow, asked.sub_process)?;
    }
    Ok(true)
}

/// Has only children that are forked be debugged; this process is one of `multiprocessing`'s own.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "Python arguments are extracted into values"
)]
fn offer_to_forked(py: Python<'_>, follow: Py<PyAny>) {
    prepare(py);
    activation::offer(py, activation::asked(), &follow);
}

/// Waits for the client where the environment asks for it, and stops at entry where it wants that.
#[pyfunction]
fn wait_at_start(py: Python<'_>) -> PyResult<()> {
    let Some(asked) = activation::asked().filter(|asked| asked.wait) else {
        return Ok(());
    };
    match session::current() {
        Some(session) => activation::wait(py, &session, asked.child)?,
        None if asked.listen.is_some() => session::wait_for_client(py)?,
        None => return Ok(()),
    }
    session::current().map_or(Ok(()), |session| activation::begin_program(py, &session))
}

/// What the environment of children has to hold so that they are debugged; nothing when they are
/// not to be.
#[pyfunction]
fn session_of_children() -> Option<String> {
    activation::session_of_children()
}

/// Whether the environment asks for a client.
#[pyfunction]
fn is_debug_asked() -> bool {
    activation::asked().is_some()
}

/// Whether there is a client, or one is waited for.
#[pyfunction]
fn is_debugged() -> (bool, bool) {
    (session::current().is_some(), listener::is_there())
}

/// Waits until a client has said all that it wants before the program goes on.
#[pyfunction]
fn wait_for_client(py: Python<'_>) -> PyResult<()> {
    session::wait_for_client(py)
}

/// Has those go on that wait for a client.
#[pyfunction]
fn stop_waiting_for_client() {
    session::stop_waiting();
}

/// Tells the client that the program ends with a status.
#[pyfunction]
fn conclude_session(py: Python<'_>, status: i32) {
    py.detach(|| exit::leaving(status));
}

/// Says whether this thread stops at all.
#[pyfunction]
fn set_thread_debugged(debugged: bool) {
    parked::set_debugged(debugged);
}

/// Writes the messages of the protocol to a file from now on.
#[pyfunction]
fn log_messages_to(path: &str) -> PyResult<()> {
    wire::log_to(path)
        .map_err(|error| PyOSError::new_err(format!("cannot write messages to {path}: {error}")))
}

/// Whether there is a client.
#[pyfunction]
fn is_client_connected() -> bool {
    session::current().is_some_and(|session| !session.is_broken())
}

/// Stops this thread in the frame that called, if there is a client.
#[pyfunction]
fn stop_here(py: Python<'_>) -> PyResult<()> {
    let Some(frame) = tracing::current_frame(py) else {
        return Ok(());
    };
    hit::call_quietly(py, "stop of a thread", || {
        park(
            &frame,
            Why {
                reason: "breakpoint",
                ..Why::default()
            },
        )
    })
}

/// Ends the session, if there is one.
#[pyfunction]
fn end_session(py: Python<'_>) {
    if let Some(session) = session::current() {
        session.event("terminated", serde_json::Value::Null);
        py.detach(|| session.end());
    }
}

#[pyfunction]
fn part_session(py: Python<'_>) {
    listener::part(py);
    session::part(py);
}

#[pyfunction]
fn rejoin_session() {
    session::rejoin();
    listener::rejoin();
}

#[pyfunction]
fn forget_session(py: Python<'_>) {
    session::forget();
    listener::forget();
    activation::join_forked(py);
}

/// Adds the functions of this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_function(wrap_pyfunction!(connect_client, module)?)?;
    module.add_function(wrap_pyfunction!(listen_for_clients, module)?)?;
    spawning::register(module)?;
    module.add_function(wrap_pyfunction!(join_debugger, module)?)?;
    module.add_function(wrap_pyfunction!(offer_to_forked, module)?)?;
    module.add_function(wrap_pyfunction!(wait_at_start, module)?)?;
    module.add_function(wrap_pyfunction!(session_of_children, module)?)?;
    module.add_function(wrap_pyfunction!(is_debug_asked, module)?)?;
    module.add_function(wrap_pyfunction!(is_debugged, module)?)?;
    module.add_function(wrap_pyfunction!(stop_waiting_for_client, module)?)?;
    module.add_function(wrap_pyfunction!(conclude_session, module)?)?;
    module.add_function(wrap_pyfunction!(set_thread_debugged, module)?)?;
    module.add_function(wrap_pyfunction!(log_messages_to, module)?)?;
    module.add_function(wrap_pyfunction!(wait_for_client, module)?)?;
    module.add_function(wrap_pyfunction!(is_client_connected, module)?)?;
    module.add_function(wrap_pyfunction!(stop_here, module)?)?;
    module.add_function(wrap_pyfunction!(end_session, module)?)?;
    let os = py.import("os")?;
    if os.hasattr(name!("register_at_fork"))? {
        let around = PyDict::new(py);
        around.set_item("before", wrap_pyfunction!(part_session, &os)?)?;
        around.set_item("after_in_parent", wrap_pyfunction!(rejoin_session, &os)?)?;
        around.set_item("after_in_child", wrap_pyfunction!(forget_session, &os)?)?;
        os.call_method(name!("register_at_fork"), (), Some(&around))?;
    }
    Ok(())
}
