"""Breakpoints that come while frames of their code run or are suspended already."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.launch import write
from tests.test_bdb import assert_same

TURNS = """\
import asyncio

def loop(n, act=None):
    for i in range(n):
        a = i
        b = a
        if act and i == 1:
            act()
        c = b
    return n

def steps(n):
    for i in range(n):
        yield i
        a = i
        b = a
    return n

async def waits(n):
    for i in range(n):
        await asyncio.sleep(0)
        a = i
        b = a
    return n

async def gives(n):
    for i in range(n):
        yield i
        a = i
        b = a

async def takes(given, act):
    async for i in given:
        await act()

def nest(n):
    if n:
        nest(n - 1)
    a = n
    b = a
    return n

def other():
    return 1
"""

HELPERS = """
import turns

TURNS = os.path.abspath("turns.py")

class Setter(Recorder):
    # Changes breakpoints at the stop with that number, where the first is that of the run itself,
    # and goes on as the script says.
    def __init__(self, script="", **todo):
        super().__init__(script)
        self.todo = {int(key[1:]): value for key, value in todo.items()}
        self.count = 0

    def user_line(self, frame):
        self.count += 1
        if self.count in self.todo:
            print(self.todo[self.count](self), end=" ")
        super().user_line(frame)

def at(line, **options):
    return lambda d: d.set_break(TURNS, line, **options)

def out(line):
    return lambda d: d.clear_break(TURNS, line)

"""

# Of the function that is to be resumed, or of others.
CONDITIONS = ["", ", cond='i == 3'", ", temporary=True"]


def same(folder: Path, body: str) -> str:
    write(folder, turns=TURNS)
    return assert_same(folder, HELPERS + body)


@pytest.mark.parametrize("options", CONDITIONS)
@pytest.mark.parametrize(
    "script",
    ["", "continue next next next continue", "continue step step step", "continue return"],
)
def test_another_line_of_a_function_that_is_stopped(tmp_path, script, options):
    body = f"""
for line in 4, 5, 6, 9, 10:
    d = follow(Setter({script!r}, s2=at(line{options})))
    d.set_break(TURNS, 5)
    d.run("turns.loop(5)\\nturns.loop(2)")
    points()
    d.clear_all_breaks()
"""
    same(tmp_path, body)


def test_a_line_that_is_taken_out_and_set_again(tmp_path):
    body = """
d = follow(Setter(s2=at(6), s4=out(6), s5=at(9), s6=out(9), s7=at(6), s9=out(5)))
d.set_break(TURNS, 5)
d.run("turns.loop(7)\\nturns.loop(3)")
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("script", ["", "continue return next next continue"])
def test_callers_and_recursive_calls(tmp_path, script):
    body = f"""
d = follow(Setter({script!r}, s4=at(40), s5=at(41)))
d.set_break(TURNS, 39)
d.run("turns.nest(5)")
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("options", CONDITIONS)
@pytest.mark.parametrize("before", [14, 17, 44])
@pytest.mark.parametrize("script", ["", "continue next next next next continue"])
def test_a_suspended_generator(tmp_path, before, script, options):
    body = f"""
def work():
    started, fresh = turns.steps(5), turns.steps(2)
    next(started), next(started)
    turns.loop(2)
    turns.other()
    list(turns.steps(1))
    return list(started), list(fresh), list(turns.steps(2))

for line in 14, 15, 16, 17:
    d = follow(Setter({script!r}, s2=at(line{options})))
    d.set_break(TURNS, {before})
    print(d.runcall(work))
    points()
    d.clear_all_breaks()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("line", [21, 22, 23])
@pytest.mark.parametrize("before", [21, 24, 44])
def test_a_suspended_coroutine(tmp_path, before, line):
    body = f"""
import asyncio
d = follow(Setter(s2=at({line})))
d.set_break(TURNS, {before})

async def late():
    await asyncio.sleep(0)
    turns.other()
    return await turns.waits(2)

async def work():
    return await asyncio.gather(turns.waits(3), late(), turns.waits(2))

print(d.runcall(asyncio.run, work()))
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("line", [27, 28, 29, 30])
@pytest.mark.parametrize("before", [28, 44])
def test_a_suspended_asynchronous_generator(tmp_path, before, line):
    body = f"""
import asyncio
d = follow(Setter(s2=at({line})))
d.set_break(TURNS, {before})

async def act():
    turns.other()

async def work():
    given = turns.gives(4)
    await anext(given)
    await turns.takes(given, act)
    return [i async for i in turns.gives(2)]

print(d.runcall(asyncio.run, work()))
points()
"""
    same(tmp_path, body)


def test_a_generator_that_ends_while_it_is_awaited(tmp_path):
    body = """
d = follow(Setter(s2=at(15)))
d.set_break(TURNS, 44)

def work():
    generators = [turns.steps(3) for _ in range(3)]
    [next(it) for it in generators]
    turns.other()
    del generators[0]
    generators[0].close()
    print(list(generators.pop()))
    turns.loop(1)
    return list(turns.steps(1))

print(d.runcall(work))
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("options", CONDITIONS)
@pytest.mark.parametrize("before", [10, 17, 44])
@pytest.mark.parametrize("line", [5, 15, 16])
def test_a_breakpoint_that_the_program_sets(tmp_path, before, line, options):
    body = f"""
d = follow(Recorder("continue next next"))
d.set_break(TURNS, {before})

def work():
    g = turns.steps(6)
    next(g)
    turns.other()
    d.set_break(TURNS, {line}{options})
    turns.loop(2)
    return list(g), list(turns.steps(2)), turns.loop(2)

print(d.runcall(work))
turns.loop(2)
points()
"""
    same(tmp_path, body)


@pytest.mark.parametrize("before", [5, 10])
@pytest.mark.parametrize("line", [4, 9])
def test_a_breakpoint_that_the_function_sets_itself(tmp_path, before, line):
    body = f"""
d = follow(Recorder("continue next next"))
d.set_break(TURNS, {before})
print(d.runcall(turns.loop, 4, lambda: print(d.set_break(TURNS, {line}))))
turns.loop(2)
points()
"""
    same(tmp_path, body)
