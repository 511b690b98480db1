//! The way of records from the program's threads to one target.
//!
//! The program's thread renders a record into a buffer and goes on; a native thread, started by
//! the first record and invisible to Python, takes the buffer and writes it. The buffer has a
//! limit, which what the writer has in hand counts against: what does not fit is dropped, counted,
//! and told in the stream at the place where it is missing.
//! A stream that the program writes to as well gets the first records of each period, and a
//! terminal all of them, before the program goes on, so that lines come in the order in which
//! they happened; a reader that does not take them in time is not waited for again until it
//! has caught up.
//! Only threads that are attached to the interpreter send, and none gives up the interpreter
//! while it holds a lock that the writer does not need: a child of `fork` relies on it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::figures::{DROPPED, Dropped, FAILED, WRITTEN};
use super::record;
use super::target::{Outcome, Target, complain};
use crate::ffi::threads::Thread;

/// The writer takes this many bytes at a time, and is woken for them before its time.
const BATCH: usize = 256 << 10;
/// For how long records wait for company.
const COMPANY: Duration = Duration::from_millis(20);
/// In each period this many records of a shared stream are waited for.
const PROMPT_RECORDS: u32 = 10;
const PERIOD: Duration = Duration::from_millis(10);
/// How long a record of a shared stream is waited for.
const PROMPTNESS: Duration = Duration::from_millis(100);
/// After a reader did not take one in time, none is waited for so long.
const CALM: Duration = Duration::from_secs(2);
/// How long the end of the writer is waited for.
const PARTING: Duration = Duration::from_millis(200);

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a condition of its own that some thread waits for"
)]
struct State {
    waiting: VecDeque<Batch>,
    /// How many bytes wait or are in the writer's hand.
    bytes: usize,
    /// Records that were accepted, and those of them that were written or failed.
    accepted: u64,
    settled: u64,
    /// Lines about dropped records that wait or are in the writer's hand.
    notices: usize,
    /// Records that were dropped since the stream was told.
    untold: [u64; Dropped::ALL.len()],
    idle: bool,
    urgent: bool,
    /// When the reader did not take a record in time, unless it has caught up since.
    stalled: Option<Instant>,
    period: Instant,
    in_period: u32,
    writer: Option<Thread>,
    stops: bool,
    ended: bool,
    problem: Option<String>,
}

/// A target, and what waits for it.
pub(super) struct Sink {
    pub(super) target: Target,
    pub(super) limit: usize,
    state: Mutex<State>,
    /// There is something for the writer to do.
    work: Condvar,
    /// The writer has done something.
    progress: Condvar,
    /// What is not taken at once is to stay in the buffer.
    hurries: AtomicBool,
    terminal: AtomicBool,
    /// How far the writer is in what it has in hand.
    reached: AtomicUsize,
}

impl Sink {
    pub(super) fn new(target: Target, limit: usize) -> Arc<Self> {
        let terminal = AtomicBool::new(target.is_terminal());
        Arc::new(Self {
            target,
            limit,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                accepted: 0,
                settled: 0,
                notices: 0,
                untold: [0; Dropped::ALL.len()],
                idle: false,
                urgent: false,
                stalled: None,
                period: Instant::now(),
                in_period: 0,
                writer: None,
                stops: false,
                ended: false,
                problem: None,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            hurries: AtomicBool::new(false),
            terminal,
            reached: AtomicUsize::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the system said when a record could not be written, if one could not.
    pub(super) fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    #[cfg(test)]
    pub(super) fn has_writer(&self) -> bool {
        self.lock().writer.is_some()
    }

    /// Whether so many bytes wait.
    pub(super) fn holds(&self, bytes: usize) -> bool {
        self.lock().bytes >= bytes
    }

    /// Waits until fewer bytes wait, or nobody writes them any more.
    pub(super) fn await_room(&self, bytes: usize) {
        let mut state = self.lock();
        while state.bytes >= bytes && !state.ended && state.writer.is_some() {
            state.urgent = true;
            self.work.notify_one();
            state = wait(&self.progress, state, PROMPTNESS);
        }
    }

    /// Accepts one record, which `render` appends to the bytes given, or drops it.
    pub(super) fn send(self: &Arc<Self>, render: impl FnOnce(&mut Vec<u8>)) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.bytes >= self.limit {
            return self.drop_one(state, Dropped::Slow);
        }
        let before = state.bytes;
        self.tell_dropped(state);
        let batch = state.last_batch();
        let start = batch.bytes.len();
        render(&mut batch.bytes);
        let added = batch.bytes.len() - start;
        batch.end_record();
        let notices = before != state.bytes;
        if state.bytes + added > self.limit {
            state.take_back(start);
            let why = if added > self.limit {
                Dropped::TooLong
            } else {
                Dropped::Slow
            };
            return self.drop_one(state, why);
        }
        state.bytes += added;
        state.accepted += 1;
        let full = start < BATCH && start + added >= BATCH;
        if state.writer.is_none() || state.ended {
            guard = self.start(guard);
        } else if state.idle || full || notices {
            state.idle = false;
            self.work.notify_one();
        }
        if self.target.is_shared() && guard.may_wait() && self.is_prompt(&mut guard) {
            self.wait_for_last(guard);
        }
    }

    fn drop_one(&self, state: &mut State, why: Dropped) {
        state.untold[why as usize] += 1;
        DROPPED[why as usize].add(1);
        if state.idle {
            state.idle = false;
            self.work.notify_one();
        }
    }

    /// Puts what tells of the records that were dropped where they are missing.
    fn tell_dropped(&self, state: &mut State) {
        for why in Dropped::ALL {
            let count = std::mem::take(&mut state.untold[why as usize]);
            if count == 0 {
                continue;
            }
            let reason = why.reason(&self.target, self.limit);
            let batch = state.last_batch();
            let start = batch.bytes.len();
            record::dropped(
                &mut batch.bytes,
                count,
                &reason,
                self.target.is_structured(),
            );
            let added = batch.bytes.len() - start;
            batch.end_record();
            batch.notices += 1;
            state.notices += 1;
            state.bytes += added;
        }
    }

    /// Whether the program goes on only when this record is written.
    fn is_prompt(&self, state: &mut State) -> bool {
        if self.terminal.load(Ordering::Relaxed) {
            return true;
        }
        state.in_period += 1;
        if state.in_period > PROMPT_RECORDS {
            let now = Instant::now();
            if now.duration_since(state.period) >= PERIOD {
                state.period = now;
                state.in_period = 1;
            }
        }
        state.in_period <= PROMPT_RECORDS
    }

    fn wait_for_last(&self, mut state: MutexGuard<'_, State>) {
        let last = state.accepted;
        state.urgent = true;
        self.work.notify_one();
        let until = Instant::now() + PROMPTNESS;
        while state.settled < last {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.stalled = Some(Instant::now());
                return;
            }
            state = wait(&self.progress, state, left);
        }
    }

    /// Starts the writer; where no thread can be had, writes what can be written at once.
    fn start<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.stops = false;
        state.ended = false;
        self.hurries.store(false, Ordering::Relaxed);
        let sink = Arc::clone(self);
        if let Ok(writer) = Thread::start("dapper-log", move || sink.write()) {
            state.writer = Some(writer);
            return state;
        }
        state.stops = true;
        self.hurries.store(true, Ordering::Relaxed);
        drop(state);
        self.write();
        self.lock()
    }

    /// What the writer does: takes what waits, writes it, and waits for more.
    fn write(&self) {
        let mut torn = false;
        while let Some(batch) = self.take() {
            let hurries = |reached| {
                self.reached.store(reached, Ordering::Relaxed);
                self.hurries.load(Ordering::Relaxed)
            };
            if torn {
                // What comes is not to continue a line that broke off.
                torn = !matches!(self.target.write(b"\n", &[1], &|_| true), Outcome::Done);
            }
            let outcome = self.target.write(&batch.bytes, &batch.ends, &hurries);
            if self.target.is_shared() {
                let terminal = self.target.is_terminal();
                self.terminal.store(terminal, Ordering::Relaxed);
            }
            if let Outcome::Failed(at, _) = &outcome {
                torn = *at > 0 && batch.ends.binary_search(at).is_err();
            }
            self.settle(&batch, outcome);
        }
    }

    /// Waits for something to write; none when the writer is to end.
    fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let mut since = None;
        loop {
            if state.ended {
                return None;
            }
            let Some(first) = state.waiting.front() else {
                if state.has_untold() {
                    self.tell_dropped(&mut state);
                    state.urgent = true;
                    continue;
                }
                if state.stops {
                    state.ended = true;
                    self.progress.notify_all();
                    return None;
                }
                state.idle = true;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle = false;
                continue;
            };
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            let full = first.bytes.len() >= BATCH;
            if full || state.urgent || state.stops || waited >= COMPANY {
                break;
            }
            state = wait(&self.work, state, COMPANY.saturating_sub(waited));
        }
        if state.waiting.len() == 1 {
            state.urgent = false;
        }
        state.waiting.pop_front()
    }

    /// Records how the writing of a batch ended.
    fn settle(&self, batch: &Batch, outcome: Outcome) {
        let mut state = self.lock();
        let records = batch.records_before(batch.bytes.len()) as u64;
        let mut news = None;
        state.notices -= batch.notices;
        let settled = match outcome {
            Outcome::Done => {
                WRITTEN.add(records);
                records
            }
            Outcome::Left(at) => {
                let written = batch.records_before(at) as u64;
                WRITTEN.add(written);
                let rest = batch.rest(at);
                state.bytes += rest.bytes.len();
                state.notices += rest.notices;
                state.waiting.push_front(rest);
                state.ended = true;
                written
            }
            Outcome::Failed(at, cause) => {
                let written = batch.records_before(at) as u64;
                WRITTEN.add(written);
                FAILED.add(records - written);
                if state.problem.is_none() {
                    let name = self.target.name();
                    news = Some(format!("log messages cannot be written to {name}: {cause}"));
                }
                state.problem = Some(cause);
                records
            }
        };
        state.settled += settled;
        state.bytes -= batch.bytes.len();
        drop(state);
        self.reached.store(0, Ordering::Relaxed);
        self.progress.notify_all();
        if let Some(news) = news {
            complain(&news);
        }
    }

    /// Waits until all that was accepted is settled and the target was told of what was not, as
    /// long as the writer gets on; returns how many records are not.
    pub(super) fn flush(self: &Arc<Self>, patience: Duration) -> u64 {
        let mut state = self.lock();
        let goal = state.accepted;
        let due = |state: &State| state.settled < goal || state.has_untold() || state.notices > 0;
        if due(&state) && (state.writer.is_none() || state.ended) {
            state = self.start(state);
        }
        let mut last = (state.settled, self.reached.load(Ordering::Relaxed));
        let mut until = Instant::now() + patience;
        while due(&state) {
            state.urgent = true;
            self.work.notify_one();
            state = wait(&self.progress, state, patience / 10);
            let now = (state.settled, self.reached.load(Ordering::Relaxed));
            if now != last {
                last = now;
                until = Instant::now() + patience;
            } else if Instant::now() >= until {
                break;
            }
        }
        goal - state.settled.min(goal)
    }

    /// Ends the writer, so that the process has the threads that the program made; what is not
    /// taken at once stays in the buffer. A writer that waits for the system is left behind.
    pub(super) fn part(&self) {
        let mut state = self.lock();
        if state.writer.is_none() {
            return;
        }
        state.stops = true;
        self.hurries.store(true, Ordering::Relaxed);
        self.work.notify_one();
        let until = Instant::now() + PARTING;
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait(&self.progress, state, left);
        }
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            // It has nothing left to do but to end.
            let _ = writer.join(PARTING);
        }
    }

    /// Goes on after [`Sink::part`].
    pub(super) fn resume(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.writer.is_some() && !state.ended {
            state.stops = false;
            self.hurries.store(false, Ordering::Relaxed);
        } else if !state.waiting.is_empty() {
            drop(self.start(state));
        }
    }
}

impl State {
    /// Whether the reader can be expected to take the last record soon.
    fn may_wait(&mut self) -> bool {
        if let Some(since) = self.stalled {
            if self.settled + 1 < self.accepted || since.elapsed() < CALM {
                return false;
            }
            self.stalled = None;
        }
        true
    }

    fn has_untold(&self) -> bool {
        self.untold.iter().any(|count| *count > 0)
    }

    /// Takes the last record back, which began at `start`.
    fn take_back(&mut self, start: usize) {
        if let Some(batch) = self.waiting.back_mut() {
            batch.bytes.truncate(start);
            batch.ends.pop();
        }
    }

    /// The batch that is being filled.
    fn last_batch(&mut self) -> &mut Batch {
        if self
            .waiting
            .back()
            .is_none_or(|batch| batch.bytes.len() >= BATCH)
        {
            self.waiting.push_back(Batch::default());
        }
        // INVARIANT: one was pushed if there was none.
        self.waiting.back_mut().expect("a batch")
    }
}

fn wait<'a>(on: &Condvar, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
    let waited = on.wait_timeout(state, time);
    waited.unwrap_or_else(PoisonError::into_inner).0
}
