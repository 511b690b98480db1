"""Stops: the prompt is pdb's, on the frame of the program, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.launch import dapper_run, python, write

APP = """\
import sys

def callee(x):
    y = x + 1
    return y

def caller(n):
    total = 0
    for i in range(n):
        total += callee(i)
    return total

print(caller(3), sys.gettrace())
"""


@pytest.fixture
def app(tmp_path):
    write(tmp_path, app=APP)
    return tmp_path


def stops(text: str) -> list[int]:
    """The line numbers of the stops that a prompt showed."""
    found = []
    for line in text.splitlines():
        _, arrow, place = line.partition("> ")
        if arrow and "app.py(" in place:
            found.append(int(place.split("app.py(")[1].split(")")[0]))
    return found


def stops_of_pdb(app: Path, points: list[int], commands: str) -> list[int]:
    """Where pdb itself stops, with its own breakpoints, until the program ends."""
    options = [word for line in points for word in ("-c", f"break app.py:{line}")]
    run = python("-m", "pdb", *options, "-c", "continue", "app.py", cwd=app, stdin=commands)
    until_the_end, _, _ = run.out.partition("The program finished")
    found = stops(until_the_end)
    return found[1:] if found[:1] == [1] else found


@pytest.mark.parametrize(
    ("points", "commands"),
    [
        ([4], ""),
        ([4], "n n n"),
        ([4], "n c n c n"),
        ([4], "r n"),
        ([4], "unt unt"),
        ([4], "u d n"),
        ([5], "s s s s"),
        ([9], "n n n n n"),
        ([10], "n n n"),
        ([10], "s s s s s s s"),
        ([10], "s r n s n"),
        ([4, 10], "n n n"),
        ([4, 10], "s s n n n"),
        ([9, 10], "n n s n n n"),
        ([3, 4, 5], "n n n n n n"),
        ([11], "n n"),
        ([13], "s n n n n n"),
    ],
    ids=str,
)
def test_stepping_stops_where_pdb_stops(app, points, commands):
    options = [word for line in points for word in ("--break", f"app.py:{line}")]
    stdin = "\n".join([*commands.split(), *"c" * 20]) + "\n"
    run = dapper_run(*options, "app.py", cwd=app, stdin=stdin)
    assert stops(run.out) == stops_of_pdb(app, points, stdin), run.out
    assert run.status == 0


def test_a_step_in_a_caller_stops_in_the_caller(app):
    # pdb of 3.14 misses this one: it does not trace the caller of a function with a breakpoint.
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin="u\nn\nn\nc\nc\n")
    assert stops(run.out) == [4, 10, 9, 10, 4, 4]


def test_nothing_traces_after_continue(app):
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin="n\nn\nc\nc\nc\n")
    assert run.out.endswith("6 None\n")


def test_values_can_be_read_and_changed(app):
    stdin = "p x, total\nup\np total, i\ndown\nx = 40\nc\nc\nc\n"
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin=stdin)
    assert "NameError" in run.out
    assert "(0, 0)" in run.out
    assert run.out.endswith("46 None\n"), run.out


@pytest.mark.parametrize("end", ["q\n", "exit\n", ""])
def test_quitting_ends_the_program(app, end):
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin=end)
    assert run.status == 1
    assert "Traceback" not in run.err
    assert "None" not in run.out


def test_quitting_while_stepping_ends_the_program(app):
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin="n\nn\nq\n")
    assert run.status == 1
    assert "Traceback" not in run.err


def test_code_called_from_the_prompt_does_not_stop(app):
    run = dapper_run("--break", "app.py:4", "app.py", cwd=app, stdin="p callee(5)\nc\nc\nc\n")
    assert stops(run.out) == [4, 4, 4]
    assert "(Pdb) 6" in run.out


def test_a_breakpoint_of_pdbs_own(app):
    run = dapper_run("--break", "app.py:8", "app.py", cwd=app, stdin="b 11\nc\np total\nc\n")
    assert stops(run.out) == [8, 11]
    assert "(Pdb) 6" in run.out


def test_a_stop_in_an_imported_module_shows_its_callers(app):
    write(app, app="import mod\nmod.f(3)\n", mod="def f(x):\n    return x\n")
    run = dapper_run("--break", "mod.py:2", "app.py", cwd=app, stdin="w\nc\n")
    assert "app.py(2)<module>()" in run.out
    assert "dapper" not in run.out.replace(str(app), "")
    assert "importlib" not in run.out
