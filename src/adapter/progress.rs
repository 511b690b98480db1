//! What the adapter waits for, shown by a client that shows progress.
//!
//! Owns the events: one when the wait begins that is worth telling, one when it is over, however it
//! ends. Such a wait is not cancelled by itself: it ends with the session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::connection::Connection;
use super::meeting::{Hello, Meeting};
use super::session::Session;

/// How long a process may take to come before the client is told that it is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

static LAST: AtomicU64 = AtomicU64::new(0);

/// A wait that the client shows as long as this lives.
pub(super) struct Progress<'a> {
    session: &'a Session,
    id: String,
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.session
            .event("progressEnd", json!({"progressId": self.id}));
    }
}

impl Session {
    /// Has the client show that something is waited for, if it can.
    pub(super) fn progress(&self, title: &str) -> Option<Progress<'_>> {
        let shows = self.state().initialize["supportsProgressReporting"] == true;
        if !shows {
            return None;
        }
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let id = format!("dapper-wait-{number}");
        self.event("progressStart", json!({"progressId": id, "title": title}));
        Some(Progress { session: self, id })
    }

    /// Waits for a process at its meeting; the client is told when that takes its time.
    pub(super) fn meet(
        &self,
        meeting: &Meeting,
        until: Instant,
        title: &str,
    ) -> Option<(Hello, Connection)> {
        let soon = until.min(Instant::now() + PATIENCE);
        meeting.next(Some(soon)).or_else(|| {
            let _shown = self.progress(title);
            meeting.next(Some(until))
        })
    }
}
