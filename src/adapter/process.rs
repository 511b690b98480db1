//! A process that this one started, and those that it started in turn.
//!
//! Without a terminal it begins a process group of its own, so that all of it can be ended; what has
//! left the group is found by its parents. When this process dies, however it dies, the system ends
//! it. One that a starter began in a terminal is known by its number alone; a program may also be this
//! very process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group};

use super::in_process::Own;
use crate::ffi::spawn;

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// One that was started; shared by those who watch it.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// Whether the group of its number is its own.
    is_group: bool,
    /// The program that this process is, if it is that.
    own: Option<Arc<Own>>,
    ended: (Mutex<bool>, Condvar),
}

/// What its starter keeps to itself.
pub(super) struct Started {
    child: Child,
    /// The pipes of what it prints, where they were asked for.
    pub(super) pipes: Vec<(&'static str, OwnedFd)>,
}

impl Process {
    /// Starts it, with pipes in a group of its own or in the terminal of this process. The thread
    /// that does so has to live until the process has ended.
    pub(super) fn start(mut command: Command, captured: bool) -> io::Result<(Self, Started)> {
        if captured {
            command.stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.process_group(0);
        }
        spawn::prepare(&mut command);
        let mut child = command.spawn()?;
        let mut pipes = Vec::new();
        pipes.extend(child.stdout.take().map(|pipe| ("stdout", pipe.into())));
        pipes.extend(child.stderr.take().map(|pipe| ("stderr", pipe.into())));
        let process = Self {
            pid: Pid::from_child(&child),
            is_group: captured,
            own: None,
            ended: (Mutex::new(false), Condvar::new()),
        };
        Ok((process, Started { child, pipes }))
    }

    /// One that another process started, and tells of.
    pub(super) fn known(number: i32) -> Option<Self> {
        Some(Self {
            pid: Pid::from_raw(number)?,
            is_group: false,
            own: None,
            ended: (Mutex::new(false), Condvar::new()),
        })
    }

    /// This one.
    pub(super) fn own(own: Arc<Own>) -> Self {
        Self {
            pid: getpid(),
            is_group: false,
            own: Some(own),
            ended: (Mutex::new(false), Condvar::new()),
        }
    }

    /// Whether it is this one.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until it has ended; with what status it did.
    pub(super) fn wait(&self, started: &mut Started) -> i32 {
        let status = started.child.wait();
        self.has_ended();
        status.map_or(-1, exit_code)
    }

    /// Notes that it has ended.
    pub(super) fn has_ended(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }

    /// Whether it ends within some time.
    pub(super) fn ends_within(&self, patience: Duration) -> bool {
        let (ended, changed) = &self.ended;
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(ended, patience, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Interrupts it, as a key on the keyboard does.
    pub(super) fn interrupt(&self) {
        if !self.ends_within(Duration::ZERO) {
            // It may end at this moment.
            let _ = kill_process(self.pid, Signal::INT);
        }
    }

    /// Ends it and all that it started, asking first.
    pub(super) fn end(&self) {
        if self.ends_within(Duration::ZERO) {
            return;
        }
        let below = descendants(self.number());
        self.signal_all(&below, Signal::TERM);
        // One that is suspended would not hear.
        self.signal_all(&below, Signal::CONT);
        let until = Instant::now() + PATIENCE;
        if !self.ends_within(PATIENCE) {
            self.kill();
        }
        // What was left of the group gets the same time, and not more.
        while self.is_group && group_lives(self.pid) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.signal_all(&below, Signal::KILL);
        self.ends_within(PATIENCE);
    }

    /// Asks it and all that it started to end.
    pub(super) fn terminate(&self) {
        self.signal_all(&descendants(self.number()), Signal::TERM);
    }

    /// Ends it and all that it started at once.
    pub(super) fn kill(&self) {
        self.signal_all(&descendants(self.number()), Signal::KILL);
    }

    fn signal_all(&self, below: &[(Pid, u64)], signal: Signal) {
        // Those that are gone already are what is wanted.
        let _ = if self.is_group {
            kill_process_group(self.pid, signal)
        } else if self.ends_within(Duration::ZERO) {
            Ok(())
        } else if let Some(own) = &self.own {
            own.signal(signal);
            Ok(())
        } else {
            kill_process(self.pid, signal)
        };
        for (pid, born) in below {
            // The number may have been given to another process by now.
            if birth(pid.as_raw_nonzero().get()) == Some(*born) {
                let _ = kill_process(*pid, signal);
            }
        }
    }
}

fn group_lives(group: Pid) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

/// The status as a shell would tell it.
fn exit_code(status: ExitStatus) -> i32 {
    let by_signal = || status.signal().map_or(-1, |signal| 128 + signal);
    status.code().unwrap_or_else(by_signal)
}

/// The processes below one, with the moments of their birth, where the system tells.
fn descendants(root: u32) -> Vec<(Pid, u64)> {
    let Ok(listed) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let all: Vec<(i32, u32, u64)> = listed
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let (parent, born) = stat(pid)?;
            Some((pid, parent, born))
        })
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    let mut below = Vec::new();
    while at < found.len() {
        for (pid, parent, born) in &all {
            if *parent == found[at] {
                found.push(pid.unsigned_abs());
                below.extend(Pid::from_raw(*pid).map(|pid| (pid, *born)));
            }
        }
        at += 1;
    }
    below
}

fn birth(pid: i32) -> Option<u64> {
    stat(pid).map(|(_, born)| born)
}

/// The parent of a process, and when it was born.
fn stat(pid: i32) -> Option<(u32, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything, and stands in parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let born = fields.nth(17)?.parse().ok()?;
    Some((parent, born))
}
