//! The place where clients find this process, and its children theirs.
//!
//! Owns one native thread that waits for connections: of clients at an address of the network, of
//! processes that the program has started at a socket in a folder of this user's. A client gets
//! this process, one at a time, or the child that it names. The thread is gone while the program
//! forks, and a child of a fork keeps nothing of it.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::activation::Debug;
use super::children::{self, Call};
use super::framing::Decoder;
use super::guests::{Guest, Turn};
use super::relay::Relay;
use super::session::{self, Session, lock};
use super::wire::{Stream, Wire};
use crate::ffi::attach::try_attach;
use crate::ffi::descriptor;
use crate::ffi::threads::Thread;

/// So many may have connected without having said who they are.
const GUESTS: usize = 32;
/// How long a fork waits for the thread.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether a session that ends is over.
const MOMENT: Duration = Duration::from_millis(5);

static LISTENER: Mutex<Option<Arc<Listener>>> = Mutex::new(None);

/// Where the children of this process report.
struct Hub {
    listener: UnixListener,
    folder: PathBuf,
    token: String,
}

/// A child that waits for its client.
struct Child {
    pid: u32,
    stream: Stream,
    early: Decoder,
}

#[derive(Default)]
struct State {
    clients: Vec<Guest>,
    newborn: Vec<Guest>,
    children: Vec<Child>,
    relays: Vec<Relay>,
}

/// Where connections are waited for.
pub(super) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    hub: Option<Hub>,
    follow: Py<PyAny>,
    state: Mutex<State>,
    /// Written to have the thread look around, and its other end.
    bell: (UnixStream, UnixStream),
    parting: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Hub {
    fn open() -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dapper-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?
            .keep();
        let path = folder.join("children");
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let mut random = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let mut token = String::new();
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        Ok(Self {
            listener,
            folder,
            token,
        })
    }

    fn address(&self) -> String {
        format!("unix:{}", self.folder.join("children").display())
    }
}

/// Waits for clients from now on; with `children` also for those of the program.
pub(super) fn begin(
    host: &str,
    port: u16,
    children: bool,
    follow: Py<PyAny>,
) -> io::Result<Arc<Listener>> {
    let mut current = lock(&LISTENER);
    if let Some(listener) = &*current {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("this process listens at {} already", listener.address),
        ));
    }
    let tcp = TcpListener::bind((host, port))?;
    let listener = Arc::new(Listener {
        address: tcp.local_addr()?,
        tcp,
        hub: if children { Some(Hub::open()?) } else { None },
        follow,
        state: Mutex::default(),
        bell: UnixStream::pair()?,
        parting: AtomicBool::new(false),
        thread: Mutex::default(),
    });
    listener.run_on()?;
    *current = Some(Arc::clone(&listener));
    Ok(listener)
}

fn current() -> Option<Arc<Listener>> {
    lock(&LISTENER).clone()
}

/// Whether clients are waited for.
pub(super) fn is_there() -> bool {
    lock(&LISTENER).is_some()
}

/// Has the thread look around: a session has begun, or is over.
pub(super) fn wake() {
    if let Some(listener) = current() {
        listener.ring();
    }
}

/// Has the thread end before the program forks.
pub(super) fn part(py: Python<'_>) {
    if let Some(listener) = current() {
        py.detach(|| listener.part());
    }
}

/// Waits for clients again after a fork.
pub(super) fn rejoin() {
    if let Some(listener) = current()
        && let Err(error) = listener.run_on()
    {
        crate::hit::tell(&format!("no client is waited for any more: {error}"));
    }
}

/// Leaves all connections to the parent of a fork.
pub(super) fn forget() {
    let Some(listener) = lock(&LISTENER).take() else {
        return;
    };
    descriptor::detach(listener.tcp.as_fd());
    if let Some(hub) = &listener.hub {
        descriptor::detach(hub.listener.as_fd());
    }
    if let Ok(mut state) = listener.state.try_lock() {
        *state = State::default();
    }
    // Its locks may be held by a thread that this process does not have.
    std::mem::forget(listener);
}

/// Leaves nothing behind when the process ends.
pub(super) fn conclude() {
    if let Some(hub) = current()
        .as_ref()
        .and_then(|listener| listener.hub.as_ref())
    {
        // Somebody else may have tidied up the temporary directory.
        let _ = fs::remove_dir_all(&hub.folder);
    }
}

impl Listener {
    /// The address at which clients find this process.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What children of the program are told.
    pub(super) fn offer(&self) -> Option<Debug> {
        let hub = self.hub.as_ref()?;
        Some(Debug::of_children(&hub.address(), Some(&hub.token)))
    }

    fn ring(&self) {
        // A full buffer says the same.
        let _ = (&self.bell.0).write_all(&[0]);
    }

    fn run_on(self: &Arc<Self>) -> io::Result<()> {
        self.parting.store(false, Ordering::Release);
        let listener = Arc::clone(self);
        let run = move || {
            let mut bytes = vec![0; 1 << 16];
            while !listener.parting.load(Ordering::Acquire) {
                if let Err(error) = listener.turn(&mut bytes) {
                    crate::hit::tell(&format!("no client is waited for any more: {error}"));
                    return;
                }
            }
        };
        *lock(&self.thread) = Some(Thread::start("dapper-listen", run)?);
        Ok(())
    }

    fn part(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            self.parting.store(true, Ordering::Release);
            self.ring();
            drop(thread.join(PATIENCE));
        }
    }

    /// Waits until something happens, and does what it asks for.
    fn turn(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let mut ready = self.wait(&state)?.into_iter();
        let mut next = || ready.next().unwrap_or(false);
        let (rung, called, born) = (next(), next(), self.hub.is_some() && next());
        let State {
            clients,
            newborn,
            children,
            relays,
        } = &mut *state;
        for guests in [&mut *clients, newborn] {
            guests.retain_mut(|guest| {
                let there = !next() || guest.read(bytes);
                there && !guest.patience().is_zero()
            });
        }
        children.retain_mut(|child| !next() || child.read(bytes));
        relays.retain_mut(|relay| {
            let said = next();
            let answered = next();
            let alive =
                (!said || relay.pass_to_child(bytes)) && (!answered || relay.pass_to_client(bytes));
            if !alive {
                relay.close();
            }
            alive
        });
        if rung {
            (&self.bell.1).read(bytes).map(drop)?;
        }
        // One that is gone before it is taken is none.
        if called && let Ok(stream) = Stream::accept(&self.tcp) {
            clients.push(Guest::new(stream));
        }
        if born
            && let Some(hub) = &self.hub
            && let Ok((stream, _)) = hub.listener.accept()
        {
            newborn.push(Guest::new(Stream::Unix(stream)));
        }
        for guests in [clients, newborn] {
            let beyond = guests.len().saturating_sub(GUESTS);
            guests.drain(..beyond);
        }
        self.attend(&mut state);
        Ok(())
    }

    /// Waits; says of each connection whether there is something to read, in the order of `turn`.
    fn wait(&self, state: &State) -> io::Result<Vec<bool>> {
        let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut all = vec![watch(self.bell.1.as_fd()), watch(self.tcp.as_fd())];
        all.extend(self.hub.iter().map(|hub| watch(hub.listener.as_fd())));
        let guests = || state.clients.iter().chain(&state.newborn);
        all.extend(guests().map(|guest| watch(guest.stream.as_fd())));
        all.extend(
            state
                .children
                .iter()
                .map(|child| watch(child.stream.as_fd())),
        );
        for relay in &state.relays {
            all.extend([watch(relay.client.as_fd()), watch(relay.child.as_fd())]);
        }
        let mut patience = guests().map(Guest::patience).min();
        if session::latest().is_some_and(|session| session.is_over()) {
            patience = Some(MOMENT);
        }
        let patience = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            // A little later is soon enough, and never a moment too early.
            tv_nsec: i64::from(patience.subsec_nanos().max(1_000_000)),
        });
        match poll(&mut all, patience.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        Ok(all.iter().map(|one| !one.revents().is_empty()).collect())
    }

    /// Gives those who have said who they are what they want.
    fn attend(&self, state: &mut State) {
        let latest = session::latest();
        if latest.as_ref().is_some_and(|session| session.is_over()) {
            // It is known in a moment whether there is a session.
            return;
        }
        self.take_in(state, latest.as_deref());
        let mut occupied = latest.is_some();
        let mut index = 0;
        while index < state.clients.len() {
            let waiting: Vec<u32> = state.children.iter().map(|child| child.pid).collect();
            match state.clients[index].turn_of_client(occupied, &waiting) {
                Turn::Stay => index += 1,
                Turn::Client(Some(pid), message) => {
                    let guest = state.clients.remove(index);
                    let child = state.children.iter().position(|child| child.pid == pid);
                    let child = child.map(|child| state.children.remove(child));
                    state
                        .relays
                        .extend(child.and_then(|child| child.meet(guest, &message)));
                }
                Turn::Client(None, message) => {
                    occupied = true;
                    self.begin_session(state.clients.remove(index), message);
                }
                Turn::Gone | Turn::Child(_) => drop(state.clients.remove(index)),
            }
        }
    }

    fn begin_session(&self, guest: Guest, message: Vec<u8>) {
        let Some(follow) = try_attach(|py| self.follow.clone_ref(py)) else {
            return;
        };
        let (stream, sent, greeted) = guest.into_session(message);
        let begun =
            Wire::new(stream, sent).and_then(|wire| Session::begin(wire, follow, Some(greeted)));
        if let Err(error) = begun {
            crate::hit::tell(&format!("a client is dropped: {error}"));
        }
    }

    /// Has the client told of children that have reported; without one they go on.
    fn take_in(&self, state: &mut State, session: Option<&Session>) {
        let Some(hub) = &self.hub else { return };
        if session.is_none() {
            // To be left alone is what they wait for.
            state.children.clear();
        }
        let mut index = 0;
        while index < state.newborn.len() {
            match state.newborn[index].turn_of_child(&hub.token) {
                Turn::Child(hello) => {
                    let (stream, _, early) = state.newborn.remove(index).into_parts();
                    let session = session
                        .filter(|session| session.has_started() && session.settings().sub_process);
                    if let Some(session) = session {
                        tell(session, hello.pid, self.address);
                        state.children.push(Child {
                            pid: hello.pid,
                            stream,
                            early,
                        });
                    }
                }
                Turn::Stay => index += 1,
                Turn::Gone | Turn::Client(..) => drop(state.newborn.remove(index)),
            }
        }
    }
}

/// Tells the client of a child that waits for one.
fn tell(session: &Session, pid: u32, listens: SocketAddr) {
    let reached = session.local_address().unwrap_or(listens);
    let host = reached.ip().to_string();
    let started = lock(&session.started).clone();
    let configuration = children::configuration(&started, pid, &host, listens.port());
    let call = children::call(&session.client(), configuration);
    match call {
        Call::Request(command, arguments) => session.request(command, &arguments),
        Call::Event(name, body) => session.event(name, body),
    }
}

impl Child {
    /// Takes what it sends; false when it is gone.
    fn read(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read(bytes) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.early.push(&bytes[..read]);
                true
            }
        }
    }

    /// Gets its client.
    fn meet(self, guest: Guest, message: &[u8]) -> Option<Relay> {
        let (client, initialize, rest) = guest.into_parts();
        let said = [initialize.as_slice(), message];
        Relay::begin(client, self.stream, &said, &rest.rest(), self.early).ok()
    }
}
