//! The thread of a program that was launched: it starts it, and waits for its end.
//!
//! It answers the `launch`, if only by a refusal. When the program has ended, everything that it
//! printed and its server said is sent first, then how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::given::Given;
use super::in_process::{self, Own, Program};
use super::launch::{Console, Plan};
use super::meeting::Meeting;
use super::output::Capture;
use super::process::{Process, Started};
use super::relay::{self, Start};
use super::session::{Phase, Session};
use super::signal::Signal;
use super::terminal::{self, Starter};
use crate::dap::Debug;
use crate::dap::protocol::Refusal;
use crate::ffi::threads::Thread;
use crate::run::hand_over;
use crate::session;

/// How long a program may take to come to the meeting.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a client has to leave when the program has ended.
const LINGER: Duration = Duration::from_secs(5);
/// How long a server has to say its last word when its process has ended.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What runs, and where its streams are.
enum Running {
    Captured(Started, Capture),
    InTerminal(Starter),
    Here(Arc<Own>, Capture),
}

/// A start that has got as far as a process.
struct Launched {
    process: Arc<Process>,
    running: Running,
    /// Raised when the process has ended.
    ended: Arc<Signal>,
    meeting: Option<Arc<Meeting>>,
    /// Whether the processes that it starts are debugged, too.
    with_children: bool,
    server: Option<Thread>,
}

/// Starts the program of a session, and tells of its end.
pub(super) fn launch(session: &Arc<Session>, seq: Option<i64>) {
    match begin(session, seq) {
        Ok(launched) => finish(session, seq, launched),
        Err(refusal) => {
            session.fail(seq, "launch", &refusal);
            if seq.is_none() {
                linger(session);
            }
        }
    }
}

fn begin(session: &Arc<Session>, seq: Option<i64>) -> Result<Launched, Refusal> {
    let (arguments, takes_terminals) = {
        let state = session.state();
        let can = state.initialize["supportsRunInTerminalRequest"] == true;
        (state.launch.clone(), can)
    };
    let mut plan = Plan::of(&arguments, &session.adapter.environment)?;
    let patience = patience(&arguments)?;
    if plan.console != Console::Internal && !takes_terminals {
        plan.remarks.push(
            "the client has no terminals for \"console\": what the program prints is shown here, \
             and it reads nothing"
                .to_owned(),
        );
        plan.take_streams()?;
    }
    for remark in &plan.remarks {
        session.tell(remark);
    }
    let cannot = |error: std::io::Error| {
        Refusal::shown(format!("{} cannot be started: {error}", plan.python[0]))
    };
    let in_terminal = plan.console != Console::Internal;
    let meeting = (plan.debugs || in_terminal).then(Meeting::open);
    let meeting = meeting.transpose().map_err(cannot)?.map(Arc::new);
    let mut command = plan.command();
    let handed = meeting.as_deref().filter(|_| plan.debugs);
    let handed = handed.map(|meeting| handed_over(session, &plan, meeting));
    let handed = handed.transpose()?;
    if let Some(text) = &handed {
        let bootstrap = &session.adapter.environment.bootstrap;
        connect(&mut command, &plan, text, bootstrap);
    }
    let (process, running) = if plan.in_process {
        let (own, capture) = in_process::begin(session)?;
        (Process::own(Arc::clone(&own)), Running::Here(own, capture))
    } else if let Some(meeting) = meeting.as_deref().filter(|_| in_terminal) {
        let (process, starter) = terminal::start(session, &plan, &command, meeting)?;
        (process, Running::InTerminal(starter))
    } else {
        let (process, mut started) = Process::start(command, true).map_err(cannot)?;
        let pipes = std::mem::take(&mut started.pipes);
        let capture = Capture::start(&session.client, pipes).map_err(cannot)?;
        (process, Running::Captured(started, capture))
    };
    let process = Arc::new(process);
    session.change(|state| {
        state.process = Some(Arc::clone(&process));
        state.interrupts = plan.interrupts;
        state.terminating = 0;
    });
    session.event(
        "process",
        json!({
            "name": plan.name,
            "systemProcessId": process.number(),
            "isLocalProcess": true,
            "startMethod": "launch",
            "pointerSize": usize::BITS,
        }),
    );
    let ended = Arc::new(Signal::new().map_err(cannot)?);
    if let Running::Here(own, _) = &running {
        let capabilities = json!({"supportsRestartRequest": false});
        session.event("capabilities", json!({"capabilities": capabilities}));
        let program = Program::of(&plan, handed);
        session.adapter.become_program(program, Arc::clone(own));
    }
    let mut launched = Launched {
        process,
        running,
        ended,
        meeting,
        with_children: plan.sub_process,
        server: None,
    };
    if plan.debugs {
        let start = Start {
            command: "launch",
            seq,
            arguments: plan.arguments,
        };
        launched.server = Some(meet(session, &launched, start, patience).map_err(cannot)?);
    } else {
        session.change(|state| state.phase = Phase::Running);
        if let Some(seq) = seq {
            session.answer(seq, "launch", Ok(Value::Null));
        }
        session.event("initialized", Value::Null);
    }
    // The client may have left in the meantime.
    if session.over.is_raised() && !session.has_let_go() {
        launched.process.end();
    }
    Ok(launched)
}

fn patience(arguments: &Value) -> Result<Duration, Refusal> {
    match Given::of(arguments)?.get("timeout") {
        None => Ok(PATIENCE),
        Some(value) => value
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| super::given::wrong("timeout", "a number of seconds", value)),
    }
}

/// What a program is told of its debugger.
fn handed_over(session: &Session, plan: &Plan, meeting: &Meeting) -> Result<String, Refusal> {
    let session = session::Session {
        condition_budget: plan.condition_budget,
        debug: Some(Debug {
            connect: Some(meeting.address()),
            token: Some(meeting.token().to_owned()),
            wait: true,
            sub_process: plan.sub_process,
            log_dir: session.adapter.log_dir.clone(),
            ..Debug::default()
        }),
        ..session::Session::default()
    };
    hand_over(&session).map_err(Refusal::shown)
}

/// Puts into the environment of a program where its debugger is.
fn connect(command: &mut std::process::Command, plan: &Plan, text: &str, bootstrap: &str) {
    command.env("DAPPER", "run").env("DAPPER_SESSION", text);
    if !plan.starts_itself {
        let inherited = std::env::var("PYTHONPATH").ok();
        let rest = plan.env.get("PYTHONPATH").cloned().unwrap_or(inherited);
        let path = match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => format!("{bootstrap}:{rest}"),
            None => bootstrap.to_owned(),
        };
        command.env("PYTHONPATH", path);
    }
}

/// Waits for the program at the meeting, and speaks with its server, in a thread of their own.
fn meet(
    session: &Arc<Session>,
    launched: &Launched,
    start: Start,
    patience: Duration,
) -> std::io::Result<Thread> {
    let session = Arc::clone(session);
    let process = Arc::clone(&launched.process);
    let ended = Arc::clone(&launched.ended);
    let meeting = launched.meeting.clone();
    let with_children = launched.with_children;
    Thread::start("dapper-server", move || {
        let Some(meeting) = meeting else { return };
        let until = Instant::now() + patience;
        let title = "Waiting for the program to start";
        match session.meet(&meeting, until, title) {
            Some((_, server)) => {
                let children = with_children.then(|| meet_children(&session, &meeting));
                if !matches!(children, Some(Ok(_))) {
                    meeting.close();
                }
                relay::serve(&session, &Arc::new(server), &start, Some(&ended));
            }
            None if ended.is_raised() => {}
            None => {
                let seconds = patience.as_secs_f64();
                let refusal = Refusal::shown(format!(
                    "the program has not come to the debugger within {seconds} s, and is ended; \
                     \"python\" has to be an interpreter that reads its environment, and \
                     \"timeout\" gives it more time"
                ));
                session.fail(start.seq, "launch", &refusal);
                process.end();
            }
        }
    })
}

/// Waits for the processes that the program starts, until it has ended.
fn meet_children(session: &Arc<Session>, meeting: &Arc<Meeting>) -> std::io::Result<Thread> {
    let (session, meeting) = (Arc::clone(session), Arc::clone(meeting));
    Thread::start("dapper-children", move || {
        while let Some((hello, connection)) = meeting.next(None) {
            session.introduce(&hello, connection);
        }
    })
}

/// Waits for the end of the program, and tells of it.
fn finish(session: &Arc<Session>, seq: Option<i64>, launched: Launched) {
    let Launched {
        process,
        running,
        ended,
        meeting,
        server,
        ..
    } = launched;
    let mut own = None;
    let status = match running {
        Running::Captured(mut started, capture) => {
            let status = process.wait(&mut started);
            capture.drained();
            Some(status)
        }
        Running::InTerminal(starter) => starter.wait(&process),
        Running::Here(of_this, capture) => {
            let status = of_this.wait();
            process.has_ended();
            capture.drained();
            own = Some(of_this);
            status
        }
    };
    ended.raise();
    if let Some(meeting) = meeting {
        meeting.close();
    }
    if let Some(server) = server {
        // One that is still there then is that of a process which was left behind.
        drop(server.join(LAST_WORD));
    }
    let (restart, phase, waiting) = session.change(|state| {
        state.process = None;
        (
            state.restart.take(),
            state.phase,
            std::mem::take(&mut state.waiting),
        )
    });
    session.forget_asked();
    let said = status.map_or_else(
        || "for a reason that is not known".to_owned(),
        |status| format!("with status {status}"),
    );
    let early = Refusal::shown(format!(
        "the program ended {said} before it could be debugged; what it printed says why"
    ));
    session.refuse_waiting(&waiting, &early);
    if let Some(restart) = restart {
        if phase == Phase::Starting
            && let Some(seq) = seq
        {
            session.answer(seq, "launch", Err(early));
        }
        session.answer(restart, "restart", Ok(Value::Null));
        session.change(|state| state.phase = Phase::Starting);
        if let Err(refusal) = session.start(None) {
            session.fail(None, "restart", &refusal);
        }
        return;
    }
    if phase == Phase::Starting
        && let Some(seq) = seq
    {
        session.answer(seq, "launch", Err(early));
    }
    if let Some(status) = status {
        session.event("exited", json!({"exitCode": status}));
    }
    session.event("terminated", Value::Null);
    session.change(|state| state.phase = Phase::Ended);
    linger(session);
    if let Some(own) = own {
        own.leave();
    }
}

/// Gives the client time to leave by itself.
fn linger(session: &Session) {
    let nothing_to_read = session.over.wait(LINGER);
    if !nothing_to_read {
        session.over.raise();
    }
}
