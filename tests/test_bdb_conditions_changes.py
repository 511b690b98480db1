"""Compiled conditions follow what changes: breakpoints, threads, code and debuggers."""

from __future__ import annotations

import pytest
from tests.launch import write
from tests.test_bdb import told
from tests.test_bdb_conditions import EQUAL, HELPERS, LOOPS, same

CHANGES = [
    "point.cond = 'i == 4'",
    "point.cond = None",
    "point.cond = 'print(i)'",
    "point.enabled = False",
    "point.disable()",
    "point.hits = 100",
    "point.hits += 1",
    "point.ignore = 2",
    "point.temporary = True",
    "d.set_break(LOOPS, 6, cond='i == 5')",
    "d.set_break(LOOPS, 7, cond='i == 5')",
    "d.clear_break(LOOPS, 6)",
    "d.clear_all_breaks()",
    "d.set_break(LOOPS, 17, cond='n == 1')",
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("condition", ["i == 2", "nosuch", None])
def test_changes_at_a_stop(tmp_path, change, condition):
    body = f"""
def change(d, frame):
    point = bdb.Breakpoint.bpbynumber[1]
    {change}

d = follow(Doer(lambda *_: None, change))
d.set_break(LOOPS, 6, cond={condition!r})
point = bdb.Breakpoint.bpbynumber[1]
d.run("loops.loop(6)\\nloops.loop(7)\\nloops.nest(2)")
points()
print(point.hits, point.cond, point.enabled)
"""
    same(tmp_path, body)


@pytest.mark.parametrize("change", CHANGES)
def test_changes_by_the_program(tmp_path, change):
    body = f"""
d = follow(Doer())
d.set_break(LOOPS, 6, cond="i == 2")
point = bdb.Breakpoint.bpbynumber[1]

def work():
    loops.loop(4)
    print(point.hits)
    {change}
    loops.loop(6)
    loops.nest(2)
    print(point.hits)
    point.cond, point.enabled = "i == 3", True
    loops.loop(6)

d.runcall(work)
points()
print(point.hits, point.cond, point.enabled)
"""
    same(tmp_path, body)


def test_threads_that_are_not_traced(tmp_path):
    body = """
d = follow(Recorder("continue next"))
d.set_break(LOOPS, 6, cond="i == 1")
served(1)
loops.loop(3)

def work():
    threads = [threading.Thread(target=loops.loop, args=(n,)) for n in (3, 4)]
    [thread.start() for thread in threads]
    loops.loop(2)
    [thread.join() for thread in threads]

d.runcall(work)
loops.loop(3)
points()
"""
    assert "6 2 0 True" in same(tmp_path, body)


def test_threads_that_are_traced(tmp_path):
    body = """
d = follow(Recorder())
d.set_break(LOOPS, 6, cond="i == 1")

def traced(n):
    sys.settrace(d.trace_dispatch)
    loops.loop(n)

def work():
    loops.loop(2)
    for n in (2, 3):
        thread = threading.Thread(target=traced, args=(n,))
        thread.start()
        thread.join()

d.runcall(work)
points()
"""
    same(tmp_path, body)


def test_a_loop_that_was_running(tmp_path):
    body = """
def condition(d, frame):
    bdb.Breakpoint.bpbynumber[1].cond = "i == 4"

d = follow(Doer(lambda *_: None, condition))
d.set_break(LOOPS, 6)
d.runcall(loops.loop, 7)
served(1)
d.runcall(loops.loop, 7)
points()
"""
    same(tmp_path, body)


def test_a_generator_that_was_suspended(tmp_path):
    body = """
d = follow(Recorder("continue next next"))
g = loops.steps(6)
next(g)

def work():
    next(g)
    d.set_break(LOOPS, 12, cond="i == 3")
    return list(g), list(loops.steps(5))

d.set_break(LOOPS, 17)
print(d.runcall(work))
points()
"""
    same(tmp_path, body)


def test_code_that_no_import_brings(tmp_path):
    body = """
source = open(LOOPS).read()
d = follow(Recorder("continue next next"))
d.set_break(LOOPS, 6, cond="i == 2")
d.set_break(LOOPS, 22, cond="__name__ == 'text'")
d.set_break(LOOPS, 23, cond="True")
for _ in range(3):
    space = {"__name__": "text"}
    d.run(compile(source + "\\nprint(loop(4))", LOOPS, "exec"), space)
    d.runcall(space["loop"], 3)
    points()
"""
    same(tmp_path, body)


def test_code_of_another_text(tmp_path):
    body = """
source = "\\n\\ndef loop(n):\\n    for i in range(n):\\n        j = i\\n        k = j\\n"
d = follow(Recorder())
d.set_break(LOOPS, 6, cond="i == 2")
space = {}
exec(compile(source, LOOPS, "exec"), space)
d.runcall(space["loop"], 4)
d.runcall(loops.loop, 4)
points()
"""
    same(tmp_path, body)


def test_modules_that_are_imported_later(tmp_path):
    write(tmp_path, later="def run(n):\n    for i in range(n):\n        j = i\n    return j\n")
    body = """
d = follow(Recorder("continue next"))
d.set_break(os.path.abspath("later.py"), 3, cond="i == 2")
served(1)
d.run("import later; print(later.run(4))")
points()
"""
    same(tmp_path, body)


def test_several_debuggers(tmp_path):
    body = """
first, second, third = (follow(Recorder("continue next")) for _ in range(3))
first.set_break(LOOPS, 6, cond="i == 2")
second.set_break(LOOPS, 17, cond="n == 1")
served(1, 2)
first.runcall(loops.loop, 4)
second.runcall(loops.loop, 4)
second.runcall(loops.nest, 4)
first.runcall(loops.nest, 4)
third.runcall(loops.nest, 4)
points()
if INTEGRATE:
    from dapper.bdb_integration import release
    release(first)
    served(2)
    release(third)
second.runcall(loops.nest, 4)
first.runcall(loops.loop, 4)
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("script", ["", "continue step step step step", "step step step step step"])
@pytest.mark.parametrize("recorder", ["Recorder", "Teller"])
@pytest.mark.parametrize("condition", ["n.same", "n == 3", "n == 4", "[n == 3]"])
def test_a_condition_that_calls_code_with_breakpoints(tmp_path, script, recorder, condition):
    write(tmp_path, equal=EQUAL)
    body = f"""
import equal
EQUAL = os.path.abspath("equal.py")
d = follow({recorder}({script!r}))
d.set_break(LOOPS, 17, cond={condition!r})
d.set_break(EQUAL, 3)
d.set_break(EQUAL, 10)
d.runcall(loops.nest, equal.Equal())
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("condition", ["n.same", "n == 3", "n == 4"])
@pytest.mark.parametrize("inner", ["other == 3", "other", "nosuch"])
def test_a_condition_that_calls_code_with_conditions(tmp_path, condition, inner):
    write(tmp_path, equal=EQUAL)
    body = f"""
import equal
EQUAL = os.path.abspath("equal.py")
d = follow(Doer())
d.set_break(LOOPS, 17, cond={condition!r})
d.set_break(LOOPS, 15, cond="n == 5")
d.set_break(EQUAL, 3, cond={inner!r})
d.set_break(EQUAL, 5, cond="other == 3")
d.set_break(EQUAL, 10, cond="self")
served(1, 2, 3, 4, 5)
def work():
    value = equal.Equal()
    for _ in range(2):
        loops.nest(value)
        value == 3
        value.same
        loops.nest(2)
d.runcall(work)
points()
"""
    same(tmp_path, body)


def test_a_pass_that_begins_while_another_thread_has_its_probes_act(tmp_path):
    write(tmp_path, gated="def turn(o, gate):\n    gate()\n    a = o\n    return a\n")
    body = """
import gated
GATED = os.path.abspath("gated.py")
steps = [threading.Semaphore(0) for _ in range(4)]

class Waits:
    flag = False

class WaitsOnce:
    waits = [1]
    @property
    def flag(self):
        # At its line event: meanwhile the probes of the line are woken.
        if self.waits:
            self.waits.pop()
            steps[2].release()
            steps[3].acquire()
        return False

def gate():
    steps[0].release()
    steps[1].acquire()

def traced():
    sys.settrace(d.trace_dispatch)
    gated.turn(WaitsOnce(), gate)

d = follow(Doer())
d.set_break(GATED, 3, cond="o.flag")

def work():
    gated.turn(Waits(), bool)
    thread = threading.Thread(target=traced)
    thread.start()
    steps[0].acquire()
    # Until its first line is known, each line of the function is an event.
    d.set_break(GATED, 1, funcname="turn")
    steps[1].release()
    steps[2].acquire()
    gated.turn(Waits(), bool)
    steps[3].release()
    thread.join()

d.runcall(work)
points()
"""
    assert "3 3 0 True" in same(tmp_path, body)


def test_nothing_is_left_behind(tmp_path):
    write(tmp_path, loops=LOOPS)
    body = """
from dapper import _engine, hooks
from dapper.bdb_integration import integrate, release
code = loops.loop.__code__
for turn in range(20):
    d = Recorder()
    integrate(d)
    d.set_break(LOOPS, 6, cond="i == 1")
    served(1)
    d.runcall(loops.loop, 3)
    point = bdb.Breakpoint.bpbynumber[1]
    if turn % 2:
        d.clear_all_breaks()
        assert hooks.installed() == [] or not hasattr(sys, "monitoring")
    release(d)
    assert type(point) is bdb.Breakpoint and point.hits == 3, vars(point)
    assert sorted(vars(point)) == sorted(vars(bdb.Breakpoint(LOOPS, 6))), vars(point)
    bdb.Breakpoint.clearBreakpoints()
assert loops.loop.__code__ is code
assert _engine.is_idle() and _engine.breakpoints() == []
assert sys.gettrace() is None and hooks.installed() == []
if hasattr(sys, "monitoring"):
    assert [sys.monitoring.get_tool(tool) for tool in range(6)] == [None] * 6
"""
    told(tmp_path, HELPERS + body, integrated=True)


def test_a_session_of_the_engine_beside_it(tmp_path):
    write(tmp_path, loops=LOOPS)
    body = """
import dapper
d = follow(Recorder())
d.set_break(LOOPS, 6, cond="i == 1")
counted = []
with_session = dapper.start()
dapper.add_breakpoint(LOOPS, 6, kind="count")
assert len(_engine.breakpoints()) == (1 if hasattr(sys, "monitoring") else 2)
d.runcall(loops.loop, 3)
dapper.stop()
d.runcall(loops.loop, 3)
points()
"""
    out = told(tmp_path, HELPERS + "from dapper import _engine\n" + body, integrated=True)
    assert out.count("line loops.py loop 6") == 2
    assert out.endswith("6 6 0 True\n")


def test_a_condition_of_the_engine_on_the_same_line(tmp_path):
    body = """
d = follow(Recorder("continue continue step step step continue"))
d.set_break(LOOPS, 6)
if INTEGRATE:
    import dapper
    dapper.start()
    counts = dapper.add_breakpoint(LOOPS, 6, kind="count", condition="i > 1 or False")
d.runcall(loops.loop, 4)
points()
if INTEGRATE:
    assert counts.hits == 2, counts.hits
    dapper.stop()
"""
    assert "line loops.py loop 6" in same(tmp_path, body)
