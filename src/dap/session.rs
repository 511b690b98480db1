//! The debug session of this process: its connection, its client, and the threads that stopped.
//!
//! Owns the one session there is and the native thread that reads what its client sends. The
//! program cannot see that thread: it is no thread of `threading`, takes no signal, and is gone
//! while the program forks. When the client goes, however it goes, everything that was asked for
//! goes with it and the program runs on.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use serde_json::Value;

use super::activation;
use super::client::{Client, Settings};
use super::dispatch;
use super::frame_eval;
use super::framing::Decoder;
use super::listener;
use super::parked::{Go, Parked};
use super::progress::Progress;
use super::protocol::{Answer, Request, event, request, response};
use super::redirect;
use super::stops::{self, Points};
use super::stuck;
use super::view::{self, Sources};
use super::wire::{Arrival, Wire};
use crate::ffi::attach::try_attach;
use crate::ffi::threads::Thread;
use crate::pause;

/// How long a fork waits for the thread that reads.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a thread that waits for a client looks for signals.
pub(super) const MOMENT: Duration = Duration::from_millis(50);

static CURRENT: Mutex<Option<Arc<Session>>> = Mutex::new(None);
/// How often waiting for a client was given up.
static CANCELLED: AtomicU64 = AtomicU64::new(0);

/// The session, while there is a client.
pub(crate) fn current() -> Option<Arc<Session>> {
    latest().filter(|session| !session.is_over())
}

/// The session, until nothing is left of it.
pub(super) fn latest() -> Option<Arc<Session>> {
    lock(&CURRENT).clone()
}

/// Has those go on that wait for a client.
pub(super) fn stop_waiting() {
    CANCELLED.fetch_add(1, Ordering::Relaxed);
}

/// Waits until there is a client which has said all that it wants before the program goes on.
pub(super) fn wait_for_client(py: Python<'_>) -> PyResult<()> {
    let cancelled = CANCELLED.load(Ordering::Relaxed);
    while CANCELLED.load(Ordering::Relaxed) == cancelled {
        let ready = py.detach(|| {
            if let Some(session) = current() {
                return session.is_configured();
            }
            std::thread::sleep(MOMENT / 10);
            false
        });
        if ready {
            return Ok(());
        }
        py.check_signals()?;
    }
    Ok(())
}

/// What a client has said to those who took its connection.
pub(super) struct Greeted {
    /// About itself.
    pub(super) client: Client,
    /// The message that begins the session.
    pub(super) first: Vec<u8>,
    /// What arrived behind it.
    pub(super) decoder: Decoder,
}

/// A connection with a client.
pub(crate) struct Session {
    wire: Wire,
    decoder: Mutex<Decoder>,
    reader: Mutex<Option<Thread>>,
    client: Mutex<Client>,
    settings: Mutex<Arc<Settings>>,
    /// The arguments of `launch` or `attach`, as they came.
    pub(super) started: Mutex<Value>,
    /// Whether the client has asked for anything.
    attended: AtomicBool,
    /// How often it has asked for the program's end.
    pub(super) terminations: AtomicU64,
    parked: Mutex<HashMap<u64, Arc<Parked>>>,
    /// Which thread the numbers belong to that the client was given for a stop.
    ids: Mutex<HashMap<i64, u64>>,
    last_id: AtomicI64,
    /// The client's numbers of threads.
    threads: Mutex<HashMap<u64, i64>>,
    configured: (Mutex<bool>, Condvar),
    over: AtomicBool,
    /// Breakpoints of the client.
    pub(super) points: Mutex<Points>,
    /// Sources that are in no file.
    pub(super) sources: Mutex<Sources>,
    /// What takes long.
    pub(super) progress: Progress,
    /// Hooks what is to be hooked for the breakpoints that there are; Python's part of it.
    follow: Py<PyAny>,
}

/// Locks something of the session; nothing of the program runs while it is locked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Begins a session over a connection, on which the client may have begun already; another
    /// session that is under way is refused.
    pub(super) fn begin(
        wire: Wire,
        follow: Py<PyAny>,
        greeted: Option<Greeted>,
    ) -> io::Result<Arc<Self>> {
        let mut first = None;
        let (client, decoder) = match greeted {
            Some(greeted) => {
                first = Some(greeted.first);
                (greeted.client, greeted.decoder)
            }
            None => Default::default(),
        };
        let session = Arc::new(Self {
            wire,
            decoder: Mutex::new(decoder),
            reader: Mutex::default(),
            client: Mutex::new(client),
            settings: Mutex::default(),
            started: Mutex::default(),
            attended: AtomicBool::new(false),
            terminations: AtomicU64::new(0),
            parked: Mutex::default(),
            ids: Mutex::default(),
            last_id: AtomicI64::new(0),
            threads: Mutex::default(),
            configured: (Mutex::new(false), Condvar::new()),
            over: AtomicBool::new(false),
            points: Mutex::default(),
            sources: Mutex::default(),
            progress: Progress::default(),
            follow,
        });
        let mut current = lock(&CURRENT);
        if current.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a client debugs this process already",
            ));
        }
        *current = Some(Arc::clone(&session));
        drop(current);
        stops::forget();
        try_attach(|py| stops::note_own(session.follow.bind(py)));
        let reading = session.read_on(first);
        if reading.is_err() {
            lock(&CURRENT).take();
        }
        reading.map(|()| session)
    }

    /// Starts the thread that reads.
    pub(super) fn read_on(self: &Arc<Self>, first: Option<Vec<u8>>) -> io::Result<()> {
        let session = Arc::clone(self);
        let reader = Thread::start("dapper-server", move || {
            if let Some(first) = first {
                dispatch::message(&session, &first);
            }
            session.read();
        })?;
        *lock(&self.reader) = Some(reader);
        // Not while the client is still configuring.
        if *lock(&self.configured.0) {
            stops::census::begin(self);
        }
        Ok(())
    }

    fn read(self: Arc<Self>) {
        let mut bytes = vec![0; 1 << 16];
        loop {
            loop {
                let next = lock(&self.decoder).next_message();
                match next {
                    Ok(Some(message)) => dispatch::message(&self, &message),
                    Ok(None) => break,
                    Err(error) => {
                        crate::hit::tell(&format!("the client is dropped: {error}"));
                        return self.end();
                    }
                }
                if self.is_over() {
                    return;
                }
            }
            match self.wire.read(&mut bytes, self.progress.rest()) {
                Ok(Arrival::Nothing) => self.progress.tell(&self),
                Ok(Arrival::Bytes(read)) => lock(&self.decoder).push(&bytes[..read]),
                Ok(Arrival::Interrupted) => return,
                Ok(Arrival::End) | Err(_) => return self.end(),
            }
        }
    }

    /// Has the thread that reads end, as before a fork.
    pub(super) fn part(&self) {
        stops::census::end();
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            self.wire.interrupt();
            // One that waits for the GIL, which the caller has given up, is gone by then.
            drop(reader.join(PATIENCE));
        }
    }

    /// Takes everything out that was asked for, and lets the program run on.
    pub(super) fn end(&self) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        if !listener::is_there() {
            activation::withdraw();
        }
        self.configure();
        stops::census::end();
        self.resume_all(Go::Continue);
        pause::nobody();
        let taken_out = try_attach(|py| {
            for ident in self.stopped() {
                view::interrupt(py, ident);
            }
            self.take_out(py);
            pause::refresh(py)
        });
        if let Some(Err(error)) = taken_out {
            crate::hit::tell(&format!("the end of the session left something: {error}"));
        }
        lock(&CURRENT).take();
        self.wire.close();
        listener::wake();
    }

    fn take_out(&self, py: Python<'_>) {
        redirect::end(py);
        let cleared = self.clear(py);
        let followed = self.follow(py);
        if let Err(error) = cleared.and(followed).and(frame_eval::end(py, self)) {
            crate::hit::tell(&format!("the end of the session left something: {error}"));
        }
    }

    /// Hooks what is to be hooked now.
    pub(super) fn follow(&self, py: Python<'_>) -> PyResult<()> {
        self.follow.call0(py).map(drop)
    }

    /// Closes the connection; the thread that reads ends the session.
    pub(super) fn close(&self) {
        self.wire.close();
    }

    /// Whether the client is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Sends an event.
    pub(crate) fn event(&self, name: &str, body: Value) {
        self.wire.send(event(name, body));
    }

    /// Sends events of one name; false when that failed.
    pub(crate) fn events(&self, name: &str, bodies: Vec<Value>) -> bool {
        let events = bodies.into_iter().map(|body| event(name, body));
        self.wire.send_all(events.collect())
    }

    /// Answers a request.
    pub(crate) fn respond(&self, request: &Request, answer: Answer) {
        self.wire.send(response(request, answer));
        self.progress.finish(self, request.seq);
    }

    /// Whether something could not be sent to the client.
    pub(crate) fn is_broken(&self) -> bool {
        self.wire.is_broken()
    }

    /// Asks the client for something, and does not wait for the answer.
    pub(super) fn request(&self, command: &str, arguments: &Value) {
        self.wire.send(request(command, arguments));
    }

    /// Whether the client has asked for anything yet.
    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// Notes that the client has asked for something.
    pub(super) fn attend(&self) {
        self.attended.store(true, Ordering::Relaxed);
    }

    /// The address at which the client reached this process.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.wire.local_address()
    }

    /// Whether the session has begun: the client has said what it wants of it.
    pub(super) fn has_started(&self) -> bool {
        !lock(&self.started).is_null()
    }

    /// What the client said about itself.
    pub(super) fn client(&self) -> MutexGuard<'_, Client> {
        lock(&self.client)
    }

    /// What was asked for with `launch` or `attach`.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        *lock(&self.settings) = Arc::new(settings);
        lock(&self.points).verdicts.clear();
    }

    /// Whether a thread that stops has the others stop, too.
    pub(crate) fn stops_all(&self) -> bool {
        self.settings().stop_all_threads
    }

    /// The client has said all that it wants before the program goes on.
    pub(super) fn configure(&self) {
        let (configured, ready) = &self.configured;
        *lock(configured) = true;
        ready.notify_all();
    }

    /// Waits a moment for the client to say all; whether it has, or is gone.
    pub(super) fn is_configured(&self) -> bool {
        let (configured, ready) = &self.configured;
        let waited = ready.wait_timeout_while(lock(configured), MOMENT, |done| !*done);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The client's number of a thread; the first one asked for is 1.
    pub(crate) fn thread_id(&self, ident: u64) -> i64 {
        let mut threads = lock(&self.threads);
        let next = i64::try_from(threads.len()).unwrap_or(i64::MAX - 1) + 1;
        *threads.entry(ident).or_insert(next)
    }

    /// The thread that the client knows by a number.
    pub(super) fn thread_of(&self, id: i64) -> Option<u64> {
        let threads = lock(&self.threads);
        let found = threads.iter().find(|(_, known)| **known == id);
        found.map(|(ident, _)| *ident)
    }

    /// A new number for something that the thread shows at its stop.
    pub(super) fn new_id(&self, ident: u64) -> i64 {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.ids).insert(id, ident);
        id
    }

    /// Forgets numbers of a stop that is over.
    pub(super) fn forget_ids(&self, given: &[i64]) {
        let mut ids = lock(&self.ids);
        for id in given {
            ids.remove(id);
        }
    }

    /// The thread whose stop a number belongs to.
    pub(super) fn owner_of(&self, id: i64) -> Option<u64> {
        lock(&self.ids).get(&id).copied()
    }

    /// Notes that a thread has stopped; false when it is not to stop any more, as `is_meant` says
    /// while nobody can have the stopped threads go on, or when the session is over.
    pub(super) fn enter(
        &self,
        ident: u64,
        parked: &Arc<Parked>,
        is_meant: impl FnOnce() -> bool,
    ) -> bool {
        let mut all = lock(&self.parked);
        if !is_meant() {
            return false;
        }
        all.insert(ident, Arc::clone(parked));
        drop(all);
        !self.is_over()
    }

    /// Notes that a thread goes on.
    pub(super) fn leave(&self, ident: u64) {
        lock(&self.parked).remove(&ident);
        self.progress.forget(self, ident);
    }

    /// The stopped thread with that number.
    pub(super) fn parked(&self, ident: u64) -> Option<Arc<Parked>> {
        lock(&self.parked).get(&ident).cloned()
    }

    /// The stopped thread with that number; one that is to stop with the others is waited for, as
    /// long as it takes to reach a line.
    pub(super) fn await_parked(&self, ident: u64) -> Option<Arc<Parked>> {
        let until = Instant::now() + MOMENT;
        loop {
            let found = self.parked(ident);
            if found.is_some() || !pause::is_active() || Instant::now() >= until {
                return found;
            }
            std::thread::sleep(MOMENT / 100);
        }
    }

    /// The numbers of the threads that have stopped.
    pub(crate) fn stopped(&self) -> HashSet<u64> {
        lock(&self.parked).keys().copied().collect()
    }

    /// Has every stopped thread go on.
    pub(super) fn resume_all(&self, go: Go) {
        let parked: Vec<Arc<Parked>> = lock(&self.parked).values().cloned().collect();
        for thread in parked {
            thread.give(Box::new(move |_| Some(go)));
        }
    }
}

impl Session {
    /// Has every stopped thread go on but this one.
    pub(super) fn resume_others(&self, ident: u64) {
        let parked = lock(&self.parked);
        let others = parked.iter().filter(|(other, _)| **other != ident);
        for (_, thread) in others {
            thread.give(Box::new(|_| Some(Go::Continue)));
        }
    }
}

/// Has the thread that reads end before the program forks.
pub(super) fn part(py: Python<'_>) {
    if let Some(session) = latest() {
        py.detach(|| session.part());
    }
}

/// Goes on reading after a fork.
pub(super) fn rejoin() {
    if let Some(session) = current()
        && let Err(error) = session.read_on(None)
    {
        crate::hit::tell(&format!("the session ends: {error}"));
        session.end();
    }
}

/// Begins without a session in a child of a fork: the connection is the parent's.
pub(super) fn forget() {
    // Its locks may be held by a thread that this process does not have.
    if let Some(session) = lock(&CURRENT).take() {
        session.wire.abandon();
        std::mem::forget(session);
    }
    stuck::forget();
    stops::forget();
    frame_eval::forget();
    pause::nobody();
}
