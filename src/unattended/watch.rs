//! A native thread that tells when a file has changed.
//!
//! The folder is watched, not the file: editors and deployments replace files. Changes come in
//! bursts, and are told once the burst is over. The thread waits in the system and costs nothing
//! meanwhile; before a fork it can be ended, so that the program forks the threads that it made.
//! That is why it is our own and asks Linux itself (`inotify`): another system needs its [`Changes`].

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::ffi::threads::Thread;

/// How long nothing has to change before a change is told: 50 ms.
const QUIET: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// How long the thread is waited for to end.
const PARTING: Duration = Duration::from_millis(500);

/// Called in the watching thread when the file may have changed.
pub(super) type Changed = Arc<dyn Fn() + Send + Sync>;

/// A watched file.
pub(super) struct Watch {
    path: PathBuf,
    changed: Changed,
    running: Option<(Thread, Arc<OwnedFd>)>,
}

impl Watch {
    /// A watch on `path` that does not run yet.
    pub(super) fn new(path: PathBuf, changed: Changed) -> Self {
        Self {
            path,
            changed,
            running: None,
        }
    }

    /// The same watch in a child of `fork`, which does not have the thread.
    pub(super) fn in_child(&mut self) {
        std::mem::forget(self.running.take());
    }

    /// Begins to watch.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let mut changes = Changes::of(&self.path)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let (stopped, tell) = (Arc::clone(&stop), Arc::clone(&self.changed));
        let thread = Thread::start("dapper-watch", move || {
            // What has changed while nothing watched, as around a fork.
            tell();
            // An error means that nothing more will be told: the program goes on with what it has.
            while changes.wait(&stopped).unwrap_or(false) {
                tell();
            }
        })?;
        self.running = Some((thread, stop));
        Ok(())
    }

    /// What has to be ended, if the watch runs.
    pub(super) fn take(&mut self) -> Option<Parting> {
        self.running
            .take()
            .map(|(thread, stop)| Parting { thread, stop })
    }
}

/// A watch that is to end.
pub(super) struct Parting {
    thread: Thread,
    stop: Arc<OwnedFd>,
}

impl Parting {
    /// Ends it; called without the interpreter, which the thread may be waiting for.
    pub(super) fn end(self) {
        // A counter that is full has been written to.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let _ = self.thread.join(PARTING);
    }
}

/// Waits until there is something to read; false when it was time before.
fn wait_for(one: &OwnedFd, other: &OwnedFd, time: Option<&Timespec>) -> io::Result<(bool, bool)> {
    let mut both = [
        PollFd::new(one, PollFlags::IN),
        PollFd::new(other, PollFlags::IN),
    ];
    match poll(&mut both, time) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |at: usize| both[at].revents().contains(PollFlags::IN);
    Ok((ready(0), ready(1)))
}

/// Changes of one file, as the system tells them.
struct Changes {
    events: OwnedFd,
    name: OsString,
}

impl Changes {
    fn of(path: &Path) -> io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let events = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let kinds = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE;
        add_watch(&events, folder, kinds)?;
        Ok(Self {
            events,
            name: name.to_owned(),
        })
    }

    /// Waits for a change of the file and the quiet after it; false when it is to end.
    fn wait(&mut self, stop: &OwnedFd) -> io::Result<bool> {
        let mut concerned = false;
        loop {
            let time = concerned.then_some(&QUIET);
            let (stopped, changed) = wait_for(stop, &self.events, time)?;
            if stopped {
                return Ok(false);
            }
            if changed {
                concerned |= self.read()?;
            } else if concerned {
                return Ok(true);
            }
        }
    }

    /// Reads what is told; whether it is about the file.
    fn read(&mut self) -> io::Result<bool> {
        use std::os::unix::ffi::OsStrExt;

        use rustix::fs::inotify::Reader;
        let mut room = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self.events.as_fd(), &mut room);
        let mut concerned = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(std::ffi::CStr::to_bytes);
                    concerned |= name == Some(self.name.as_bytes());
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(concerned),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
