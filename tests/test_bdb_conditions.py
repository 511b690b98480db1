"""Conditions that are compiled into the line mean to a debugger what they mean to `bdb`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.launch import write
from tests.test_bdb import assert_same

LOOPS = """\
import threading

def loop(n):
    total = 0
    for i in range(n):
        total += i
        total += 1
    return total

def steps(n):
    for i in range(n):
        yield i * 2

def nest(n):
    if n:
        nest(n - 1)
    return n

def one(x): return x + 1

class Odd:
    __seen = 3
    def __init__(self, value):
        self.value = value
    def add(self, other):
        name = "odd"
        return self.value + other

def caught(n, total=0):
    try:
        for i in range(n):
            total = 10 // (n - i)
            i = i
    finally:
        print("left", i)

def cells(n):
    found = []
    def inner(x):
        found.append(x)
        return n
    for i in range(n):
        inner(i)
    return found

def cleans(n):
    return [
        i
        for i in range(n)
    ]

def stacked(*names):
    total = 0
    for name in names:
        total += len(name); total += 1
    while total: total -= 1
    return total
"""

EQUAL = """\
class Equal:
    def __eq__(self, other):
        if other == 4:
            raise ValueError
        return bool(
            other
        )
    @property
    def same(self):
        return self == 3
    def __bool__(self):
        return False
    def __repr__(self):
        return "equal"
"""

# Which breakpoints the engine serves is told apart from what is compared.
HELPERS = """
import loops

LOOPS = os.path.abspath("loops.py")

def served(*numbers):
    if INTEGRATE and hasattr(sys, "monitoring"):
        points = enumerate(bdb.Breakpoint.bpbynumber)
        found = [n for n, point in points if point and type(point) is not bdb.Breakpoint]
        assert found == list(numbers), found

class Doer(Recorder):
    # Does what a function is to do at the stop with that number, and goes on.
    def __init__(self, *todo, **options):
        super().__init__(**options)
        self.todo = dict(enumerate(todo, 1))
        self.count = 0

    def user_line(self, frame):
        name = os.path.basename(frame.f_code.co_filename)
        found = sorted(frame.f_locals.items(), key=str)[:3] if name == "loops.py" else ""
        print("line", name, frame.f_code.co_name, frame.f_lineno, found)
        self.set_continue()
        self.count += 1
        if self.count in self.todo:
            self.todo[self.count](self, frame)

"""


def same(folder: Path, body: str) -> str:
    write(folder, loops=LOOPS)
    return assert_same(folder, HELPERS + body)


@pytest.mark.parametrize(
    ("line", "condition", "call"),
    [
        (6, "i == 3", "loop(6)"),
        (6, "i % 2", "loop(6)"),
        (6, "nosuch", "loop(3)"),
        (6, "i / (i - 1) > 5", "loop(4)"),
        (6, "0", "loop(4)"),
        (6, "i == 2  # only then", "loop(4)"),
        (6, " \t i == 2", "loop(4)"),
        (6, "i == (", "loop(2)"),
        (6, "i\n== 1", "loop(2)"),
        (6, "total > 3 and i < 4 or len(str(total)) > 2", "loop(6)"),
        (6, "i, total", "loop(2)"),
        (6, "[v for v in (1, 2) if v == i]", "loop(4)"),
        (6, "(seen := i) == 1", "loop(3)"),
        (6, "(lambda: i)() == 1", "loop(3)"),
        (6, "print(i)", "loop(2)"),
        (6, "locals()['i'] == 1", "loop(3)"),
        (6, "threading is None", "loop(2)"),
        (5, "n == 3", "loop(3)"),
        (5, "i == 2", "loop(3)"),
        (8, "total", "loop(3)"),
        (12, "i == 1", "steps(3)"),
        (16, "n == 2", "nest(4)"),
        (17, "n == 2", "nest(4)"),
        (19, "x == 2", "one(2)"),
        (27, "self.value == 4 and other > 1", "Odd(4).add(2)"),
        (27, "self.__seen == 3", "Odd(4).add(2)"),
        (27, "self._Odd__seen == 3", "Odd(4).add(2)"),
        (27, "name == 'odd'", "Odd(4).add(2)"),
        (32, "i == 2", "caught(3)"),
        (43, "x == 1", "cells(3)"),
        (43, "n == 3 and found", "cells(3)"),
        (44, "len(found) == 1", "cells(3)"),
        (48, "i == 1", "cleans(3)"),
        (47, "n == 3", "cleans(3)"),
        (55, "len(name) > 1", "stacked('a', 'bc', 'def')"),
        (56, "total == 3", "stacked('a', 'bc')"),
    ],
)
def test_conditions(tmp_path, line, condition, call):
    body = f"""
d = follow(Recorder())
d.set_break(LOOPS, {line}, cond={condition!r})
d.run("got = loops.{call}; print(got and (got if type(got) in (int, list) else list(got)))")
points()
"""
    same(tmp_path, body)


def test_what_is_served(tmp_path):
    body = """
d = follow(Recorder())
conditions = ["i == 1", "i == v", "print(i)", "[i for i in ()]", None, "i.__x", "locals()"]
for line, condition in zip((6, 7, 8, 5, 4, 12, 15), conditions):
    d.set_break(LOOPS, line, cond=condition)
d.set_break(LOOPS, 17, cond="n")
d.set_break(LOOPS, 17, cond="n")
d.set_break(LOOPS, 16, cond="n", funcname="nest")
served(1, 2)
d.clear_bpbynumber(9)
served(1, 2, 8)
d.clear_all_breaks()
served()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("options", ["", ", temporary=True"])
@pytest.mark.parametrize("condition", ["i % 2", "nosuch", "i == 2"])
@pytest.mark.parametrize("ignore", [0, 1, 5])
def test_ignored_and_temporary(tmp_path, options, condition, ignore):
    body = f"""
d = follow(Recorder())
d.set_break(LOOPS, 6, cond={condition!r}{options})
bdb.Breakpoint.bpbynumber[1].ignore = {ignore}
d.runcall(loops.loop, 6)
points()
d.runcall(loops.loop, 6)
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize(
    "script",
    [
        "continue next next next continue",
        "continue step step step step continue",
        "continue until until until until continue",
        "continue return next continue",
        "continue jump=7 next next next continue",
        "continue jump=4 next next next next next continue",
        "continue jump=6 next next next continue",
        "continue jump=5 next next next continue",
        "continue jump=8 next continue",
        "continue jump=60 next continue",
        "continue next next jump=6 next continue",
        "next next next next next next next next next continue",
        "next next next jump=6 next next next continue",
        "step step step step step step step step continue",
        "step step step step jump=6 continue continue",
        "continue up next continue",
        "continue quit",
        "continue next quit",
    ],
)
@pytest.mark.parametrize("condition", ["i == 2", "i", "nosuch", "i < 0"])
def test_what_follows_a_stop(tmp_path, script, condition):
    body = f"""
d = follow(Recorder({script!r}))
d.set_break(LOOPS, 6, cond={condition!r})
served(1)
d.run("loops.loop(4)\\nloops.loop(3)")
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("condition", ["i == 1", "nosuch"])
@pytest.mark.parametrize(
    "script", ["continue quit", "continue jump=33 next next next", "continue next quit"]
)
def test_handlers_run_when_a_stop_ends_the_program(tmp_path, script, condition):
    body = f"""
d = follow(Recorder({script!r}))
d.set_break(LOOPS, 32, cond={condition!r})
d.runcall(lambda: loops.caught(3))
points()
"""
    assert "left" in same(tmp_path, body)
