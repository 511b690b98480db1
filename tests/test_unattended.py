"""`DAPPER_BREAKPOINTS`: breakpoints in programs that know nothing of them, followed as they run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.launch import ROOT, environment, events, python, write

APP = """\
import sys

def step(x):
    y = x
    return y

def main():
    print("up", flush=True)
    for line in sys.stdin:
        for number in range(int(line)):
            step(number)
        print("done", flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, app=APP)
    return tmp_path


def points(folder: Path, *rows: str) -> None:
    """Replace the breakpoint file, as an editor does."""
    fresh = folder / "points.fresh"
    fresh.write_text("".join(f"[[breakpoint]]\nfile = 'app.py'\n{row}\n" for row in rows))
    fresh.replace(folder / "points.toml")


def asked(folder: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT / "python" / "dapper" / "bootstrap"),
        "DAPPER_BREAKPOINTS": str(folder / "points.toml"),
        "DAPPER_LOG_TO": f"jsonl:{folder / 'log.jsonl'}",
        "DAPPER_CACHE_DIR": str(folder / "store"),
    }


LOG = 'line = 4\nkind = "log"\nmessage = "stepped"'


def test_a_program_and_its_children_are_reached(folder):
    points(folder, LOG, 'line = 5\nkind = "count"', "line = 3")
    write(
        folder,
        parent="import subprocess, sys, app\napp.step(1)\n"
        "subprocess.run([sys.executable, 'app.py'], input=b'2\\n')\n",
    )
    run = python("parent.py", cwd=folder, **asked(folder))
    assert run.status == 0
    assert [row["message"] for row in events(folder / "log.jsonl")] == ["stepped"] * 3
    assert run.err.count("nobody attends this process") == 2, "in each process once"
    assert "app.py:5 was hit 1 times" in run.err
    assert "app.py:5 was hit 2 times" in run.err


def test_changes_are_armed_while_the_program_runs(folder):
    points(folder)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "app.py"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**asked(folder)),
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def step() -> int:
        stdin.write("1\n")
        stdin.flush()
        assert stdout.readline() == "done\n"
        time.sleep(0.1)
        return len(events(folder / "log.jsonl"))

    def soon(wanted: int) -> bool:
        """Whether that many more messages come of one step, before long."""
        before = step()
        for _ in range(100):
            after = step()
            if after - before == wanted:
                return True
            before = after
        return False

    assert stdout.readline() == "up\n"
    assert soon(0)
    points(folder, LOG)
    assert soon(1)
    points(folder, LOG, LOG.replace("line = 4", "line = 5"))
    assert soon(2)
    (folder / "points.toml").write_text("[[breakpoint")
    time.sleep(0.3)
    assert soon(2), "a file that cannot be read changes nothing"
    points(folder)
    assert soon(0)
    err = process.communicate()[1]
    assert process.returncode == 0
    assert err.count("breakpoints stay as they are: ") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_workers_follow_the_file(folder):
    points(folder)
    write(
        folder,
        worker="""\
import os, time
import app
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        until = time.monotonic() + 10
        while time.monotonic() < until and not os.path.exists("enough"):
            app.step(0)
            time.sleep(0.02)
        raise SystemExit
    children.append(child)
print("up", flush=True)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
""",
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "worker.py"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**asked(folder)),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    points(folder, LOG)
    until = time.monotonic() + 9
    pids: set[int] = set()
    while len(pids) < 3 and time.monotonic() < until:
        time.sleep(0.1)
        pids = {row["pid"] for row in events(folder / "log.jsonl")}
    (folder / "enough").touch()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert len(pids) == 3


def test_a_bad_target_is_told_and_the_program_runs(folder):
    points(folder, LOG)
    changes = {**asked(folder), "DAPPER_LOG_TO": str(folder / "no" / "log")}
    run = python("app.py", cwd=folder, stdin="1\n", **changes)
    assert (run.status, run.out) == (0, "up\ndone\n")
    first, second = run.err.splitlines()
    assert "they go to standard error" in first
    assert second == "stepped"


@pytest.mark.parametrize("name", ["points.toml", "no/such/folder/points.toml"])
def test_a_missing_file_does_not_keep_the_program(folder, name):
    changes = {**asked(folder), "DAPPER_BREAKPOINTS": str(folder / name)}
    run = python("app.py", cwd=folder, stdin="1\n", **changes)
    assert (run.status, run.out) == (0, "up\ndone\n")
    assert "cannot read the breakpoint file" in run.err
    assert "Traceback" not in run.err
