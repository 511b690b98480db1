"""Where log messages go: targets, order, what is told when they cannot go there, and the end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.launch import dapper_run, environment, events, python, write

LOOP = """\
def work(n):
    x = 0
    for i in range(n):
        x = i
    return x

if __name__ == "__main__":
    import sys
    work(int(sys.argv[1]))
"""
START = """\
import dapper, app
from dapper import _engine
dapper.start(dapper.Config(log_target={target!r}))
dapper.add_breakpoint("app.py", 4, log_message="here")
"""


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, app=LOOP)
    return tmp_path


def logged(folder: Path, code: str, target: str = "log.txt"):
    return python("-W", "error", "-c", START.format(target=target) + code, cwd=folder)


def test_none_of_many_messages_is_lost(folder):
    run = logged(folder, "app.work(300_000)\n")
    assert (run.status, run.out, run.err) == (0, "", "")
    assert (folder / "log.txt").read_text() == "here\n" * 300_000


def test_json_lines_say_where_when_and_who(folder):
    code = """\
import threading
app.work(1)
thread = threading.Thread(target=app.work, args=(1,), name="second")
thread.start(); thread.join()
_engine.flush_log()
print(_engine.log_figures())
"""
    run = logged(folder, code, "jsonl:log.jsonl")
    first, second = events(folder / "log.jsonl")
    assert first["event"] == "log"
    assert (first["file"], first["line"]) == (str(folder / "app.py"), 4)
    assert (first["function"], first["message"]) == ("work", "here")
    assert (first["thread"], second["thread"]) == ("MainThread", "second")
    assert first["thread_id"] != second["thread_id"]
    assert first["time"] <= second["time"]
    assert first["time"].endswith("Z")
    assert len(first["time"]) == len("2025-01-01T00:00:00.000000Z")
    assert first["breakpoint"] == second["breakpoint"]
    assert "'written': 2" in run.out


def test_lines_come_in_the_order_in_which_they_happened(folder):
    code = """\
import sys
for turn in range(5):
    print("before", turn, file=sys.stderr)
    app.work(1)
    print("after", turn, file=sys.stderr)
"""
    run = logged(folder, code, "stderr")
    assert run.err.splitlines() == [
        line for turn in range(5) for line in (f"before {turn}", "here", f"after {turn}")
    ]


def test_standard_output(folder):
    run = dapper_run("--log", "app.py:4=here", "--log-to", "stdout", "app.py", "3", cwd=folder)
    assert (run.status, run.out, run.err) == (0, "here\n" * 3, "")


def test_a_program_that_is_killed_leaves_its_messages(folder):
    run = logged(
        folder, "import os, time; app.work(1000); time.sleep(0.3); os.kill(os.getpid(), 9)"
    )
    assert run.status == -9
    assert (folder / "log.txt").read_text() == "here\n" * 1000


@pytest.mark.parametrize(
    "leaving",
    [
        "import os; os._exit(3)",
        "raise SystemExit(3)",
        "import os; os.execv('/bin/sh', ['sh', '-c', 'exit 3'])",
    ],
)
def test_nothing_is_lost_however_the_program_leaves(folder, leaving):
    write(folder, leave=f"import app\napp.work(20_000)\n{leaving}\n")
    run = dapper_run("--log", "app.py:4=here", "--log-to", "log.txt", "leave.py", cwd=folder)
    assert run.status == 3
    assert (folder / "log.txt").read_text() == "here\n" * 20_000


def test_messages_of_the_very_end_are_delivered(folder):
    code = """\
import atexit
atexit.register(app.work, 5)
class Last:
    def __del__(self, work=app.work):
        work(7)
last = Last()
"""
    run = logged(folder, code)
    assert run.err == ""
    assert (folder / "log.txt").read_text() == "here\n" * 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_meets_no_thread_of_ours_and_loses_nothing(folder):
    # With -W error, a process of several threads that forks would fail from 3.12 on.
    code = """\
import os
for turn in range(20):
    app.work(500)
    child = os.fork()
    if child == 0:
        app.work(300)
        raise SystemExit(0 if _engine.flush_log() == 0 else 1)
    app.work(1)
    assert os.waitpid(child, 0)[1] == 0
"""
    run = logged(folder, code)
    assert (run.status, run.err) == (0, "")
    assert (folder / "log.txt").read_text() == "here\n" * (20 * 801)


def test_several_processes_share_a_file(folder):
    program = "import app, subprocess, sys\n"
    program += (
        "children = [subprocess.Popen([sys.executable, 'app.py', '20000']) for _ in range(4)]\n"
    )
    program += "assert [child.wait() for child in children] == [0] * 4\n"
    write(folder, parent=program)
    target = "jsonl:log.jsonl"
    run = dapper_run("--log", "app.py:4=here", "--log-to", target, "parent.py", cwd=folder)
    assert (run.status, run.err) == (0, "")
    rows = events(folder / "log.jsonl")
    assert len(rows) == 80_000
    assert len({row["pid"] for row in rows}) == 4


def test_a_stopped_reader_does_not_stop_the_program(folder):
    code = START.format(target="stdout").replace("log_target='stdout'", "log_target=None")
    code += """\
import sys
_engine.set_log_target("stdout", 100_000)
app.work(200_000)
print(_engine.log_figures(), file=sys.stderr)
sys.stderr.flush()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stderr.readline()
    assert "'failed': 0" in said
    out = process.stdout.read()
    assert process.wait(30) == 0
    lines = out.splitlines()
    told = [line for line in lines if line != "here"]
    assert told, "what was dropped is told in the stream"
    assert all("dropped: the reader of standard output is too slow" in line for line in told)
    dropped = sum(int(line.split()[1]) for line in told)
    assert lines.count("here") + dropped == 200_000
    process.stderr.close()
    process.stdout.close()


def test_a_terminal_that_nobody_reads_does_not_stop_the_program(folder):
    ours, theirs = pty.openpty()
    code = (
        START.format(target="stderr")
        + "app.work(100_000)\nprint('done', flush=True)\nimport os\nos.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env=environment(),
    )
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    process.wait(30)
    process.stdout.close()
    os.close(ours)


def test_a_full_disk_is_told_once_and_hurts_nobody(folder):
    run = logged(folder, "app.work(100_000)\nprint('fine')\n", "/dev/full")
    assert (run.status, run.out) == (0, "fine\n")
    assert run.err.count("\n") == 1
    assert "log messages cannot be written to /dev/full: No space left on device" in run.err


def test_a_closed_stream_is_no_trouble(folder):
    code = "import os\nos.close(1)\napp.work(10)\n_engine.flush_log()\n"
    run = logged(folder, code + "assert _engine.log_figures()['failed'] == 10\n", "stdout")
    assert run.status == 0, run.err
    assert "log messages cannot be written to standard output: Bad file descriptor" in run.err


def test_a_target_that_cannot_be_opened_is_an_error_at_once(folder):
    run = logged(folder, "", "no/such/folder/log")
    assert "OSError: log messages cannot be written to no/such/folder/log: " in run.err
    run = dapper_run("--log", "app.py:4=x", "--log-to", "no/such/log", "app.py", cwd=folder)
    assert run.status == 2
    assert "cannot write --log-to no/such/log: No such file" in run.err


def test_batches_come_to_a_function(folder):
    code = """\
import json
batches = []
_engine.set_log_output(batches.append)
app.work(1000)
assert _engine.flush_log() == 0
rows = [json.loads(row) for batch in batches for row in batch]
assert [row["message"] for row in rows] == ["here"] * 1000
import threading, sys
assert threading.active_count() == 1 and len(sys._current_frames()) == 1
app.work(3)
import atexit
atexit.unregister(print)
"""
    run = logged(folder, code)
    assert (run.status, run.err) == (0, "")


def test_an_interrupt_still_reaches_the_program(folder):
    code = """\
import os, signal, threading, time
app.work(10)
pid = os.getpid()
start = time.monotonic()
os.system(f"(sleep 0.3; kill -INT {pid}) &")
try:
    time.sleep(20)
except KeyboardInterrupt:
    print(time.monotonic() - start < 10)
"""
    assert logged(folder, code).out == "True\n"


def test_log_runs_any_command(folder):
    command = ["log", "app.py:4", "here", "--to", "jsonl:log.jsonl", "--"]
    shell = f"{sys.executable} app.py 2 && {sys.executable} app.py 3; exit 7"
    run = python("-m", "dapper", *command, "sh", "-c", shell, cwd=folder)
    assert (run.status, run.err) == (7, "")
    assert len(events(folder / "log.jsonl")) == 5
    run = python("-m", "dapper", "tail", "log.jsonl", cwd=folder)
    assert run.status == 0
    assert run.out.count("app.py:4 work [MainThread] here\n") == 5
    run = python("-m", "dapper", "tail", "--json", "log.jsonl", cwd=folder)
    assert run.out == (folder / "log.jsonl").read_text()


def test_log_takes_a_condition_and_a_hit_rule(folder):
    options = ["--if", "x >= 5", "--hit", "% 2", "--to", "jsonl:log.jsonl"]
    command = [sys.executable, "app.py", "10"]
    run = python(
        "-m", "dapper", "log", "app.py:4", "{x=} {i:>3}", *options, "--", *command, cwd=folder
    )
    assert (run.status, run.err) == (0, "")
    assert [row["message"] for row in events(folder / "log.jsonl")] == ["x=6   7", "x=8   9"]
    run = python("-m", "dapper", "log", "app.py:4", "{x", "--", *command, cwd=folder)
    assert run.status == 2
    assert "dapper log: app.py:4: " in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["log", "app.py", "x", "--", "true"], "dapper log: app.py: expected FILE:LINE"),
        (["log", "app.py:4", "x"], "COMMAND"),
        (
            ["log", "app.py:4", "x", "--", "no-such-command"],
            "dapper log: cannot run no-such-command",
        ),
        (["log", "app.py:4", "x", "--to", "", "--", "true"], "the name of the file is missing"),
        (["tail", "nothing.jsonl"], "dapper tail: cannot read nothing.jsonl"),
    ],
)
def test_wrong_use_is_named(folder, arguments, message):
    run = python("-m", "dapper", *arguments, cwd=folder)
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err


def test_tail_follows(folder):
    path = folder / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "dapper", "tail", "--follow", "--json", "log.jsonl"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    for number in range(3):
        with path.open("a") as file:
            file.write(json.dumps({"event": "log", "message": number}) + "\n")
        assert json.loads(process.stdout.readline())["message"] == number
    path.write_text('{"event": "log"}\n')
    assert json.loads(process.stdout.readline()) == {"event": "log"}
    process.send_signal(2)
    start = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - start < 5
    process.stdout.close()
