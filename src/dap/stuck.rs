//! Stopped threads that do not come back from what a request had them do.
//!
//! What is evaluated ends within its time, unless it is in a call of native code, which nobody can
//! interrupt: a lock that another stopped thread holds, a long sleep. Owns which request each
//! stopped thread is answering; one that is stuck is answered for it, and so are those that come
//! after, until the call returns.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::protocol::{Refusal, Request};
use super::session::Session;

/// What a thread is answering.
struct Answering {
    session: Arc<Session>,
    request: Request,
    /// Whether the client has been told that it is stuck.
    told: bool,
}

static ANSWERING: Mutex<BTreeMap<u64, Answering>> = Mutex::new(BTreeMap::new());

fn answering() -> MutexGuard<'static, BTreeMap<u64, Answering>> {
    ANSWERING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread begins to answer a request.
pub(super) fn begin(session: &Arc<Session>, ident: u64, request: &Request) {
    let begun = Answering {
        session: Arc::clone(session),
        request: request.clone(),
        told: false,
    };
    answering().insert(ident, begun);
}

/// A thread has an answer; false when the client has one already.
pub(super) fn finish(ident: u64) -> bool {
    let begun = answering().remove(&ident);
    begun.is_none_or(|begun| !begun.told)
}

/// Why a thread answers nothing now, if it is stuck.
pub(super) fn refusal(ident: u64) -> Option<Refusal> {
    let answering = answering();
    let begun = answering.get(&ident).filter(|begun| begun.told)?;
    Some(Refusal::new(format!(
        "the thread has not come back from {} yet, where native code runs that cannot be \
         interrupted",
        begun.request.command
    )))
}

/// Answers for a thread that does not come back.
pub(super) fn tell(ident: u64) {
    let stuck = {
        let mut answering = answering();
        let Some(begun) = answering.get_mut(&ident) else {
            return;
        };
        if std::mem::replace(&mut begun.told, true) {
            return;
        }
        (Arc::clone(&begun.session), begun.request.clone())
    };
    let (session, request) = stuck;
    let refusal = Refusal::new(
        "it does not end: native code runs that cannot be interrupted, such as a wait for a lock; \
         the thread answers again when that returns",
    );
    session.respond(&request, Err(refusal));
}

/// Forgets what the threads of a parent process were doing.
pub(super) fn forget() {
    // The lock may be held by a thread that this process does not have.
    if let Ok(mut answering) = ANSWERING.try_lock() {
        std::mem::forget(std::mem::take(&mut *answering));
    }
}
