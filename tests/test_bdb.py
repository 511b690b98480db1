"""A debugger made from `bdb.Bdb` is told the same things with an integration as without."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.forks import forked
from tests.launch import write

SUBJECT = """\
import contextlib

def callee(x):
    y = x + 1
    return y

def caller(n):
    total = 0
    for i in range(n):
        total += callee(i)
    return total

def generate(n):
    for i in range(n):
        yield i

def delegate(n):
    yield from generate(n)

def fails(x):
    return 1 / x

def catches():
    try:
        return fails(0)
    except ZeroDivisionError:
        return -1

def recurses(n):
    return 1 if n < 2 else n * recurses(n - 1)

def main():
    a = caller(3)
    b = list(delegate(3))
    c = catches()
    d = recurses(4)
    return [a, b, c, d, [v for v in range(2)]]
"""

# Told to do what a script says, and tells all that it is told.
RECORDER = """\
import bdb
import os
import sys
import threading

import subject

FILE = os.path.abspath("subject.py")

class Recorder(bdb.Bdb):
    def __init__(self, script="", **options):
        super().__init__(**options)
        self.script = iter(script.split())

    def do_clear(self, arg):
        print("clear", arg)
        self.clear_bpbynumber(arg)

    def tell(self, event, frame, *rest):
        name = os.path.basename(frame.f_code.co_filename)
        print(event, name, frame.f_code.co_name, frame.f_lineno, *rest, end=" -> ")
        do = next(self.script, "continue")
        print(do)
        getattr(self, "do_" + do.partition("=")[0])(frame, *do.split("=")[1:])

    def user_line(self, frame):
        self.tell("line", frame)

    def user_return(self, frame, value):
        self.tell("return", frame, value)

    def user_exception(self, frame, info):
        self.tell("exception", frame, info[0].__name__, info[2] is not None)

    def do_continue(self, frame):
        self.set_continue()

    def do_step(self, frame):
        self.set_step()

    def do_next(self, frame):
        self.set_next(frame)

    def do_until(self, frame):
        self.set_until(frame)

    def do_return(self, frame):
        self.set_return(frame)

    def do_quit(self, frame):
        self.set_quit()

    def do_up(self, frame):
        self.set_next(frame.f_back)

    def do_break(self, frame, line):
        print(self.set_break(FILE, int(line)), end=" ")
        self.do_continue(frame)

    def do_clear_line(self, frame, line):
        print(self.clear_break(FILE, int(line)), end=" ")
        self.do_continue(frame)

    def do_jump(self, frame, line):
        try:
            frame.f_lineno = int(line)
        except ValueError as error:
            print(error, end=" ")
        self.set_next(frame)

class Teller(Recorder):
    def user_call(self, frame, args):
        print("call", os.path.basename(frame.f_code.co_filename), frame.f_code.co_name)

def follow(debugger):
    if INTEGRATE:
        from dapper.bdb_integration import integrate
        integration = integrate(debugger)
        assert integration.reason is None, integration.reason
    return debugger

def points():
    for point in bdb.Breakpoint.bpbynumber:
        if point:
            print(point.line, point.hits, point.ignore, point.enabled)

"""


def told(folder: Path, body: str, *, integrated: bool) -> str:
    write(folder, subject=SUBJECT)
    (folder / "run.py").write_text(f"INTEGRATE = {integrated}\n{RECORDER}{body}")
    imported = ("bdb", "threading", *(["dapper.bdb_integration", "dis"] if integrated else []))
    store = str(folder / "store")
    done = forked("run.py", cwd=folder, imported=imported, DAPPER_CACHE_DIR=store)
    assert done.status == 0, done.out + done.err
    assert not done.err
    return done.out


def assert_same(folder: Path, body: str) -> str:
    stock = told(folder, body, integrated=False)
    assert told(folder, body, integrated=True) == stock
    return stock


@pytest.mark.parametrize("recorder", ["Recorder", "Teller"])
@pytest.mark.parametrize(
    ("breaks", "script"),
    [
        ("4", ""),
        ("4, cond='x == 1'", ""),
        ("4, cond='nosuch'", "continue next continue"),
        ("4, temporary=True", "continue next next next continue"),
        ("4", "continue next next next next next continue"),
        ("10", "continue step step step step step continue"),
        ("4", "continue return next return next continue"),
        ("4", "continue until until until continue"),
        ("4", "continue up next next continue"),
        ("10", "continue jump=11 next continue"),
        ("10", "continue jump=8 next next continue jump=30"),
        ("4", "continue break=21 continue continue clear_line=4"),
        ("15", "continue next next next continue"),
        ("15", "continue return next continue"),
        ("18", "continue next next next next"),
        ("15", "continue step step step step step"),
        ("21", "continue next next next continue"),
        ("25", "continue next next next next"),
        ("30", "continue next next next return"),
        ("37", "continue next step step"),
        ("4", "continue quit"),
        ("4", "continue next quit"),
        ("36", "continue next next next next next next"),
        ("3, funcname='callee'", "continue next continue"),
        ("7, funcname='caller'", "continue next next continue"),
        ("1", ""),
    ],
    ids=str,
)
def test_all_that_a_debugger_is_told(tmp_path, recorder, breaks, script):
    body = f"""
d = follow({recorder}({script!r}))
d.set_break(FILE, {breaks})
d.run("print(subject.main())")
points()
"""
    assert "line" in assert_same(tmp_path, body)


@pytest.mark.parametrize(
    "call",
    [
        "d.run('subject.main()')",
        "d.run(compile('subject.main()', 'text', 'exec'), globals())",
        "print(d.runeval('subject.main()'))",
        "d.runctx('x = subject.caller(2)', globals(), {})",
        "print(d.runcall(subject.caller, 2))",
        "print(d.runcall(subject.caller, n=2)); print(d.runcall(subject.main))",
        "list(d.runcall(subject.generate, 2))",
    ],
)
def test_every_way_to_run(tmp_path, call):
    body = f"""
d = follow(Recorder("continue next next continue continue"))
d.set_break(FILE, 4)
d.set_break(FILE, 15)
{call}
subject.main()
points()
"""
    assert_same(tmp_path, body)


@pytest.mark.parametrize("line", [4, 9, 0])
def test_set_trace_in_the_middle(tmp_path, line):
    body = f"""
d = follow(Recorder("next next continue next continue"))
if {line}:
    d.set_break(FILE, {line})

def work():
    d.set_trace()
    a = subject.callee(1)
    b = subject.main()
    return a, b

print(work())
sys.settrace(None)
points()
"""
    assert_same(tmp_path, body)


def test_skipped_modules(tmp_path):
    write(tmp_path, passed="import subject\ndef through(n):\n    return subject.caller(n)\n")
    body = """
import passed
d = follow(Recorder("step step step step step step step step", skip=["pas*"]))
d.set_break(FILE, 4)
d.run("passed.through(1)")
"""
    assert_same(tmp_path, body)


def test_ignored_and_disabled(tmp_path):
    body = """
d = follow(Recorder())
d.set_break(FILE, 4)
d.set_break(FILE, 4, cond="x > 0")
d.set_break(FILE, 21)
bdb.Breakpoint.bpbynumber[1].ignore = 1
bdb.Breakpoint.bpbynumber[2].ignore = 1
bdb.Breakpoint.bpbynumber[3].disable()
d.run("subject.main()")
points()
"""
    assert_same(tmp_path, body)


def test_other_threads_are_not_stopped(tmp_path):
    body = """
d = follow(Recorder())
d.set_break(FILE, 4)

def work():
    t = threading.Thread(target=subject.caller, args=(3,))
    t.start()
    t.join()
    return subject.caller(1)

d.runcall(work)
points()
"""
    stops = assert_same(tmp_path, body)
    assert stops.count("line subject.py callee") == 1


def test_breakpoints_of_another_thread_are_followed(tmp_path):
    body = """
d = follow(Recorder())
d.set_break(FILE, 21)

def work():
    subject.caller(1)
    t = threading.Thread(target=d.set_break, args=(FILE, 4))
    t.start()
    t.join()
    subject.caller(1)
    t = threading.Thread(target=d.clear_break, args=(FILE, 4))
    t.start()
    t.join()
    subject.caller(1)

d.runcall(work)
points()
"""
    assert_same(tmp_path, body)


def test_a_subclass_that_decides_by_itself(tmp_path):
    body = """
class Odd(Recorder):
    def break_here(self, frame):
        return super().break_here(frame) and frame.f_locals.get("x", 1) % 2 == 1

d = follow(Odd("continue next continue"))
d.set_break(FILE, 4, temporary=False)
d.run("subject.caller(4)")
points()
"""
    assert_same(tmp_path, body)


def test_variables_can_be_changed(tmp_path):
    body = """
class Changer(Recorder):
    def user_line(self, frame):
        if frame.f_code.co_name == "callee":
            frame.f_locals["x"] = 40
        super().user_line(frame)

d = follow(Changer())
d.set_break(FILE, 4)
print(d.runcall(subject.caller, 2))
bdb.Breakpoint.bpbynumber[1].cond = "[x := 7] and False"
print(d.runcall(subject.caller, 2))
"""
    assert_same(tmp_path, body)


def test_what_it_counts(tmp_path):
    body = """
from dapper.bdb_integration import Integration, integrate, integration_of, release
d = Recorder("continue next next next")
integration = integrate(d)
assert integrate(d) is integration is integration_of(d)
assert integration.statistics()["breakpoints_optimized"] == 0
d.set_break(FILE, 4, cond="x == 2")
d.set_break(FILE, 21, cond="nosuch")
before = integration.statistics()
assert (before["breakpoints_optimized"], before["stops"]) == (2, 0), before
d.run("subject.main()")
after = integration.statistics()
assert after == {
    "breakpoints_optimized": 2, "stops": 2, "trace_calls_saved": 2, "errors_handled": 1
}, after
release(d)
assert integration_of(d) is None
assert not {"trace_dispatch", "break_here", "set_break"} & set(vars(d))
d.run("subject.main()")
"""
    told(tmp_path, body, integrated=True)


def test_nothing_is_left_behind(tmp_path):
    body = """
from dapper import hooks
from dapper.bdb_integration import integrate, release
code = subject.callee.__code__
for _ in range(50):
    d = Recorder()
    integrate(d)
    d.set_break(FILE, 4)
    d.runcall(subject.caller, 1)
    release(d)
    bdb.Breakpoint.clearBreakpoints()
assert subject.callee.__code__ is code
assert sys.gettrace() is None and hooks.installed() == []
if hasattr(sys, "monitoring"):
    assert [sys.monitoring.get_tool(tool) for tool in range(6)] == [None] * 6
"""
    told(tmp_path, body, integrated=True)


def test_it_can_be_released_while_it_runs(tmp_path):
    body = """
d = follow(Recorder())
d.set_break(FILE, 4)

def work():
    subject.caller(1)
    if INTEGRATE:
        from dapper.bdb_integration import release
        release(d)
    subject.caller(1)

d.runcall(work)
points()
"""
    assert_same(tmp_path, body)


def test_two_debuggers_take_turns(tmp_path):
    body = """
first, second = follow(Recorder()), follow(Recorder("continue next"))
first.set_break(FILE, 4)
second.set_break(FILE, 5)

def work():
    subject.caller(1)
    second.set_trace()
    subject.caller(1)

first.runcall(work)
points()
"""
    assert_same(tmp_path, body)


def test_a_debugger_that_sees_every_event_is_left_alone(tmp_path):
    body = """
from dapper.bdb_integration import integrate

class Every(Recorder):
    def dispatch_line(self, frame):
        print("sees", frame.f_lineno)
        return super().dispatch_line(frame)

d = Every()
if INTEGRATE:
    integration = integrate(d)
    assert integration.reason == "Every sees every event: it has a dispatch_line of its own"
    assert integration.statistics()["breakpoints_optimized"] == 0
    integration.release()
d.set_break(FILE, 4)
d.run("subject.caller(2)")
"""
    assert "sees 4" in assert_same(tmp_path, body)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="3.11 has no monitoring tools")
def test_without_a_monitoring_tool_it_is_left_alone(tmp_path):
    body = """
from dapper.bdb_integration import integrate
for tool in range(6):
    sys.monitoring.use_tool_id(tool, f"tool {tool}")
d = Recorder()
if INTEGRATE:
    assert "every monitoring tool is in use" in integrate(d).reason
d.set_break(FILE, 4)
d.run("subject.caller(2)")
"""
    assert_same(tmp_path, body)


def test_a_debugger_that_monitors_is_watched_for(tmp_path):
    body = """
options = {"backend": "monitoring"} if hasattr(bdb.Bdb, "start_trace") else {}
d = follow(Recorder("continue next next step step", **options))
d.set_break(FILE, 4)
d.run("print(subject.main())")
points()
"""
    assert_same(tmp_path, body)
