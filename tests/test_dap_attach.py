"""The ways of an adapter to a program that runs already."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.dap_adapter import ROOT, Adapter, environment, stdio
from tests.dap_client import Body, RefusedError
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30
LOOP = """\
import time
def work(n):
    return n + 1
n = 0
until = time.monotonic() + 60
while time.monotonic() < until:
    n = work(n)
    time.sleep(0.01)
"""


@contextmanager
def program(folder: Path, source: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    process = subprocess.Popen(
        [sys.executable, path],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT / "python"), **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def attach(adapter: Adapter, **arguments: object) -> int:
    adapter.initialize()
    return adapter.send("attach", dict(arguments))


def begun(adapter: Adapter, seq: int, path: Path, line: int) -> Body:
    """Configure one breakpoint, and wait for a stop there."""
    adapter.response(seq)
    adapter.event("initialized")
    adapter.set_breakpoints(path, line)
    adapter.request("configurationDone")
    stop = adapter.stopped("breakpoint")
    assert adapter.at(stop)[1] == line
    return stop


def test_a_program_that_listens(tmp_path):
    port = free_port()
    source = f"import dapper; dapper.listen({port}); print('there', flush=True)\n{LOOP}"
    with program(tmp_path, source) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            with stdio() as adapter:
                seq = attach(adapter, connect={"host": "localhost", "port": port})
                begun(adapter, seq, tmp_path / "program.py", 4)
                assert adapter.leave() == 0
        assert process.poll() is None


@pytest.mark.parametrize("token", ["", "secret"])
def test_a_program_that_connects(tmp_path, token):
    port = free_port()
    (tmp_path / "child.py").write_text("x = 1\ny = 2\n")
    source = f"""\
        import dapper, subprocess, sys
        dapper.connect({port}, access_token={token!r} or None)
        dapper.wait_for_client()
        here = 1
        print(subprocess.run([sys.executable, "child.py"]).returncode)
        """
    changes = {"DAPPER_TOKEN": token} if token else {}
    with stdio(**changes) as adapter:
        seq = attach(adapter, listen={"host": "127.0.0.1", "port": port})
        assert adapter.event("debugpyWaitingForServer") == {"host": "127.0.0.1", "port": port}
        with program(tmp_path, source) as process:
            stop = begun(adapter, seq, tmp_path / "program.py", 4)
            adapter.request("continue", {"threadId": stop["threadId"]})
            call = adapter.event("debugpyAttach")
            child = Adapter.connect((call["connect"]["host"], call["connect"]["port"]))
            child.begin(**call)
            child.set_breakpoints(tmp_path / "child.py", 2)
            child.request("configurationDone")
            child.stopped("breakpoint")
            child.request("disconnect")
            child.close()
            adapter.event("terminated")
            assert process.communicate(timeout=PATIENCE)[0] == "0\n"


def test_a_wait_for_a_program_can_be_given_up(tmp_path):
    with stdio() as adapter:
        seq = attach(adapter, listen={"port": free_port()})
        adapter.event("debugpyWaitingForServer")
        disconnect = adapter.send("disconnect")
        adapter.response(disconnect)
        with pytest.raises((RefusedError, EOFError)):
            adapter.response(seq)
        assert adapter.process.wait(PATIENCE) == 0
    assert tmp_path


@pytest.mark.skipif(not hasattr(sys, "remote_exec"), reason="sys.remote_exec is new in 3.14")
@pytest.mark.parametrize("kind", [int, str])
def test_a_process_is_entered_by_its_number_and_left_as_it_was(tmp_path, kind):
    with program(tmp_path, LOOP) as process:
        time.sleep(0.3)
        for _ in range(2):
            with stdio() as adapter:
                seq = attach(adapter, processId=kind(process.pid))
                begun(adapter, seq, tmp_path / "program.py", 3)
                assert adapter.leave() == 0
        assert process.poll() is None
        assert process.stderr is not None
        process.kill()
        assert process.stderr.read() == ""


@pytest.mark.skipif(not hasattr(sys, "remote_exec"), reason="sys.remote_exec is new in 3.14")
def test_a_process_that_is_long_in_coming_is_shown(tmp_path):
    source = "import time\nprint(flush=True)\ntime.sleep(3)\nn = 1\ntime.sleep(60)\n"
    with program(tmp_path, source) as process, stdio() as adapter:
        assert process.stdout is not None
        process.stdout.readline()
        adapter.initialize(supportsProgressReporting=True)
        seq = adapter.send("attach", {"processId": process.pid})
        shown = adapter.event("progressStart")
        assert str(process.pid) in shown["title"]
        adapter.response(seq)
        adapter.event("initialized")
        assert adapter.event("progressEnd") == {"progressId": shown["progressId"]}
        adapter.request("disconnect", {"terminateDebuggee": True})


@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="there is a way in")
def test_what_is_needed_elsewhere_is_said(tmp_path):
    with program(tmp_path, LOOP) as process, stdio() as adapter:
        seq = attach(adapter, processId=process.pid)
        with pytest.raises(RefusedError, match=r"3\.14 or newer is needed.*dapper\.listen"):
            adapter.response(seq)


def test_what_cannot_be_attached_to_is_said(tmp_path):
    port = free_port()
    wrong: list[tuple[Body, str]] = [
        ({}, "nothing to attach to"),
        ({"connect": {"port": port}}, "no program waits for a debugger at 127.0.0.1"),
        ({"connect": {"port": port}, "processId": 1}, 'only one of "connect"'),
        ({"processId": "x"}, "the number of a process"),
        ({"processId": 2**22 + 1}, "there is no process"),
        ({"processId": 1}, "cannot attach to process 1|is not this user's"),
        ({"processId": os.getpid(), "listen": {}}, "only one of"),
        ({"listen": {}}, "nothing to attach to"),
        ({"listen": {"host": "192.0.2.1", "port": port}}, "cannot wait for a program at"),
    ]
    with stdio() as adapter:
        adapter.initialize()
        for arguments, problem in wrong:
            with pytest.raises(RefusedError, match=problem):
                adapter.request("attach", arguments)
    with subprocess.Popen(["sleep", "60"]) as sleeper, stdio() as adapter:
        try:
            seq = attach(adapter, processId=sleeper.pid)
            with pytest.raises(RefusedError, match=f"cannot attach to process {sleeper.pid}"):
                adapter.response(seq)
        finally:
            sleeper.kill()
    assert tmp_path
