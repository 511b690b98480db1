"""The command line of `dapper run`: options, what is wrong with them, and how it starts."""

from __future__ import annotations

import os

import pytest
from tests.launch import ROOT, dapper_run, events, python, write

MODULE = "def f(x):\n    y = x\n    return y\n\nprint(f(1), f(2))\n"


@pytest.fixture
def app(tmp_path):
    write(tmp_path, app=MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--break", "app.py", "app.py"], "--break app.py: expected FILE:LINE"),
        (["--break", "app.py:0", "app.py"], "line 0 does not exist"),
        (["--break", "app.py:x", "app.py"], '"x" is not a line number'),
        (["--break", "app.py:-1", "app.py"], '"-1" is not a line number'),
        (["--count", "nothing.py:1", "app.py"], "cannot find nothing.py"),
        (["--count", ".:1", "app.py"], ". is not a file"),
        (["--count", ":1", "app.py"], "the file is missing"),
        (["--log", "app.py:1", "app.py"], "expected FILE:LINE=TEXT"),
        (["--log", "app.py=1:x", "app.py"], "expected FILE:LINE=TEXT"),
        (["--every-line", "[", "app.py"], "--every-line: bad pattern"),
        (["--breakpoints", "nothing.toml", "app.py"], "nothing.toml"),
        (["--breakpoints", "bad.toml", "app.py"], "bad.toml"),
        (["--breakpoints", "absent.toml", "app.py"], "absent.toml: cannot find"),
        (["--events", "no/such/folder/e", "app.py"], "cannot write --events no/such/folder/e"),
        ([], "no program"),
        (["-m"], "-m needs the name of a module"),
        (["-c"], "-c needs code"),
        (["--brake", "app.py:1", "app.py"], "--brake"),
    ],
)
def test_wrong_use_is_named(app, options, message):
    (app / "bad.toml").write_text("[[breakpoint]]\nfile = 'app.py'\nline = 2\nlime = 3\n")
    (app / "absent.toml").write_text("[[breakpoint]]\nfile = 'gone.py'\nline = 2\n")
    run = dapper_run(*options, cwd=app)
    assert run.status == 2
    assert run.out == ""
    assert message in run.err
    assert "Traceback" not in run.err


def test_help_has_examples(app):
    run = dapper_run("--help", cwd=app)
    assert run.status == 0
    assert "Examples:" in run.out
    assert "standard error" in run.out


def test_kinds(app):
    options = ["--log", "app.py:2=a=b: {{c}}", "--count", "app.py:3"]
    run = dapper_run(*options, "app.py", cwd=app)
    assert run.out == "1 2\n"
    first, second, count = run.err.splitlines()
    assert first == second == "a=b: {c}"
    assert count.endswith("app.py:3 was hit 2 times")


def test_a_breakpoint_file(app):
    (app / "points.toml").write_text(
        '[[breakpoint]]\nfile = "app.py"\nline = 2\nkind = "log"\nmessage = "here"\n'
        '[[breakpoint]]\nfile = "app.py"\nline = 3\nkind = "count"\n'
    )
    run = dapper_run("--breakpoints", "points.toml", "app.py", cwd=app)
    assert run.err.splitlines()[:2] == ["here", "here"]
    assert run.err.endswith("app.py:3 was hit 2 times\n")


def test_the_record_of_hits(app):
    (app / "e.jsonl").write_text("something old\n")
    options = ["--break", "app.py:2", "--log", "app.py:3=done", "--count", "app.py:99"]
    run = dapper_run(*options, "--events", "e.jsonl", "app.py", cwd=app)
    assert (run.status, run.out, run.err) == (0, "1 2\n", "")
    rows = events(app / "e.jsonl")
    file = str(app / "app.py")
    assert rows[0] == {
        "event": "hit",
        "file": file,
        "line": 2,
        "function": "f",
        "hits": 1,
        "kind": "stop",
        "tier": "entry",
        "message": None,
    }
    shown = [(row["line"], row["hits"], row["kind"], row["message"]) for row in rows[:4]]
    assert shown == [
        (2, 1, "stop", None),
        (3, 1, "log", "done"),
        (2, 2, "stop", None),
        (3, 2, "log", "done"),
    ]
    ends = {row["requested_line"]: row for row in rows[4:]}
    assert [row["event"] for row in rows[4:]] == ["breakpoint"] * 3
    assert (ends[2]["verified"], ends[2]["hits"], ends[2]["tier"]) == (True, 2, "entry")
    assert (ends[99]["verified"], ends[99]["tier"]) == (False, None)


def test_the_record_may_go_to_standard_output(app):
    run = dapper_run("--count", "app.py:2", "--events", "-", "app.py", cwd=app)
    lines = run.out.splitlines()
    assert lines.count("1 2") == 1
    assert sum('"event":"hit"' in line for line in lines) == 2


def test_a_record_that_cannot_be_written_is_told(app):
    run = dapper_run("--count", "app.py:2", "--events", "/dev/full", "app.py", cwd=app)
    assert (run.status, run.out) == (0, "1 2\n")
    assert "events could not be written" in run.err


def test_standard_input_is_the_programs(app):
    write(app, read="import sys\nprint(sys.stdin.read().upper())\n")
    run = dapper_run("--count", "read.py:2", "read.py", cwd=app, stdin="text")
    assert run.out == "TEXT\n"


def test_interpreter_options_are_passed_on(app):
    shown = "sys.flags, sys._xoptions, sys.warnoptions, sys.stdout.write_through"
    write(app, flags=f"import sys\nprint({shown})\n")
    flags = ["-O", "-u", "-X", "utf8", "-W", "error"]
    plain = python(*flags, "flags.py", cwd=app)
    run = python(*flags, "-m", "dapper", "run", "--count", "flags.py:2", "flags.py", cwd=app)
    assert (run.status, run.out) == (0, plain.out)


def test_the_environment_of_children_reaches_them(app):
    write(app, parent="import subprocess, sys\nsubprocess.run([sys.executable, 'app.py'])\n")
    run = dapper_run("--count", "app.py:2", "--events", "e.jsonl", "parent.py", cwd=app)
    assert run.out == "1 2\n"
    rows = [row for row in events(app / "e.jsonl") if row["event"] == "breakpoint"]
    assert sorted(row["hits"] for row in rows) == [0, 2]


def test_a_sitecustomize_of_the_users_runs_too(app):
    folder = app / "custom"
    write(folder, sitecustomize="import sys\nsys.customized = True\n")
    write(
        app, look="import sys\nprint(sys.customized, [p for p in sys.path if 'bootstrap' in p])\n"
    )
    path = os.pathsep.join([str(ROOT / "python"), str(folder)])
    run = dapper_run("--count", "look.py:2", "look.py", cwd=app, PYTHONPATH=path)
    assert (run.status, run.out) == (0, "True []\n"), run.err


def test_a_program_without_environment_is_refused(app):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'python')!r});"
        "sys.argv[1:] = ['run', 'app.py']; from dapper.__main__ import main; sys.exit(main())"
    )
    run = python("-E", "-c", code, cwd=app)
    assert run.status == 2
    assert "cannot reach a program run with -E or -I" in run.err


def test_many_breakpoints_go_through_a_file(app):
    write(app, big="".join(f"x{i} = {i}\n" for i in range(4000)))
    rows = (
        f'[[breakpoint]]\nfile = "big.py"\nline = {i}\nkind = "count"\n' for i in range(1, 4001)
    )
    (app / "many.toml").write_text("".join(rows))
    options = ["--breakpoints", "many.toml", "--events", "e.jsonl"]
    run = dapper_run(*options, "big.py", cwd=app)
    assert (run.status, run.err) == (0, "")
    assert len(events(app / "e.jsonl")) == 8000
