"""The options of `dapper run` that say when a breakpoint does something, and at what cost."""

from __future__ import annotations

import pytest
from tests.launch import dapper_run, events, write

APP = """\
def f(x):
    y = x
    return y

for n in range(6):
    f(n)
print("done")
"""


@pytest.fixture
def app(tmp_path):
    write(tmp_path, app=APP)
    return tmp_path


def test_options_belong_to_the_breakpoint_before_them(app):
    options = [
        *("--log", "app.py:2=two {x}", "--if", "x % 2", "--hit", "> 1"),
        *("--count", "app.py:3", "--if", "y > 3"),
        *("--log", "app.py:6=six {n!r:>3}", "--hit", "% 3"),
    ]
    run = dapper_run(*options, "app.py", cwd=app)
    assert (run.status, run.out) == (0, "done\n")
    lines = run.err.splitlines()
    assert lines[:4] == ["six   2", "two 3", "six   5", "two 5"]
    assert lines[4].endswith("app.py:3 was hit 2 times")
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--if", "x", "--count", "app.py:2"],
            "--if x: put it after the --break, --log, --count or",
        ),
        (["--hit", "3"], "--hit 3: put it after the --break, --log, --count or"),
        (["--count", "app.py:2", "--if", "x", "--if", "y"], "--if y: this breakpoint has an --if"),
        (
            ["--count", "app.py:2", "--hit", "1", "--hit", "2"],
            "--hit 2: this breakpoint has a --hit",
        ),
        (
            ["--count", "app.py:2", "--if", "x >"],
            '--count app.py:2: condition "x >" is no expression',
        ),
        (["--count", "app.py:2", "--hit", "often"], "--count app.py:2: `often` is no hit rule"),
        (["--log", "app.py:2={x", "--if", "x"], "--log app.py:2={x: log message"),
        (["--log", "app.py:2={x y}"], "log message field"),
        (["--purity", "some", "--count", "app.py:2"], "--purity: purity"),
        (["--purity", "require", "--count", "app.py:2", "--if", "f(1)"], "may have side effects"),
        (["--profile", "some", "--count", "app.py:2"], "--profile: profile"),
        (["--condition-budget", "0", "--count", "app.py:2"], "--condition-budget has to be"),
    ],
)
def test_wrong_use_is_named(app, options, message):
    run = dapper_run(*options, "app.py", cwd=app)
    assert (run.status, run.out) == (2, "")
    assert message in run.err
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) == 1


def test_a_breakpoint_file_has_the_same_fields(app):
    (app / "points.toml").write_text(
        '[[breakpoint]]\nfile = "app.py"\nline = 2\nkind = "log"\nlog_message = "at {x}"\n'
        'condition = "x > 2"\nhit_condition = "== 2"\npurity = "require"\n'
    )
    run = dapper_run("--breakpoints", "points.toml", "app.py", cwd=app)
    assert (run.out, run.err) == ("done\n", "at 4\n")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('hit_condition = "often"', "points.toml: breakpoint 1: `often` is no hit rule"),
        ('condition = "x >"', 'points.toml: breakpoint 1: condition "x >" is no expression'),
        ("condition = 3", "invalid type: integer `3`"),
        ('purity = "some"', "unknown variant `some`"),
        ('condition = "f(1)"\npurity = "require"', "may have side effects"),
        ('kind = "log"\nlog_message = "{"', "points.toml: breakpoint 1: log message"),
        ('kind = "log"\nlog_message = "a"\nmessage = "b"', "duplicate field"),
        ('conditoin = "x"', "unknown field `conditoin`"),
    ],
)
def test_a_wrong_field_is_named(app, row, message):
    (app / "points.toml").write_text(f'[[breakpoint]]\nfile = "app.py"\nline = 2\n{row}\n')
    run = dapper_run("--breakpoints", "points.toml", "app.py", cwd=app)
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err


def test_the_record_has_conditions_and_figures(app):
    options = ["--break", "app.py:2", "--if", "x > 3", "--hit", "2"]
    options += [
        "--log",
        "app.py:3=y={y}",
        "--if",
        "y / (y - 4)",
        "--break",
        "app.py:3",
        "--if",
        "z",
    ]
    run = dapper_run(*options, "--measure", "--events", "e.jsonl", "app.py", cwd=app)
    assert run.out == "done\n"
    assert run.err.count("ZeroDivisionError") == 1
    rows = events(app / "e.jsonl")
    hits = [row for row in rows if row["event"] == "hit"]
    first, second, third = (row for row in rows if row["event"] == "breakpoint")
    assert [(row["line"], row["hits"]) for row in hits if row["line"] == 2] == [(2, 2)]
    messages = [row["message"] for row in hits if row["kind"] == "log"]
    assert messages == ["y=1", "y=2", "y=3", "y=5"]
    errors = [row["error"] for row in hits if "error" in row]
    assert errors == ["NameError: name 'z' is not defined"] * 6
    assert (first["condition"], first["hit_condition"]) == ("x > 3", "== 2")
    assert (first["hits"], first["fired"], first["evaluations"]) == (2, 1, 6)
    assert first["true_share"] == pytest.approx(1 / 3)
    assert first["nanoseconds"] > 0
    assert (second["errors"], second["last_error"]) == (
        1,
        "ZeroDivisionError: division by zero",
    )
    assert (third["hits"], third["errors"]) == (0, 6)
    assert first["errors"] == 0
    assert first["last_error"] is None
