"""Snapshots asked for on a command line, in a breakpoint file, and in a process nobody attends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.launch import ROOT, dapper_run, events, python, write

if TYPE_CHECKING:
    from pathlib import Path

APP = """\
def f(x):
    y = x
    return y

for n in range(6):
    f(n)
print("done")
"""

PATIENT = "time=20"


@pytest.fixture
def app(tmp_path):
    write(tmp_path, app=APP)
    return tmp_path


def test_snapshots_go_to_the_log(app):
    options = [
        *("--snapshot", "app.py:3", "--if", "x > 4", f"--capture={PATIENT},expr=(x, y),stack=1"),
        *("--log", "app.py:2=x={x}", "--capture", "--hit", "> 5"),
        *("--count", "app.py:3", f"--capture={PATIENT},locals=0", "--hit", "== 6"),
    ]
    run = dapper_run(*options, "--log-to", "jsonl:log.jsonl", "app.py", cwd=app)
    assert (run.status, run.out) == (0, "done\n")
    message, of_log, first, of_count = events(app / "log.jsonl")
    assert (message["message"], of_log["event"], of_log["hits"]) == ("x=5", "snapshot", 6)
    assert first["expressions"] == [{"expression": "(x, y)", "value": "(5, 5)"}]
    assert [frame["locals"] for frame in first["stack"]] == [{"x": "5", "y": "5"}]
    assert [frame["function"] for frame in of_count["stack"]] == ["f", "<module>"]
    assert not any("locals" in frame for frame in of_count["stack"])


def test_a_text_log_and_the_tail_of_a_json_log(app):
    snapshot = ["--snapshot", "app.py:3", "--hit", "2", f"--capture={PATIENT},expr=y + 1,expr=z"]
    run = dapper_run(*snapshot, "app.py", cwd=app)
    assert run.out == "done\n"
    place = f"{app / 'app.py'}:3 f"
    error = "NameError: name 'z' is not defined"
    assert run.err == f"snapshot {place}: y + 1=2 z=<error: {error}> x=1 y=1\n"
    dapper_run(*snapshot, "--log-to", "jsonl:log.jsonl", "app.py", cwd=app)
    run = python("-m", "dapper", "tail", "log.jsonl", cwd=app)
    first, *rest = run.out.splitlines()
    assert first.endswith(f"{place} [MainThread] snapshot of hit 2")
    assert rest[:6] == [
        "    y + 1 = 2",
        f"    z = <error: {error}>",
        f"  {place}",
        "    x = 1",
        "    y = 1",
        f"  {app / 'app.py'}:6 <module>",
    ]


def test_the_record_of_events_has_them(app):
    options = ["--break", "app.py:3", f"--capture={PATIENT},count=2"]
    options += ["--snapshot", "app.py:2", f"--capture={PATIENT}"]
    run = dapper_run(*options, "--events", "e.jsonl", "app.py", cwd=app)
    assert run.out == "done\n"
    rows = events(app / "e.jsonl")
    stops = [row["event"] for row in rows if row["line"] == 3 and row["event"] != "breakpoint"]
    assert stops == ["hit", "snapshot"] * 2 + ["hit"] * 4
    assert {row["kind"] for row in rows if row["event"] == "hit"} == {"stop", "snapshot"}
    figures = [row for row in rows if row["event"] == "breakpoint"]
    assert [(row["hits"], row["snapshots"]) for row in figures] == [(6, 2), (6, 6)]


def test_a_stop_records_and_stops(app):
    options = ["--break", "app.py:3", "--hit", "3", f"--capture={PATIENT},stack=1"]
    run = dapper_run(*options, "app.py", cwd=app, stdin="p 'at', y\nc\n")
    assert run.status == 0
    assert "('at', 2)" in run.out
    assert f"snapshot {app / 'app.py'}:3 f: x=2 y=2\n" in run.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--capture"], "--capture: put it after the --break, --log, --count or --snapshot"),
        (
            ["--count", "app.py:2", "--capture", "--capture=stack=1"],
            "--capture=stack=1: this breakpoint has a --capture already",
        ),
        (
            ["--count", "app.py:2", "--capture=stak=1"],
            '--capture=stak=1: "stak" is not an option of a capture: use stack, locals, depth,',
        ),
        (["--count", "app.py:2", "--capture=stack=x"], 'stack "x" is not a whole number'),
        (["--count", "app.py:2", "--capture=count=0"], "--count app.py:2: capture: a max_count"),
        (["--count", "app.py:2", "--capture=repr=odd"], '"safe" and "full"'),
        (
            ["--count", "app.py:2", "--capture=expr=x >"],
            '--count app.py:2: capture expression "x >" is no expression',
        ),
        (
            ["--purity", "require", "--snapshot", "app.py:2", "--capture=expr=f(1)"],
            'capture expression "f(1)" may have side effects',
        ),
    ],
)
def test_wrong_use_is_named(app, options, message):
    run = dapper_run(*options, "app.py", cwd=app)
    assert (run.status, run.out) == (2, "")
    assert message in run.err
    assert len(run.err.splitlines()) == 1


def test_a_breakpoint_file_has_captures(app):
    (app / "points.toml").write_text(
        '[[breakpoint]]\nfile = "app.py"\nline = 3\nhit_condition = "== 2"\n'
        '[breakpoint.capture]\nexpressions = ["y + 1"]\nstack_depth = 1\ntime_budget_s = 20.0\n'
        '[[breakpoint]]\nfile = "app.py"\nline = 3\nkind = "log"\nmessage = "at {x}"\n'
        'hit_condition = "== 3"\ncapture = true\n'
    )
    run = dapper_run("--breakpoints", "points.toml", "app.py", cwd=app)
    assert run.out == "done\n"
    first, second, third = run.err.splitlines()
    assert first.endswith("app.py:3 f: y + 1=2 x=1 y=1")
    assert second == "at 2"
    assert third.endswith("app.py:3 f: x=2 y=2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("capture = 3", "expected true, false or a table of options"),
        ("capture = { depth = 3 }", "unknown field `depth`, expected one of `stack_depth`"),
        ('capture = { stack_depth = "3" }', 'invalid type: string "3"'),
        ("capture = { max_count = 0 }", "points.toml: breakpoint 1: capture: a max_count of 0"),
        ('capture = { repr = "odd" }', "unknown variant `odd`, expected `safe` or `full`"),
        (
            'capture = { expressions = ["x >"] }',
            'points.toml: breakpoint 1: capture expression "x >" is no expression',
        ),
        ('capture = { expressions = ["f(x)"] }\npurity = "require"', "may have side effects"),
    ],
)
def test_a_wrong_field_is_named(app, row, message):
    (app / "points.toml").write_text(f'[[breakpoint]]\nfile = "app.py"\nline = 2\n{row}\n')
    run = dapper_run("--breakpoints", "points.toml", "app.py", cwd=app)
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err


def test_a_log_line_of_any_command_takes_one(app):
    command = ("--to", "jsonl:log.jsonl", "--", sys.executable, "app.py")
    asked = ("app.py:3", "y={y}", "--if", "y == 4", f"--capture={PATIENT},expr=-y")
    run = python("-m", "dapper", "log", *asked, *command, cwd=app)
    assert (run.status, run.out, run.err) == (0, "done\n", "")
    message, snapshot = events(app / "log.jsonl")
    assert message["message"] == "y=4"
    assert snapshot["expressions"] == [{"expression": "-y", "value": "-4"}]
    run = python("-m", "dapper", "log", "app.py:3", "y", "--capture=x=1", *command, cwd=app)
    assert run.status == 2
    assert run.err.startswith('dapper log: --capture=x=1: "x" is not an option of a capture: ')


def unattended(folder: Path, row: str) -> dict[str, str]:
    """Write a breakpoint file, and return the environment that names it."""
    (folder / "points.toml").write_text(f'[[breakpoint]]\nfile = "app.py"\nline = 3\n{row}\n')
    return {
        "PYTHONPATH": str(ROOT / "python" / "dapper" / "bootstrap"),
        "DAPPER_BREAKPOINTS": str(folder / "points.toml"),
        "DAPPER_LOG_TO": f"jsonl:{folder / 'log.jsonl'}",
        "DAPPER_CACHE_DIR": str(folder / "store"),
    }


def test_a_process_that_nobody_attends_records_them(app):
    write(app, parent="import subprocess, sys, app\nsubprocess.run([sys.executable, 'app.py'])\n")
    row = 'condition = "x == 3"\ncapture = { expressions = ["y * 2"], time_budget_s = 20.0 }'
    run = python("parent.py", cwd=app, **unattended(app, row))
    assert (run.status, run.out, run.err) == (0, "done\n" * 2, "")
    rows = events(app / "log.jsonl")
    assert [row["expressions"][0]["value"] for row in rows] == ["6", "6"]
    assert len({row["pid"] for row in rows}) == 2


def test_each_fork_has_its_own_limit(app):
    write(
        app,
        app="def f(x):\n    y = x\n    return y\n",
        parent="import os, app\nfor _ in range(2):\n    child = os.fork()\n"
        "    if not child:\n        app.f(1)\n        app.f(2)\n        raise SystemExit\n"
        "    os.waitpid(child, 0)\napp.f(7)\n",
    )
    run = dapper_run(
        *("--snapshot", "app.py:3", f"--capture={PATIENT},count=3", "--log-to", "jsonl:log.jsonl"),
        "parent.py",
        cwd=app,
    )
    assert run.status == 0
    rows = [row for row in events(app / "log.jsonl") if row["event"] == "snapshot"]
    assert [row["hits"] for row in rows] == [1, 2, 1, 2, 1]


def test_a_stop_is_left_out_with_a_capture_too(app):
    run = python("app.py", cwd=app, **unattended(app, 'kind = "stop"\ncapture = true'))
    assert (run.status, run.out) == (0, "done\n")
    assert 'use kind "log", "count" or "snapshot"' in run.err
