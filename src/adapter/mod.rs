//! The debug adapter: the process between a client and the processes of the program.
//!
//! It runs without the interpreter that started it. `arguments` says where clients come from,
//! `session` is one client, `requests` what it asks of the adapter itself; `launch` checks what is to
//! run (`given`, `env_file`, `check`, `frame_eval`), `run` starts it (`process`, `output`, `terminal`,
//! `starter`, `in_process`), `ends` ends it. A process of the program comes to the `meeting`; from
//! then on `relay` passes messages on both ways, `remains` tidies up, and its `children` wait for
//! clients of their own; `progress` tells what is waited for. With `envelope`, `connection` and
//! `signal` below.

mod arguments;
mod attach;
mod check;
mod children;
mod connection;
mod ends;
mod env_file;
mod envelope;
mod frame_eval;
mod given;
mod in_process;
mod launch;
mod meeting;
mod output;
mod process;
mod progress;
mod reach;
mod relay;
mod remains;
mod requests;
mod run;
mod session;
mod signal;
mod starter;
mod terminal;

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use self::arguments::{Arguments, From};
use self::children::Children;
use self::connection::{Connection, Over};
use self::in_process::{Own, Program};
use self::session::Session;
use self::signal::{First, Signal};
use crate::dap::wire::{self, Stream};
use crate::ffi::name::name;
use crate::ffi::threads::Thread;

/// Exit status of an adapter that could not begin.
const FAILED: i32 = 1;
/// Exit status of one that a signal ended, as a shell would tell it, without the signal's number.
const BY_SIGNAL: i32 = 128;

/// What the adapter has to know about the interpreter that started it.
#[derive(Clone, Debug, FromPyObject)]
pub(crate) struct Environment {
    #[pyo3(item)]
    executable: String,
    /// The folder to put on `PYTHONPATH` of an interpreter that does not start dapper by itself.
    #[pyo3(item)]
    bootstrap: String,
    /// Whether this interpreter starts dapper by itself.
    #[pyo3(item)]
    starts_itself: bool,
    /// The folder of the adapter, which an interpreter can run.
    #[pyo3(item)]
    adapter: String,
}

/// What all sessions of this process share.
struct Adapter {
    environment: Environment,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Whether a client was here and has left.
    had_client: AtomicBool,
    children: Children,
    /// What the main thread is to run.
    program: Mutex<Option<(Program, Arc<Own>)>>,
    /// Raised when nothing is left to do, or there is a program to run.
    over: Signal,
    /// The folder where messages are written to.
    log_dir: Option<String>,
}

/// What becomes of the process.
enum Outcome {
    Exit(i32),
    Become(Program),
}

/// Runs the command line `argv` (without the program's name); returns the exit status, or what the
/// main thread is to run while the session goes on in other threads.
#[pyfunction]
fn adapter_main(
    py: Python<'_>,
    argv: Vec<String>,
    launch: Environment,
) -> PyResult<Bound<'_, PyAny>> {
    let exit = |status: i32| Ok(status.into_pyobject(py)?.into_any());
    let arguments = match Arguments::read(argv) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is not ours to tell about.
            let _ = error.print();
            return exit(error.exit_code());
        }
    };
    let log_dir = match arguments.log_dir().map(log_to).transpose() {
        Ok(log_dir) => log_dir,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "dapper adapter: {error}");
            return exit(FAILED);
        }
    };
    let (signals, written) = UnixStream::pair()?;
    written.set_nonblocking(true)?;
    let (handled, before) = take_signals(py, &written)?;
    let status = py.detach(|| match arguments.from() {
        From::Starter {
            address,
            token,
            more,
        } => starter::run(&address, &token, &more).map(Outcome::Exit),
        from => serve(&from, launch, log_dir, &signals),
    });
    // What arrives from here on finds nobody.
    handled.call_method1(name!("set_wakeup_fd"), (-1,))?;
    match status {
        Ok(Outcome::Exit(status)) => exit(status),
        Ok(Outcome::Become(program)) => {
            for (number, handler) in before {
                handled.call_method1(name!("signal"), (number, handler))?;
            }
            in_process::expect();
            Ok(program.into_pyobject(py)?.into_any())
        }
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(io::stderr(), "dapper adapter: {error}");
            exit(FAILED)
        }
    }
}

/// A signal, and what it did.
type Handled<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Has the signals that end a process written to a socket instead; with what they did before.
fn take_signals<'py>(
    py: Python<'py>,
    to: &UnixStream,
) -> PyResult<(Bound<'py, PyModule>, Vec<Handled<'py>>)> {
    use std::os::fd::AsRawFd as _;
    let module = py.import("_signal")?;
    // The handler proper is native, and this one is never called: nothing is left to Python.
    let nothing = py.eval(c"lambda *_: None", None, None)?;
    let mut before = Vec::new();
    for name in ["SIGINT", "SIGTERM", "SIGHUP"] {
        let number = module.getattr(name)?;
        let handler = module.call_method1(name!("signal"), (&number, &nothing))?;
        before.push((number, handler));
    }
    module.call_method1(name!("set_wakeup_fd"), (to.as_raw_fd(),))?;
    Ok((module, before))
}

/// Writes the messages to a file in a folder from now on; returns the name of the folder for other
/// processes.
fn log_to(folder: &Path) -> io::Result<String> {
    let cannot = |error: io::Error| {
        let folder = folder.display();
        io::Error::other(format!(
            "cannot write messages to {folder}: {error}; give another --log-dir"
        ))
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let folder = std::path::absolute(folder).map_err(cannot)?;
    wire::log_in(&folder.to_string_lossy(), "adapter").map_err(cannot)?;
    Ok(folder.to_string_lossy().into_owned())
}

fn serve(
    from: &From,
    environment: Environment,
    log_dir: Option<String>,
    signals: &UnixStream,
) -> io::Result<Outcome> {
    remains::clear();
    let adapter = Arc::new(Adapter {
        environment,
        sessions: Mutex::default(),
        had_client: AtomicBool::new(false),
        children: Children::default(),
        program: Mutex::default(),
        log_dir,
        over: Signal::new()?,
    });
    // Removed when the adapter ends.
    let socket = match from {
        From::Stdio => {
            adapter.begin(Connection::stdio()?, false)?;
            None
        }
        From::Port { host, port } => {
            let listener = TcpListener::bind((host.as_str(), *port)).map_err(|error| {
                io::Error::other(format!("cannot listen at {host}:{port}: {error}"))
            })?;
            let address = listener.local_addr()?;
            adapter.children.use_door(address);
            announce(&address.to_string());
            adapter.accept(false, move || Stream::accept(&listener))?;
            None
        }
        From::Socket(path) => {
            let listener = UnixListener::bind(path).map_err(|error| {
                io::Error::other(format!("cannot listen at {}: {error}", path.display()))
            })?;
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            announce(&path.display().to_string());
            let accept = move || Ok(Stream::Unix(listener.accept()?.0));
            adapter.accept(false, accept)?;
            Some(Socket(path.clone()))
        }
        From::Starter { .. } => None,
    };
    loop {
        if adapter.over.or(signals.as_fd(), None)? == First::Signal {
            let program = adapter
                .program
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            return Ok(match program {
                Some((program, own)) => {
                    own.keep(socket);
                    Outcome::Become(program)
                }
                None => Outcome::Exit(0),
            });
        }
        let mut number = [0];
        io::Read::read_exact(&mut &*signals, &mut number)?;
        // What the client let go is not taken down with the adapter, which only reads its output.
        let sessions = adapter.sessions();
        if sessions.is_empty() || sessions.iter().any(|session| !session.has_let_go()) {
            for session in sessions {
                session.vanish();
            }
            return Ok(Outcome::Exit(BY_SIGNAL + i32::from(number[0])));
        }
    }
}

/// Says on standard error where clients are waited for.
fn announce(address: &str) {
    // Nobody has to read it.
    let _ = writeln!(
        io::stderr(),
        "dapper adapter: waiting for a client at {address}"
    );
}

/// A file that is removed in the end.
#[derive(Debug)]
struct Socket(std::path::PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody else may have tidied up.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Adapter {
    fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the main thread run a program.
    fn become_program(&self, program: Program, own: Arc<Own>) {
        let mut wanted = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted = Some((program, own));
        drop(wanted);
        self.over.raise();
    }

    /// Takes each connection for a client, in a thread of its own; of children alone, or any.
    fn accept(
        self: &Arc<Self>,
        of_children: bool,
        next: impl Fn() -> io::Result<Stream> + Send + 'static,
    ) -> io::Result<()> {
        let adapter = Arc::clone(self);
        Thread::start("dapper-accept", move || {
            loop {
                let begun = next().and_then(|stream| {
                    adapter.begin(Connection::new(Over::Stream(stream)), of_children)
                });
                if begun.is_err() {
                    // Too many files are open, say: it passes, and must not take a processor.
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            }
        })?;
        Ok(())
    }

    /// Begins a session with a client.
    fn begin(self: &Arc<Self>, client: Connection, of_children: bool) -> io::Result<()> {
        let is_only = client.is_stdio();
        let session = Session::new(client, Arc::clone(self), of_children)?;
        self.lock().push(Arc::clone(&session));
        let adapter = Arc::clone(self);
        Thread::start("dapper-client", move || {
            session.serve();
            let mut sessions = adapter.lock();
            sessions.retain(|other| !Arc::ptr_eq(other, &session));
            // One that looked in and left is no reason to end, unless all clients left before it.
            if is_only || session.was_client() {
                adapter.had_client.store(true, Ordering::Relaxed);
            }
            if sessions.is_empty() && adapter.had_client.load(Ordering::Relaxed) {
                adapter.over.raise();
            }
        })?;
        Ok(())
    }
}

/// Adds what this part offers to the extension module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(adapter_main, module)?)?;
    crate::ffi::bottom::register(module)?;
    module.add_function(wrap_pyfunction!(
        in_process::leave_program_to_parent,
        module
    )?)
}
