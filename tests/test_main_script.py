"""`python script.py`, `-c` and standard input: the code that no loader loads."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from tests.launch import dapper_run, environment, events, hits, python, write

SCRIPT = """\
import sys

def f(n):
    total = 0
    for i in range(n):
        total += i
    return total

class A:
    x = [f(i) for i in range(2)]

print(__name__, __file__, sys.argv, __builtins__ is not None, __spec__, sys.path[0])
"""


def test_a_script_is_what_it_is_without(tmp_path):
    write(tmp_path, app=SCRIPT)
    plain = python("app.py", "a", "--b", cwd=tmp_path)
    run = dapper_run("--count", "app.py:6", "app.py", "a", "--b", cwd=tmp_path)
    assert (run.status, run.out) == (plain.status, plain.out)
    assert "app.py:6 was hit 1 times" in run.err


def test_every_line_of_a_script_is_met_in_order(tmp_path):
    write(tmp_path, app="def f(x):\n    return x\n\nfor i in range(2):\n    f(i)\n")
    run = dapper_run("--every-line", "app.py", "--events", "e.jsonl", "app.py", cwd=tmp_path)
    assert run.status == 0, run.err
    expected = [1, 4, 5, 2, 4, 5, 2, 4]
    assert [line for _, line in hits(tmp_path / "e.jsonl")] == expected
    assert {row["tier"] for row in events(tmp_path / "e.jsonl")} == {"entry"}


def test_code_and_standard_input(tmp_path):
    code = "import sys\nprint(sys.argv)"
    plain = python("-c", code, "x", cwd=tmp_path)
    run = dapper_run("--count", "<string>:2", "-c", code, "x", cwd=tmp_path)
    assert (run.status, run.out) == (0, plain.out)
    assert "<string>:2 was hit 1 times" in run.err
    plain = python("-", "x", cwd=tmp_path, stdin=code)
    run = dapper_run("--count", "<stdin>:2", "-", "x", cwd=tmp_path, stdin=code)
    assert (run.status, run.out) == (0, plain.out)
    assert "<stdin>:2 was hit 1 times" in run.err


@pytest.mark.parametrize(
    "ending",
    [
        "sys.exit(7)",
        "sys.exit('bye')",
        "raise SystemExit",
        "1 / 0",
        "raise KeyboardInterrupt",
        "import os; os._exit(9)",
        "def f(x):\n    return x.a + f(x)\nf(1)",
    ],
)
def test_the_end_of_a_program_is_its_own(tmp_path, ending):
    write(tmp_path, app=f"import sys\nprint('out', flush=True)\n{ending}\n")
    plain = python("app.py", cwd=tmp_path)
    run = dapper_run("--every-line", "app.py", "app.py", cwd=tmp_path)
    assert run == plain


def test_hits_before_an_abrupt_exit_are_recorded(tmp_path):
    write(tmp_path, app="import os\nx = 1\nos._exit(4)\n")
    run = dapper_run("--count", "app.py:2", "--events", "e.jsonl", "app.py", cwd=tmp_path)
    assert run.status == 4
    rows = events(tmp_path / "e.jsonl")
    assert [row["event"] for row in rows] == ["hit", "breakpoint"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_arrive(tmp_path, number):
    write(tmp_path, app="import time\nprint('ready', flush=True)\ntime.sleep(30)\n")

    def status(*command: str) -> int:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(DAPPER_CACHE_DIR=str(tmp_path / "store")),
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.05)
            process.send_signal(number)
            return process.wait(30)

    plain = status("app.py")
    assert status("-m", "dapper", "run", "--count", "app.py:2", "app.py") == plain


def test_a_traceback_shows_the_original(tmp_path):
    write(tmp_path, app="def f(x):\n    return (x.a +\n            x.b.c(1))\n\nprint(f(3))\n")
    plain = python("app.py", cwd=tmp_path)
    run = dapper_run("--every-line", "app.py", "app.py", cwd=tmp_path)
    assert run == plain
    assert "AttributeError" in run.err


def test_functions_of_main_pickle_by_reference(tmp_path):
    write(
        tmp_path,
        app="import pickle\ndef f():\n    return 5\nprint(pickle.loads(pickle.dumps(f))())\n",
    )
    run = dapper_run("--count", "app.py:3", "app.py", cwd=tmp_path)
    assert (run.status, run.out) == (0, "5\n")
    assert "app.py:3 was hit 1 times" in run.err


def test_spawned_children_have_breakpoints(tmp_path):
    app = """\
import multiprocessing

def work(x):
    return x + 1

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(work, [1, 2, 3]))
"""
    write(tmp_path, app=app)
    run = dapper_run("--count", "app.py:4", "--events", "e.jsonl", "app.py", cwd=tmp_path)
    assert (run.status, run.out) == (0, "[2, 3, 4]\n"), run.err
    assert hits(tmp_path / "e.jsonl") == [("work", 4)] * 3


def test_forked_children_write_nothing_twice(tmp_path):
    app = """\
import os

def work(x):
    return x

work(0)
child = os.fork()
if child == 0:
    work(1)
    os._exit(0)
os.waitpid(child, 0)
"""
    write(tmp_path, app=app)
    run = dapper_run("--count", "app.py:4", "--events", "e.jsonl", "app.py", cwd=tmp_path)
    assert run.status == 0, run.err
    assert hits(tmp_path / "e.jsonl") == [("work", 4)] * 2
    ends = [row for row in events(tmp_path / "e.jsonl") if row["event"] == "breakpoint"]
    assert [row["hits"] for row in ends] == [1, 1]


def test_a_deeper_variant_gets_its_room(tmp_path):
    # A module whose own stack is one slot deep grows by its probes.
    write(tmp_path, app="\n".join(f"x{i} = {i}" for i in range(300)) + "\nprint(x299)\n")
    run = dapper_run("--every-line", "app.py", "app.py", cwd=tmp_path)
    assert (run.status, run.out, run.err) == (0, "299\n", "")


def test_a_folder_as_program(tmp_path):
    write(tmp_path, tool____main__="print(__name__)\n")
    (tmp_path / "tool" / "__main__.py").write_text("print(__name__)\n")
    run = dapper_run("--count", "tool/__main__.py:1", "tool", cwd=tmp_path)
    assert (run.status, run.out) == (0, "__main__\n")
    assert "was hit 1 times" in run.err
