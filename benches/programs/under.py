"""Run a program under a tool and print the least processor time, in nanoseconds, of its work.

Usage: under.py [--repetitions R] [--share S] [--threads T] [--peak] [--work NAME]
                [--condition EXPR] [--hit-condition RULE] [--log-message TEXT]
                TOOL PROGRAM [LINE]...
       under.py --available

The program is imported, so that all tools meet it in the same way; each LINE gets a breakpoint that
must not be hit. Its `work(N // S)` is repeated R times, each divided over T threads.
With --peak the peak of the memory, in megabytes, is printed instead.

With --condition, --hit-condition or --log-message, which are for debuggers that have them, every
LINE is reached: the condition is never true, the rule lets no hit through, and messages are written.
"""

import argparse
import importlib.util
import inspect
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import peak

TOOLS = {}
# What the breakpoints are asked for with, by the names of the debug protocol.
TERMS = {}
NAMES = {
    "condition": "--condition",
    "hitCondition": "--hit-condition",
    "logMessage": "--log-message",
}


def tool(needs=lambda: True):
    """Enter a function in TOOLS if this interpreter has what it `needs`.

    The function is called with the program's path, the lines, and `load`, which imports the program
    and is called before or after the breakpoints are set. It leaves the tool at work, and may return
    what tells, after the measurement, why that measured something else.
    """

    def enter(function):
        if needs():
            TOOLS[function.__name__.replace("_", "-")] = function
        return function

    return enter


@tool()
def plain(path, lines, load):
    load()


@tool()
def settrace(path, lines, load):
    """A line tracer that does nothing."""

    def trace(frame, event, arg):
        return trace

    load()
    threading.settrace(trace)
    sys.settrace(trace)


@tool()
def settrace_compare(path, lines, load):
    """A line tracer that compares file and line: the least a debugger must do."""
    wanted = frozenset(lines)

    def trace(frame, event, arg):
        if event == "line" and frame.f_lineno in wanted and frame.f_code.co_filename == path:
            raise SystemExit("a breakpoint was hit")
        return trace

    load()
    threading.settrace(trace)
    sys.settrace(trace)


def under_pdb(path, lines, frame, **options):
    """Set breakpoints in pdb and continue, as typed at its prompt."""
    import pdb

    debugger = pdb.Pdb(
        stdin=io.StringIO("continue\n"),
        stdout=io.StringIO(),
        nosigint=True,
        readrc=False,
        **options,
    )
    for line in lines:
        problem = debugger.set_break(path, line)
        if problem:
            raise SystemExit(f"pdb: {problem}")
    debugger.set_trace(frame)


@tool()
def pdb(path, lines, load):
    load()
    under_pdb(path, lines, sys._getframe(1))


def pdb_has_backends():
    import bdb

    return "backend" in inspect.signature(bdb.Bdb).parameters


@tool(pdb_has_backends)
def pdb_monitoring(path, lines, load):
    load()
    under_pdb(path, lines, sys._getframe(1), backend="monitoring")


def has_debugpy():
    return importlib.util.find_spec("debugpy") is not None


def attached(server, path, lines):
    """Attach a client of another process, which sets the breakpoints over the debug protocol."""
    server.configure(subProcess=False)
    _, port = server.listen(("127.0.0.1", 0))
    command = [sys.executable, str(Path(__file__).with_name("dap_client.py")), str(port), path]
    asked = json.dumps([{"line": line, **TERMS} for line in lines])
    # It ends when this process, and so the adapter, does.
    client = subprocess.Popen([*command, asked], stdout=subprocess.PIPE)
    server.wait_for_client()
    if client.stdout.readline() != b"armed\n":
        raise SystemExit(f"{server.__name__}: its client could not set the breakpoints")
    return client


def stays(client):
    """Return a check that the client is still there: it leaves when a breakpoint is hit."""
    return lambda: client.poll() is not None and "a breakpoint was hit"


@tool(has_debugpy)
def debugpy(path, lines, load):
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    import debugpy as server

    load()
    return stays(attached(server, path, lines))


def has_monitoring():
    return hasattr(sys, "monitoring")


@tool(has_monitoring)
def monitoring(path, lines, load):
    """Line events everywhere, to a callback that does nothing and keeps them on."""
    load()
    events = sys.monitoring
    events.use_tool_id(events.DEBUGGER_ID, "bench")
    events.register_callback(events.DEBUGGER_ID, events.events.LINE, lambda code, line: None)
    events.set_events(events.DEBUGGER_ID, events.events.LINE)


@tool(has_monitoring)
def monitoring_disable(path, lines, load):
    """Line events everywhere, each switched off where it is not a breakpoint."""
    load()
    events = sys.monitoring
    wanted = frozenset(lines)

    def on_line(code, line):
        if line in wanted and code.co_filename == path:
            raise SystemExit("a breakpoint was hit")
        return events.DISABLE

    events.use_tool_id(events.DEBUGGER_ID, "bench")
    events.register_callback(events.DEBUGGER_ID, events.events.LINE, on_line)
    events.set_events(events.DEBUGGER_ID, events.events.LINE)


def has_noop_hook():
    return importlib.util.find_spec("noop_hook") is not None


@tool(has_noop_hook)
def noop_hook(path, lines, load):
    """An eval-frame hook that only calls the interpreter's own evaluation."""
    import noop_hook as hook

    load()
    hook.install()
    if not hook.installed():
        raise SystemExit("noop_hook: not installed")


def arm(path, lines):
    import dapper

    terms = {
        "condition": TERMS.get("condition"),
        "hit_condition": TERMS.get("hitCondition"),
        "log_message": TERMS.get("logMessage"),
    }
    if terms["log_message"] is None:
        terms["on_hit"] = lambda hit: None
    return [dapper.add_breakpoint(path, line, **terms) for line in lines]


def insist(points, tier):
    """Return a check that the breakpoints are where they are meant to be and did nothing else."""

    def is_wrong(point):
        counts = "hitCondition" in TERMS or "logMessage" in TERMS
        acts = "logMessage" in TERMS
        return (
            not point.verified
            or point.tier != tier
            or (point.hits > 0) != counts
            or (point.fired > 0) != acts
            # Something is evaluated outside the line.
            or (TERMS and point.reason is not None)
        )

    return lambda: "; ".join(
        f"{point!r}: tier {point.tier}, wanted {tier}, hits {point.hits}: {point.reason}"
        for point in points
        if is_wrong(point)
    )


@tool()
def dapper_idle(path, lines, load):
    import dapper

    dapper.start()
    load()


@tool()
def dapper_import(path, lines, load):
    import dapper

    dapper.start()
    points = arm(path, lines)
    load()
    return insist(points, "import")


@tool()
def dapper_bound(path, lines, load):
    import dapper

    load()
    dapper.start(dapper.Config(log_target=os.environ.get("BENCH_LOG")))
    return insist(arm(path, lines), "bound")


@tool()
def dapper_entry(path, lines, load):
    """Promotion off: functions keep their code, and fresh frames are swapped by the hook."""
    import dapper

    load()
    dapper.start(dapper.Config(promotion=False))
    return insist(arm(path, lines), "entry")


@tool()
def dapper_session(path, lines, load):
    import dapper

    load()
    return stays(attached(dapper, path, lines))


@tool()
def dapper_left(path, lines, load):
    """The client has left before anything is measured."""
    import dapper

    load()
    client = attached(dapper, path, lines)
    client.kill()
    while dapper.is_client_connected() or dapper.status().breakpoints:
        time.sleep(0.01)
    return lambda: ", ".join(dapper.status().hooks)


@tool()
def dapper_tracing(path, lines, load):
    """No code is changed: lines are watched on the code objects that hold a breakpoint."""
    import dapper

    load()
    dapper.start(dapper.Config(backend="sys_monitoring" if has_monitoring() else "settrace"))
    return insist(arm(path, lines), "tracing")


def divided(work, threads):
    """Return a `work` that shares its `n` among so many threads."""

    def all_of(n):
        running = [threading.Thread(target=work, args=(n // threads,)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return all_of


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--available", action="store_true")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--peak", action="store_true")
    parser.add_argument("--work", default="work")
    for name, option in NAMES.items():
        parser.add_argument(option, dest=name)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    TERMS.update({name: text for name, text in vars(options).items() if name in NAMES and text})
    if options.available:
        print(" ".join(TOOLS))
        return
    name, program, *lines = options.words
    path = Path(program).resolve()
    sys.path.insert(1, str(path.parent))
    # Imports `layout` before any tool is at work and before the program is there.
    timing = importlib.import_module("timing")
    loaded = []
    check = TOOLS[name](
        str(path),
        [int(line) for line in lines],
        lambda: loaded.append(importlib.import_module(path.stem)),
    )
    (program,) = loaded
    work = getattr(program, options.work)
    if options.threads:
        work = divided(work, options.threads)
    taken = timing.best_of(work, program.N // options.share, options.repetitions)
    sys.settrace(None)
    threading.settrace(None)
    wrong = check and check()
    if wrong:
        raise SystemExit(wrong)
    print(peak.megabytes() if options.peak else taken, flush=True)
    # Tools at work may hold the process up at its end; what is measured is behind.
    os._exit(0)


if __name__ == "__main__":
    main()
