//! Order, dropping, failing targets and parting, with real files and threads.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

/// Takes one batch for each permit.
struct Gate {
    permits: Mutex<Receiver<()>>,
    taken: Mutex<Vec<String>>,
}

impl Output for Gate {
    fn deliver(&self, records: &[&str]) -> Result<(), String> {
        let permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        permits.recv().map_err(|_| "closed".to_owned())?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(records.iter().map(|record| (*record).to_owned()));
        Ok(())
    }
}

fn gate() -> (Arc<Gate>, SyncSender<()>) {
    let (permit, permits) = sync_channel(1000);
    let gate = Gate {
        permits: Mutex::new(permits),
        taken: Mutex::default(),
    };
    (Arc::new(gate), permit)
}

fn sent(sink: &Arc<Sink>, message: &str) {
    sink.send(|bytes| record::text(bytes, message));
}

fn text_sink(path: &Path, limit: usize) -> Arc<Sink> {
    let path = path.to_str().expect("UTF-8");
    Sink::new(Target::open(path).expect("opens"), limit)
}

#[test]
fn records_of_many_threads_come_whole_and_in_the_order_of_each() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let sink = text_sink(&path, LIMIT);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let sink = &sink;
            scope.spawn(move || {
                for number in 0..50_000 {
                    sent(sink, &format!("{thread} {number}"));
                }
            });
        }
    });
    assert_eq!(sink.flush(PATIENCE), 0);
    let written = std::fs::read_to_string(&path).expect("reads");
    let mut next = [0; 4];
    for line in written.lines() {
        let (thread, number) = line.split_once(' ').expect("two numbers");
        let thread: usize = thread.parse().expect("a thread");
        assert_eq!(number.parse(), Ok(next[thread]));
        next[thread] += 1;
    }
    assert_eq!(next, [50_000; 4]);
}

#[test]
fn what_does_not_fit_is_told_where_it_is_missing() {
    let (gate, permit) = gate();
    let sink = Sink::new(Target::Output(Arc::clone(&gate) as Arc<dyn Output>), 40);
    // Ten bytes each: four wait or are in the writer's hand, and the rest is dropped.
    for number in 0..10 {
        sent(&sink, &format!("message {number}"));
    }
    for _ in 0..20 {
        permit.send(()).expect("open");
    }
    assert_eq!(sink.flush(PATIENCE), 0);
    sent(&sink, "message a");
    assert_eq!(sink.flush(PATIENCE), 0);
    let taken = gate.taken.lock().expect("no panic");
    let lines: Vec<&str> = taken.iter().map(String::as_str).collect();
    assert_eq!(
        lines[..4],
        ["message 0", "message 1", "message 2", "message 3"]
    );
    assert!(
        lines[4].starts_with("{\"event\":\"dropped\""),
        "{}",
        lines[4]
    );
    assert!(lines[4].contains("\"count\":6"), "{}", lines[4]);
    assert_eq!(lines[5..], ["message a"]);
}

#[test]
fn a_record_longer_than_the_limit_is_dropped_alone() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let sink = text_sink(&path, 100);
    sent(&sink, "before");
    sent(&sink, &"x".repeat(200));
    sent(&sink, "after");
    assert_eq!(sink.flush(PATIENCE), 0);
    let told = "[dapper] 1 message dropped: longer than the 100 bytes that may wait";
    let written = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(written, format!("before\n{told}\nafter\n"));
}

#[test]
fn a_failing_target_is_remembered_with_its_cause() {
    let sink = Sink::new(Target::open("/dev/full").expect("opens"), LIMIT);
    sent(&sink, "lost");
    assert_eq!(sink.flush(PATIENCE), 0);
    let problem = sink.problem().expect("a problem");
    assert!(problem.contains("No space left"), "{problem}");
}

#[test]
fn a_reader_that_takes_nothing_is_not_waited_for_for_ever() {
    let (gate, permit) = gate();
    let sink = Sink::new(Target::Output(gate), LIMIT);
    sent(&sink, "one");
    sent(&sink, "two");
    assert_eq!(sink.flush(Duration::from_millis(60)), 2);
    drop(permit);
    assert_eq!(sink.flush(PATIENCE), 0, "both failed");
}

#[test]
fn a_parted_writer_is_gone_and_comes_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let sink = text_sink(&path, LIMIT);
    sent(&sink, "before");
    sink.part();
    assert!(!sink.has_writer());
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), "before\n");
    sink.resume();
    sent(&sink, "after");
    assert_eq!(sink.flush(PATIENCE), 0);
    let written = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(written, "before\nafter\n");
}

#[test]
fn the_target_in_a_child_writes_to_the_same_file() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("log");
    let sink = text_sink(&path, LIMIT);
    let child = Sink::new(sink.target.in_child(), LIMIT);
    sent(&sink, "parent");
    assert_eq!(sink.flush(PATIENCE), 0);
    sent(&child, "child");
    assert_eq!(child.flush(PATIENCE), 0);
    let written = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(written, "parent\nchild\n");
}

#[test]
fn a_file_that_cannot_be_opened_is_refused_with_the_cause() {
    let refused = |text: &str| Target::open(text).err().expect("refused").to_string();
    assert!(refused("/no/such/folder/log").contains("No such file"));
    assert!(refused("jsonl:").contains("name of the file is missing"));
}

#[test]
fn records_at_the_end_of_a_full_batch_are_delivered() {
    let (gate, permit) = gate();
    let sink = Sink::new(
        Target::Output(Arc::clone(&gate) as Arc<dyn Output>),
        usize::MAX,
    );
    let message = |number: usize| format!("{number} {}", "x".repeat(1000));
    for number in 0..1000 {
        sent(&sink, &message(number));
    }
    for _ in 0..900 {
        permit.send(()).expect("open");
    }
    assert_eq!(sink.flush(PATIENCE), 0);
    let taken = gate.taken.lock().expect("no panic");
    assert_eq!(*taken, (0..1000).map(message).collect::<Vec<_>>());
}
