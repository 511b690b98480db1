"""Functions and columns on the command line and in breakpoints files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.launch import dapper_run, events, python, write

if TYPE_CHECKING:
    from pathlib import Path

APP = """\
import part

def main(x):
    '''Docs.'''
    return part.Part().go(x) + (lambda: x)()

print(main(1))
"""
PART = "class Part:\n    def go(self, x):\n        return x\n"


def test_the_command_line(tmp_path: Path) -> None:
    write(tmp_path, app=APP, part=PART)
    at = APP.splitlines()[4].index("lambda") + 1
    options = ["--count", "__main__:main", "--log", "part:Part.*=x={x}", "--if", "x == 1"]
    options += ["--count", f"app.py:5:{at}", "--count", "part:nothing"]
    run = dapper_run(*options, "app.py", cwd=tmp_path)
    assert (run.status, run.out) == (0, "2\n")
    reason = "no function of module part is named nothing"
    log, *ends = run.err.splitlines()
    assert log == "x=1"
    assert ends == [
        "dapper: __main__:main was hit 1 times",
        f"dapper: {tmp_path / 'app.py'}:5:{at} was hit 1 times",
        f"dapper: breakpoint part:nothing was never reached: {reason}",
    ]


def test_a_module_that_is_run(tmp_path: Path) -> None:
    write(tmp_path, app=APP, part=PART)
    for name in ("app", "__main__"):
        run = dapper_run("--count", f"{name}:main", "-m", "app", cwd=tmp_path)
        assert (run.out, run.err) == ("2\n", f"dapper: {name}:main was hit 1 times\n")


def test_a_module_that_the_start_has_loaded(tmp_path: Path) -> None:
    code = "import encodings; encodings.normalize_encoding('a'); encodings.normalize_encoding('b')"
    options = ["--count", "encodings:normalize_encoding", "--count", "zipimport:zipimporter.*"]
    run = dapper_run(*options, "-c", code, cwd=tmp_path)
    assert (run.status, run.out) == (0, "")
    assert "encodings:normalize_encoding was hit 2 times" in run.err
    frozen = "module zipimport is frozen into the interpreter: start it with -X frozen_modules=off"
    assert frozen in run.err


def test_a_breakpoints_file(tmp_path: Path) -> None:
    write(tmp_path, app=APP, part=PART)
    at = APP.splitlines()[4].index("lambda") + 1
    (tmp_path / "points.toml").write_text(
        '[[breakpoint]]\nfunction = "part:Part.go"\nkind = "count"\n'
        f'[[breakpoint]]\nfile = "app.py"\nline = 5\ncolumn = {at}\nkind = "count"\n'
    )
    options = ["--breakpoints", "points.toml", "--events", "e.jsonl"]
    assert dapper_run(*options, "app.py", cwd=tmp_path).err == ""
    rows = events(tmp_path / "e.jsonl")
    assert [(row["function"], row["line"], row["file"]) for row in rows[:2]] == [
        ("Part.go", 3, str(tmp_path / "part.py")),
        ("main.<locals>.<lambda>", 5, str(tmp_path / "app.py")),
    ]
    function, lambda_ = rows[2:]
    assert (function["function"], function["lines"]) == ("part:Part.go", [3])
    assert (lambda_["requested_column"], lambda_["hits"]) == (at, 1)
    # In a process that nobody attends, too.
    run = python("app.py", cwd=tmp_path, DAPPER_BREAKPOINTS="points.toml", DAPPER="run")
    assert (run.status, run.out) == (0, "2\n")


def test_snapshots(tmp_path: Path) -> None:
    write(tmp_path, app=APP, part=PART)
    at = APP.splitlines()[4].index("lambda") + 1
    (tmp_path / "points.toml").write_text(
        '[[breakpoint]]\nfunction = "__main__:main"\n'
        "[breakpoint.capture]\nstack_depth = 1\ntime_budget_s = 20.0\n"
    )
    options = ["--breakpoints", "points.toml", "--log-to", "jsonl:log.jsonl"]
    for place in ("part:Part.*", f"app.py:5:{at}"):
        options += ["--snapshot", place, "--capture=time=20,stack=1"]
    run = dapper_run(*options, "app.py", cwd=tmp_path)
    assert (run.status, run.out, run.err) == (0, "2\n", "")
    rows = events(tmp_path / "log.jsonl")
    assert [(row["event"], row["file"], row["line"], row["function"]) for row in rows] == [
        ("snapshot", str(tmp_path / "app.py"), 5, "main"),
        ("snapshot", str(tmp_path / "part.py"), 3, "Part.go"),
        ("snapshot", str(tmp_path / "app.py"), 5, "main.<locals>.<lambda>"),
    ]
    assert [row["stack"][0]["locals"].get("x") for row in rows] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("app.py:5:0", "column 0 does not exist"),
        ("app.py:0:5", "line 0 does not exist"),
        ("app.py:main", "a function is named by its module"),
        ("app", "expected FILE:LINE, FILE:LINE:COLUMN or MODULE:FUNCTION"),
        ("app:", "names no function"),
        ("ap*:main", "has to be named in full"),
    ],
)
def test_wrong_places_are_named(tmp_path: Path, option: str, message: str) -> None:
    write(tmp_path, app=APP, part=PART)
    run = dapper_run("--break", option, "app.py", cwd=tmp_path)
    assert (run.status, run.out) == (2, "")
    assert f"--break {option}: " in run.err
    assert message in run.err
