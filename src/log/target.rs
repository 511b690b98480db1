//! Where records go: a stream of the process, a file, or whoever asked for them.
//!
//! Only the writer's thread writes, and it never waits in a call for a reader that may have
//! stopped: a stream is asked whether it takes something, then gets no more than the system
//! promises to take at once, whole records where they fit. Its own description is used, without
//! the standard library's locks, which a child of `fork` would find locked for ever. A file gets
//! whole batches, appended, so that processes may share it.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

/// What a pipe that is ready takes without waiting, and what it keeps in one piece.
const AT_ONCE: usize = 4096;
/// How long a reader is waited for before the writer looks up: 50 ms.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// A file of ours is opened beside the program's, not among them.
const FIRST_DESCRIPTOR: i32 = 64;

/// Takes batches in the place of a stream or a file.
pub(crate) trait Output: Send + Sync {
    /// Takes some records, each a line of JSON.
    fn deliver(&self, records: &[&str]) -> Result<(), String>;

    /// Whether a forked child goes on delivering; else its records go to its standard error.
    fn is_inherited(&self) -> bool {
        true
    }

    /// Whether senders wait while too much waits already, so that nothing is dropped.
    fn is_waited_for(&self) -> bool {
        false
    }
}

/// Where records go.
#[derive(Clone)]
pub(crate) enum Target {
    /// The process's standard error, whatever it is at the time.
    Stderr,
    /// The process's standard output, whatever it is at the time.
    Stdout,
    /// A file that gets messages.
    Text(Arc<Appended>),
    /// A file that gets lines of JSON.
    Json(Arc<Appended>),
    /// The debugger's own output.
    Output(Arc<dyn Output>),
}

/// A file that is appended to.
///
/// Programs that become daemons close descriptors that are not theirs, and the number may then
/// be that of a file of their own: the file behind it is looked at before each batch.
pub(crate) struct Appended {
    path: PathBuf,
    file: Mutex<Option<Opened>>,
}

struct Opened {
    file: OwnedFd,
    /// Device and number of the file.
    identity: (u64, u64),
}

/// How the writing of a batch ended.
pub(super) enum Outcome {
    /// All of it is written.
    Done,
    /// The writer was told to hurry; this many bytes are written.
    Left(usize),
    /// It failed after this many bytes.
    Failed(usize, String),
}

impl Target {
    /// Reads `stderr`, `stdout`, `jsonl:PATH` or PATH, and opens the file.
    pub(crate) fn open(text: &str) -> io::Result<Self> {
        Ok(match text {
            "stderr" => Self::Stderr,
            "stdout" => Self::Stdout,
            _ => match text.strip_prefix("jsonl:") {
                Some(path) => Self::Json(Appended::open(Path::new(path))?),
                None => Self::Text(Appended::open(Path::new(text))?),
            },
        })
    }

    /// As messages name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stderr => "standard error".to_owned(),
            Self::Stdout => "standard output".to_owned(),
            Self::Text(file) | Self::Json(file) => file.path.display().to_string(),
            Self::Output(_) => "the debugger's output".to_owned(),
        }
    }

    /// Whether records are lines of JSON here.
    pub(super) fn is_structured(&self) -> bool {
        matches!(self, Self::Json(_) | Self::Output(_))
    }

    /// Whether senders wait while too much waits already.
    pub(super) fn is_waited_for(&self) -> bool {
        matches!(self, Self::Output(output) if output.is_waited_for())
    }

    /// Whether the program writes there too, so that it shows which came first.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Stderr | Self::Stdout)
    }

    /// Whether a person may be watching.
    pub(super) fn is_terminal(&self) -> bool {
        self.stream().is_some_and(|stream| stream.is_terminal())
    }

    fn stream(&self) -> Option<BorrowedFd<'static>> {
        match self {
            Self::Stderr => Some(rustix::stdio::stderr()),
            Self::Stdout => Some(rustix::stdio::stdout()),
            _ => None,
        }
    }

    /// Why records did not fit.
    pub(super) fn too_slow(&self) -> String {
        match self {
            Self::Stderr | Self::Stdout => format!("the reader of {} is too slow", self.name()),
            Self::Text(_) | Self::Json(_) => format!("writing {} is too slow", self.name()),
            Self::Output(_) => "the debugger takes its output too slowly".to_owned(),
        }
    }

    /// The same target in a child of `fork`, whose parent may be using the file right now.
    pub(super) fn in_child(&self) -> Self {
        match self {
            Self::Text(file) => Self::Text(Appended::unopened(&file.path)),
            Self::Json(file) => Self::Json(Appended::unopened(&file.path)),
            Self::Output(output) if !output.is_inherited() => Self::Stderr,
            other => other.clone(),
        }
    }

    /// Writes `bytes`, whose records end at `ends`; `hurries` is told how far it is, and tells
    /// whether what is not taken at once is to stay.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        ends: &[usize],
        hurries: &dyn Fn(usize) -> bool,
    ) -> Outcome {
        match self {
            Self::Stderr => write_stream(rustix::stdio::stderr(), bytes, ends, hurries),
            Self::Stdout => write_stream(rustix::stdio::stdout(), bytes, ends, hurries),
            Self::Text(file) | Self::Json(file) => file.append(bytes),
            Self::Output(output) => {
                let mut start = 0;
                let records: Vec<_> = ends
                    .iter()
                    .map(|end| {
                        String::from_utf8_lossy(&bytes[std::mem::replace(&mut start, *end)..*end])
                    })
                    .collect();
                let records: Vec<&str> = records.iter().map(|record| record.trim_end()).collect();
                match output.deliver(&records) {
                    Ok(()) => Outcome::Done,
                    Err(cause) => Outcome::Failed(0, cause),
                }
            }
        }
    }
}

impl Appended {
    fn open(path: &Path) -> io::Result<Arc<Self>> {
        if path.as_os_str().is_empty() {
            let cause = "the name of the file is missing";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, cause));
        }
        // The program may go to another folder.
        let appended = Self::unopened(&std::path::absolute(path)?);
        *appended.lock() = Some(Opened::at(&appended.path)?);
        Ok(appended)
    }

    fn unopened(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            file: Mutex::new(None),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Opened>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, bytes: &[u8]) -> Outcome {
        let mut file = self.lock();
        if let Some(lost) = file.take_if(|opened| !opened.is_itself()) {
            lost.leave();
        }
        let opened = match &mut *file {
            Some(opened) => opened,
            none => match Opened::at(&self.path) {
                Ok(opened) => none.insert(opened),
                Err(error) => return Outcome::Failed(0, error.to_string()),
            },
        };
        write_whole(opened.file.as_fd(), bytes)
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if let Some(lost) = self.lock().take_if(|opened| !opened.is_itself()) {
            lost.leave();
        }
    }
}

impl Opened {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let file = OwnedFd::from(file);
        // Fewer descriptors may be allowed than that.
        let file = rustix::io::fcntl_dupfd_cloexec(&file, FIRST_DESCRIPTOR).unwrap_or(file);
        let identity = identity_of(file.as_fd())?;
        Ok(Self { file, identity })
    }

    fn is_itself(&self) -> bool {
        identity_of(self.file.as_fd()).is_ok_and(|identity| identity == self.identity)
    }

    /// Forgets a description that was closed by the program, or is its own by now.
    fn leave(self) {
        let _ = self.file.into_raw_fd();
    }
}

fn identity_of(file: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let found = rustix::fs::fstat(file)?;
    Ok((found.st_dev, found.st_ino))
}

fn write_whole(to: BorrowedFd<'_>, bytes: &[u8]) -> Outcome {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(to, &bytes[written..]) {
            Ok(0) => return Outcome::Failed(written, "nothing was written".to_owned()),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(error) => return Outcome::Failed(written, io::Error::from(error).to_string()),
        }
    }
    Outcome::Done
}

fn write_stream(
    to: BorrowedFd<'_>,
    bytes: &[u8],
    ends: &[usize],
    hurries: &dyn Fn(usize) -> bool,
) -> Outcome {
    let is_file = rustix::fs::fstat(to)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile);
    if is_file {
        return write_whole(to, bytes);
    }
    let mut written = 0;
    while written < bytes.len() {
        let patience = if hurries(written) {
            &NOT_AT_ALL
        } else {
            &PATIENCE
        };
        match poll(
            &mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)],
            Some(patience),
        ) {
            Ok(0) if hurries(written) => return Outcome::Left(written),
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Outcome::Failed(written, io::Error::from(error).to_string()),
        }
        let next = &bytes[written..piece_end(written, ends, bytes.len())];
        match rustix::io::write(to, next) {
            Ok(more) => written += more,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Outcome::Failed(written, io::Error::from(error).to_string()),
        }
    }
    Outcome::Done
}

/// Where a piece that begins at `start` ends: behind the last record that fits, or in one.
fn piece_end(start: usize, ends: &[usize], total: usize) -> usize {
    let most = (start + AT_ONCE).min(total);
    let fitting = ends.partition_point(|end| *end <= most);
    match ends[..fitting].last() {
        Some(end) if *end > start => *end,
        _ => most,
    }
}

/// Writes a line to standard error from a thread of ours, without the standard library's lock.
pub(super) fn complain(message: &str) {
    let line = format!("dapper: {message}\n");
    let ends = [line.len()];
    // Nobody is left to tell when standard error is gone or nobody reads it.
    let _ = write_stream(rustix::stdio::stderr(), line.as_bytes(), &ends, &|_| true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_holds_whole_records_where_they_fit() {
        let ends = [10, 4000, 4090, 4100, 20_000];
        assert_eq!(piece_end(0, &ends, 20_000), 4090);
        assert_eq!(piece_end(4090, &ends, 20_000), 4100);
        assert_eq!(piece_end(4100, &ends, 20_000), 4100 + AT_ONCE);
        assert_eq!(piece_end(19_000, &ends, 20_000), 20_000);
    }

    #[test]
    fn a_descriptor_that_was_closed_and_reused_is_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let target = Appended::open(&path).expect("opens");
        let own = folder.path().join("own");
        {
            let mut file = target.lock();
            let opened = file.as_mut().expect("open");
            let other = std::fs::File::create(&own).expect("creates");
            // What a program does that closes everything and opens its own file.
            rustix::io::dup2(&other, &mut opened.file).expect("duplicates");
        }
        assert!(matches!(target.append(b"x\n"), Outcome::Done));
        assert_eq!(std::fs::read(&path).expect("reads"), b"x\n");
        assert_eq!(std::fs::read(&own).expect("reads"), b"");
    }
}
