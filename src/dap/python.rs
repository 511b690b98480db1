//! What Python calls of the debug server.

use std::net::TcpListener;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::parked::{Why, park};
use super::session::{self, Session};
use super::stops;
use super::wire::{Stream, Wire};
use crate::{breakpoint, changes};
use crate::ffi::threads::Thread;
use crate::ffi::tracing;
use crate::hit;
use crate::pause;

fn prepare(py: Python<'_>) {
    stops::prepare(py);
    pause::set_sink(stops::paused);
    changes::set_sink(stops::data_changed);
    breakpoint::observe(stops::changed);
}

/// Connects to a client or an adapter that waits at `HOST:PORT` or `unix:PATH`.
///
/// `follow` hooks what is to be hooked for the breakpoints that there are.
#[pyfunction]
fn connect_client(py: Python<'_>, address: &str, follow: Py<PyAny>) -> PyResult<()> {
    prepare(py);
    let begun = py.detach(|| {
        let wire = Wire::new(Stream::connect(address)?)?;
        Session::begin(wire, follow)
    });
    begun.map(drop).map_err(|error| {
        PyOSError::new_err(format!("no debugger can be reached at {address}: {error}"))
    })
}

/// Waits for clients at `HOST:PORT` from now on, one after the other; returns the host and port.
#[pyfunction]
fn listen_for_clients(
    py: Python<'_>,
    host: &str,
    port: u16,
    follow: Py<PyAny>,
) -> PyResult<(String, u16)> {
    prepare(py);
    let refused = |error: std::io::Error| {
        PyOSError::new_err(format!("cannot listen at {host}:{port}: {error}"))
    };
    let listener = TcpListener::bind((host, port)).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let listen = move || {
        while let Ok(stream) = Stream::accept(&listener) {
            let Some(follow) = Python::try_attach(|py| follow.clone_ref(py)) else {
                return;
            };
            // A second client is dropped: its connection ends here.
            let _ = Wire::new(stream).and_then(|wire| Session::begin(wire, follow));
        }
    };
    Thread::start("dapper-listen", listen).map_err(refused)?;
    Ok((address.ip().to_string(), address.port()))
}

/// Waits until a client has said all that it wants before the program goes on.
#[pyfunction]
fn wait_for_client(py: Python<'_>) -> PyResult<()> {
    session::wait_for_client(py)
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
    session::part(py);
}

#[pyfunction]
fn rejoin_session() {
    session::rejoin();
}

#[pyfunction]
fn forget_session() {
    session::forget();
}

/// Adds the functions of this part to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_function(wrap_pyfunction!(connect_client, module)?)?;
    module.add_function(wrap_pyfunction!(listen_for_clients, module)?)?;
    module.add_function(wrap_pyfunction!(wait_for_client, module)?)?;
    module.add_function(wrap_pyfunction!(is_client_connected, module)?)?;
    module.add_function(wrap_pyfunction!(stop_here, module)?)?;
    module.add_function(wrap_pyfunction!(end_session, module)?)?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let around = PyDict::new(py);
        around.set_item("before", wrap_pyfunction!(part_session, &os)?)?;
        around.set_item("after_in_parent", wrap_pyfunction!(rejoin_session, &os)?)?;
        around.set_item("after_in_child", wrap_pyfunction!(forget_session, &os)?)?;
        os.call_method("register_at_fork", (), Some(&around))?;
    }
    Ok(())
}
