"""`python -m dapper.pdb`: every session is, byte for byte, that of `python -m pdb`."""

from __future__ import annotations

import re
import sys

import pytest
from tests.debugging import run
from tests.launch import python, write

APP = """\
import asyncio
import contextlib
import threading

def generate(n):
    for i in range(n):
        x = yield i
    return "done"

def delegate(n):
    r = yield from generate(n)
    yield r

def raises(k):
    if k == 2:
        raise ValueError(k)
    return k

def catches(n):
    out = []
    for k in range(n):
        try:
            out.append(raises(k))
        except ValueError as e:
            out.append(str(e))
        finally:
            out.append(-1)
    return out

@contextlib.contextmanager
def context():
    yield 5

async def leaf(x):
    await asyncio.sleep(0)
    return x + 1

async def root():
    total = 0
    for i in range(2):
        total += await leaf(i)
    return total

def worker(out):
    out.append(raises(1))

def factorial(n):
    if n < 2:
        return 1
    return n * factorial(n - 1)

def main():
    print(list(delegate(2)))
    print(catches(3))
    with context() as c:
        print(c)
    print(asyncio.run(root()))
    box = []
    t = threading.Thread(target=worker, args=(box,))
    t.start(); t.join()
    print(box, [raises(q) for q in (0, 1)])
    import mod
    print(mod.area(2, 3), mod.Box(4).double)
    print(factorial(4))
    i = 0
    while i < 3: i += 1
    s = sum(v for v in range(3))
    return i + s

print(main())
"""

MODULE = '''\
"""Imported late."""
def area(w, h):
    result = w * h
    return result

class Box:
    size = 3
    def __init__(self, n):
        self.n = n
    @property
    def double(self):
        return self.n * 2
'''

SESSIONS = {
    "a breakpoint": "b 14\nc\nw\np k\nc\nc\nq",
    "a condition": "b 17, k == 1\nc\np k\nc\np k\nc\nc",
    "a condition that fails": "b 17, nosuch\nc\nc\nc\nq",
    "a condition that is set later": "b 17\ncondition 1 k == 1\nc\np k\nb\nc\nc",
    "a temporary breakpoint": "tbreak 17\nc\nb\nc\nc",
    "a temporary breakpoint with a condition": "tbreak 17, k == 1\nc\nb\nc\nc",
    "an ignore count": "b 17\nignore 1 2\nc\np k\nb\nc\nc",
    "disable and enable": "b 14\nb 21\ndisable 1\nc\nenable 1\nc\np k\ndisable 2\nc\nc",
    "clear": "b 14\nb 21\nc\ncl 1\nc\nc",
    "commands": "b 14\ncommands 1\nsilent\np k\nc\nend\nb 28\nc\nc\nc",
    "commands that prompt": "b 14\ncommands 1\np k\nend\nc\nn\nc\nq",
    "commands that set breakpoints": "b 14\ncommands 1\ntbreak 28\nc\nend\nc\nw\nc\nc",
    "a function": "b raises\nc\nc\nc\nb\nq",
    "a function of one line": "b context\nc\nn\nn\nc\nq",
    "a generator": "b generate\nc\nn\nn\nn\nn\nn\nn\nc",
    "a def line": "b 14\nb 5\nc\nc\nc\nq",
    "next": "b 54\nc\nn\nn\nn\nn\nn\nn\nn\nn\nn\nc",
    "next over a breakpoint": "b 54\nb 17\nc\nn\nn\nn\nn\nn\nn\nn\nc\nc",
    "next out of a function": "b 17\nc\nn\nn\nn\nn\nn\nn\nn\nn\nc\nc\nq",
    "next over a yield": "b 7\nc\nn\nn\nn\nn\nn\nn\nc\nc",
    "next over an await": "b 41\nc\nn\nn\nn\nn\nn\nn\nc\nc",
    "next over an exception": "b 23\nc\nn\nn\nn\nn\nn\nn\nn\nn\nn\nn\nn\nn\nc\nq",
    "step": "b 57\nc\ns\ns\ns\ns\ns\ns\ns\nc\nq",
    "step into a generator": "b 53\nc\ns\ns\ns\ns\ns\ns\ns\nc\nq",
    "step out at the end": "b 17\nc\ns\ns\ns\ns\ns\nc\nq",
    "until": "b 21\nc\nunt\nunt\nunt\nunt\nunt\nunt\nunt\nunt 28\nc\nq",
    "return": "b 14\nc\nr\nr\nn\nr\nc\nc\nq",
    "return from a generator": "b 7\nc\nr\nn\nr\nc\nc\nq",
    "return through breakpoints": "b 21\nb 17\nc\nr\nr\nr\nr\nc\nc\nq",
    "jump": "b 17\nc\nj 15\nn\nc\nb 54\nc\nj 67\nn\nq",
    "jump that cannot be": "b 23\nc\nj 60\nj 1\nn\nc\nq",
    "up and next": "b 17\nc\nu\np out\nn\nn\nn\nc\nq",
    "up, down and until": "b 17\nc\nu\nu\nd\nunt\nunt\nc\nq",
    "display": "b 17\nc\ndisplay k\nc\nn\nc\nc\nq",
    "a change of a variable": "b 17\nc\nk = 40\nc\nk = 50\nc\nc",
    "a call at the prompt": "b 17\nc\np raises(1)\np catches(2)\nn\nc\nq",
    "a module that is imported later": "b mod.py:3\nc\nw\nn\nc\nb mod:12\nc\nc",
    "a class body that is imported later": "b mod.py:7\nc\nn\nn\nc\nq",
    "a function that is imported later": "b mod.area\nc\nb mod.py:12\nc\nn\nn\nc\nq",
    "recursion": "b 50\nc\nc\nc\nn\nn\nn\nn\nc\nc\nq",
    "recursion, one frame at a time": "b 48\nc\nn\nn\nc\nr\nr\nc\nq",
    "a coroutine": "b 35\nc\nn\nn\nn\nn\nc\nr\nn\nc\nq",
    "a thread is not traced": "b 45\nb 62\nc\nc\nc\nq",
    "a loop on one line": "b 66\nc\nc\nc\nn\nc\nq",
    "a generator expression": "b 67\nc\nc\nn\nn\nc\nq",
    "a breakpoint in a running function": "b 17\nc\nu\nb 28\nc\nc\nc\ncl 1\nc\nc\nq",
    "a breakpoint in the module": "b 70\nc\ns\nn\nc\nq",
    "a breakpoint on every line": "".join(f"b {n}\n" for n in range(5, 70)) + "c\n" * 60 + "q",
    "the program ends and starts again": "b 28\nc\nc\nc\nc\nc\nq",
    "restart": "b 14\nc\nn\nrestart\nc\nn\nrestart 1 2\nc\nc\nq",
    "debug": "b 28\nc\ndebug raises(1)\ns\ns\nn\nc\nc\nq",
    "quit while stepping": "b 14\nc\nn\nq",
    "no breakpoint": "c\nc\nq",
    "the end of input": "b 14\nc\nn",
}


@pytest.fixture
def app(tmp_path):
    write(tmp_path, app=APP, mod=MODULE)
    return tmp_path


@pytest.mark.parametrize("commands", SESSIONS.values(), ids=SESSIONS)
def test_a_session_is_that_of_pdb(app, commands):
    stdin = commands + "\n"
    ours = run("dapper.pdb", "app.py", cwd=app, stdin=stdin)
    ours.assert_same(run("pdb", "app.py", cwd=app, stdin=stdin))
    assert "(Pdb)" in ours.out


@pytest.mark.parametrize(
    "args",
    [
        ["-c", "b 14", "-c", "c", "-c", "p k", "-c", "q", "app.py"],
        ["-c", "until 54", "-c", "n", "-c", "q", "app.py", "some", "arguments"],
        ["-m", "app", "one", "two"],
        ["-m", "nosuch"],
        ["nosuch.py"],
        ["-m", "json.tool", "--help"],
    ],
    ids=str,
)
def test_the_command_line_is_that_of_pdb(app, args):
    stdin = "b mod.py:3\nimport sys\np sys.argv, __name__\np sys.path[0] == ''\nc\nw\nc\nq\n"
    ours = run("dapper.pdb", *args, cwd=app, stdin=stdin)
    stock = run("pdb", *args, cwd=app, stdin=stdin)
    # Some versions name the command in their usage.
    assert re.sub(r"-m dapper\.pdb", "-m pdb", ours.err) == stock.err
    assert re.sub(r"-m dapper\.pdb", "-m pdb", ours.out) == stock.out
    assert ours.status == stock.status


def test_the_start_file_is_read(app):
    (app / ".pdbrc").write_text("b 14\nalias pk p k * %1\nc\n")
    stdin = "pk 3\nc\npk 7\nq\n"
    ours = run("dapper.pdb", "app.py", cwd=app, stdin=stdin)
    ours.assert_same(run("pdb", "app.py", cwd=app, stdin=stdin))


@pytest.mark.parametrize(
    "program",
    [
        "def f(x):\n    y = x\n    return 1 / y\n\ndef g():\n    f(1)\n    f(0)\n\ng()\n",
        "import sys\ndef f():\n    sys.exit(3)\nf()\n",
        "def f(:\n",
        "def f():\n  try:\n    1 / 0\n  except Exception as e:\n    raise ValueError from e\nf()",
        "def f():\n    raise KeyboardInterrupt\nf()\n",
    ],
    ids=["error", "exit", "syntax error", "chain", "interrupt"],
)
def test_a_program_that_fails_is_seen_post_mortem(tmp_path, program):
    write(tmp_path, app=program)
    stdin = "b f\nc\nn\nn\nc\nw\nu\np 1\nc\nc\nq\n"
    ours = run("dapper.pdb", "app.py", cwd=tmp_path, stdin=stdin)
    ours.assert_same(run("pdb", "app.py", cwd=tmp_path, stdin=stdin))


def stops(text: str) -> list[str]:
    """Name the functions and lines of all stops in the program."""
    return re.findall(r"^(?:\(Pdb\) )?> .*app\.py\((\d+\)\w+)", text, re.MULTILINE)


def test_a_program_that_breaks_by_itself(tmp_path):
    text = "def f(x):\n    breakpoint()\n    y = x\n    return y\n\ndef g(x):\n    return f(x)\n\n"
    write(tmp_path, app=text + "for i in range(3):\n    g(i)\n")
    stdin = "b 4\nc\nc\nc\nc\nc\nc\nc\nq\n"
    ours = run("dapper.pdb", "app.py", cwd=tmp_path, stdin=stdin)
    stock = run("pdb", "app.py", cwd=tmp_path, stdin=stdin)
    # Later versions stop at the call of `breakpoint` itself, where nothing else is watched.
    mine, its = ([stop.replace("2)f", "3)f") for stop in stops(run.out)] for run in (ours, stock))
    assert mine == its
    assert stops(ours.out).count("4)f") == 3
    assert (ours.status, ours.err) == (stock.status, stock.err)


INTERRUPTED = """\
import os, signal

def work(n):
    for i in range(n):
        if i == 3:
            os.kill(os.getpid(), signal.SIGINT)
        last = i
    return last

print(work(5))
"""


def test_an_interrupt_stops(tmp_path):
    write(tmp_path, app=INTERRUPTED)
    # pdb itself stops in its own code at first, in some versions.
    ours = run("dapper.pdb", "app.py", cwd=tmp_path, stdin="b 8\nc\np i\nn\nn\nn\nc\nq\n")
    shown = [line for line in ours.out.splitlines() if "> " in line and "work()" in line]
    assert "Program interrupted." in ours.out
    assert [line.split("(")[-2].split(")")[0] for line in shown][-1] == "8", ours.out
    assert all("app.py" in line for line in shown)


TIMED = """\
import sys
import time

def callee(x):
    y = x + 1
    return y

def never(x):
    return callee(x)

def work(n):
    total = 0
    for i in range(n):
        total += callee(i)
    if total < 0:
        never(total)
    return total

print("tracing", sys.gettrace())
start = time.perf_counter()
work(100_000)
print("seconds", time.perf_counter() - start)
"""


def seconds(text: str) -> float:
    return float(text.split("seconds ")[1].split(maxsplit=1)[0])


@pytest.mark.parametrize("stdin", ["b 9\nb 16\nc\nq\n", "b 5, x == -1\nc\nq\n"], ids=str)
def test_nothing_traces_between_stops(tmp_path, stdin):
    write(tmp_path, app=TIMED)
    ours = run("dapper.pdb", "app.py", cwd=tmp_path, stdin=stdin)
    assert "tracing None" in ours.out
    plain = python("app.py", cwd=tmp_path)
    stock = run("pdb", "app.py", cwd=tmp_path, stdin=stdin)
    # Far apart, so that a busy machine does not matter.
    if "x == -1" in stdin:
        assert seconds(ours.out) < seconds(stock.out)
    else:
        assert seconds(ours.out) < 5 * seconds(plain.out)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="3.11 can only trace a frame's callees")
def test_next_does_not_trace_what_is_called(tmp_path):
    write(tmp_path, app=TIMED)
    ours = run("dapper.pdb", "app.py", cwd=tmp_path, stdin="b 9\nb 21\nc\nn\nn\nq\n")
    assert "> " in ours.out
    plain = python("app.py", cwd=tmp_path)
    assert seconds(ours.out) < 5 * seconds(plain.out)
