"""How a session ends: by the program, by the client, by an accident; and how it begins again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.dap_adapter import PATIENCE, Adapter, stdio
from tests.dap_client import Body, RefusedError

WAIT = "import time\nprint('ready', flush=True)\ntime.sleep(60)\n"

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""

FAMILY = """
import os, subprocess, sys, time
code = "import time; time.sleep(60)"
one = subprocess.Popen([sys.executable, "-S", "-c", code])
two = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
print(os.getpid(), one.pid, two.pid, flush=True)
time.sleep(60)
"""


def written(folder: Path, source: str) -> Path:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(source))
    return program


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def gone(*pids: int) -> bool:
    until = time.monotonic() + PATIENCE
    while any(map(is_alive, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def first_line(client: Adapter) -> str:
    """What the program has printed when it has printed a line."""
    while "\n" not in client.output():
        kept = len(client.events)
        while len(client.events) == kept:
            client.read_one()
    return client.output().splitlines()[0]


def running(client: Adapter, program: Path, **more: object) -> str:
    client.launch(program, **more)
    client.request("configurationDone")
    return first_line(client)


@pytest.fixture
def adapter():
    with stdio() as client:
        yield client


class TestDisconnect:
    @pytest.mark.parametrize("debugs", [True, False])
    def test_ends_the_tree(self, adapter, tmp_path, debugs):
        program = written(tmp_path, FAMILY)
        pids = [
            int(pid)
            for pid in running(adapter, program, noDebug=not debugs, subProcess=False).split()
        ]
        assert adapter.leave() == 0
        assert gone(*pids)
        assert adapter.ended() == 128 + signal.SIGTERM

    def test_can_let_it_run_on(self, adapter, tmp_path):
        source = """
            import os, time
            print(os.getpid(), flush=True)
            while not os.path.exists("go"):
                time.sleep(0.01)
            for i in range(10000):
                print("more" * 100)
            open("done", "w").close()
        """
        program = written(tmp_path, source)
        pid = int(running(adapter, program, cwd=str(tmp_path)))
        adapter.request("disconnect", {"terminateDebuggee": False})
        # Editors end the adapter then.
        adapter.process.terminate()
        adapter.close()
        (tmp_path / "go").touch()
        assert adapter.process.wait(PATIENCE) == 0
        assert gone(pid)
        assert (tmp_path / "done").exists()

    def test_while_it_is_stopped(self, adapter, tmp_path):
        program = written(tmp_path, "x = 1\nprint(x)\n")
        adapter.launch(program)
        adapter.set_breakpoints(program, 2)
        adapter.request("configurationDone")
        adapter.stopped("breakpoint")
        pid = adapter.event("process")["systemProcessId"]
        assert adapter.leave() == 0
        assert gone(pid)
        assert adapter.output() == ""

    def test_before_it_is_configured(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "print(1)"))
        pid = adapter.event("process")["systemProcessId"]
        assert adapter.leave() == 0
        assert gone(pid)


class TestTerminate:
    def test_asks_first_and_then_insists(self, adapter, tmp_path):
        running(adapter, written(tmp_path, DEAF))
        adapter.request("terminate")
        while "asked" not in adapter.output():
            adapter.read_one()
        adapter.request("terminate")
        assert adapter.ended() == 128 + signal.SIGKILL

    def test_can_be_as_the_keyboard(self, adapter, tmp_path):
        source = """
            import time
            try:
                print("ready", flush=True)
                # A signal that comes between two instructions does not end a call that follows.
                while True:
                    time.sleep(0.01)
            except KeyboardInterrupt:
                print("interrupted")
                raise SystemExit(5)
        """
        running(adapter, written(tmp_path, source), onTerminate="KeyboardInterrupt")
        adapter.request("terminate")
        assert adapter.ended() == 5
        assert adapter.output() == "ready\ninterrupted\n"

    def test_is_heard_by_a_thread_that_is_stopped(self, adapter, tmp_path):
        source = """\
            try:
                x = 1
                print(x)
                while True:
                    pass
            except KeyboardInterrupt:
                print("interrupted")
        """
        program = written(tmp_path, source)
        adapter.launch(program, onTerminate="KeyboardInterrupt")
        adapter.set_breakpoints(program, 3)
        adapter.request("configurationDone")
        adapter.stopped("breakpoint")
        adapter.request("terminate")
        assert adapter.ended() == 0
        assert adapter.output().endswith("interrupted\n")

    def test_is_refused_when_there_is_nothing(self, adapter):
        adapter.initialize()
        with pytest.raises(RefusedError, match='before "launch"'):
            adapter.request("terminate")


class TestRestart:
    def test_runs_the_program_again(self, adapter, tmp_path):
        program = written(tmp_path, "import sys\nprint(sys.argv[1:])\n")
        adapter.launch(program, args=["one"])
        adapter.set_breakpoints(program, 2)
        adapter.request("configurationDone")
        adapter.stopped("breakpoint")
        adapter.request("restart")
        adapter.event("initialized")
        adapter.set_breakpoints(program, 2)
        adapter.request("configurationDone")
        adapter.stopped("breakpoint")
        # The schema wants them to be of a launch or of an attach, and takes all for both.
        adapter.exchange.refuses_what_is_wrong = False
        adapter.request("restart", {"arguments": {"program": str(program), "args": ["two"]}})
        adapter.event("initialized")
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == "['two']\n"

    def test_of_what_has_become_wrong(self, adapter, tmp_path):
        program = written(tmp_path, WAIT)
        running(adapter, program)
        program.write_text("def\n")
        adapter.request("restart")
        adapter.event("terminated")
        assert "does not compile" in adapter.output("important")

    def test_of_what_is_only_being_started(self, adapter, tmp_path):
        slow = tmp_path / "python"
        slow.write_text(
            f'#!/bin/sh\ncase "$*" in *-I*) exec {sys.executable} "$@";; esac\n'
            f'test -e again && exec {sys.executable} "$@"\nexec sleep 60\n'
        )
        slow.chmod(0o755)
        adapter.initialize()
        seq = adapter.send("launch", {"code": "1", "python": str(slow), "cwd": str(tmp_path)})
        adapter.event("process")
        (tmp_path / "again").touch()
        adapter.request("restart")
        with pytest.raises(RefusedError, match="before it could be debugged"):
            adapter.response(seq)
        adapter.event("initialized")
        adapter.request("configurationDone")
        assert adapter.ended() == 0


class TestAccidents:
    @pytest.mark.parametrize("debugs", [True, False])
    def test_the_client_vanishes(self, adapter, tmp_path, debugs):
        program = written(tmp_path, FAMILY)
        line = running(adapter, program, noDebug=not debugs, subProcess=False)
        adapter.close()
        assert adapter.process.wait(PATIENCE) == 0
        assert gone(*map(int, line.split()))

    @pytest.mark.parametrize("debugs", [True, False])
    def test_the_adapter_is_killed(self, adapter, tmp_path, debugs):
        program = written(tmp_path, "import os, time\nprint(os.getpid(), flush=True)\n" + WAIT)
        pid = int(running(adapter, program, noDebug=not debugs))
        adapter.process.kill()
        assert gone(pid)

    def test_the_program_is_killed(self, adapter, tmp_path):
        program = written(tmp_path, "x = 1\nprint(x)\n")
        adapter.launch(program)
        adapter.set_breakpoints(program, 2)
        adapter.request("configurationDone")
        adapter.stopped("breakpoint")
        os.kill(adapter.event("process")["systemProcessId"], signal.SIGKILL)
        assert adapter.ended() == 128 + signal.SIGKILL

    def test_a_request_that_nobody_answers_any_more_is_answered(self, adapter, tmp_path):
        program = written(tmp_path, "import os\nx = 1\nprint(x)\n")
        adapter.launch(program)
        adapter.set_breakpoints(program, 3)
        adapter.request("configurationDone")
        stop = adapter.stopped("breakpoint")
        frame = adapter.frames(stop["threadId"])[0]["id"]
        os.kill(adapter.event("process")["systemProcessId"], signal.SIGSTOP)
        seq = adapter.send("scopes", {"frameId": frame})
        adapter.request("disconnect")
        with pytest.raises(RefusedError, match="has ended"):
            adapter.response(seq)


@contextmanager
def terminal(client: Adapter, **answer: object):
    """Be a client's terminal for the next program."""
    request = client.reverse_request("runInTerminal")
    asked: Body = request["arguments"]
    process = subprocess.Popen(
        asked["args"],
        cwd=asked["cwd"],
        env={**os.environ, **asked["env"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    client.answer(request, {"shellProcessId": process.pid, **answer})
    try:
        yield asked, process
    finally:
        process.kill()
        process.communicate()


def in_terminal(client: Adapter, program: Path, **more: object) -> int:
    client.initialize(supportsRunInTerminalRequest=True)
    arguments = {"program": str(program), "console": "integratedTerminal", **more}
    return client.send("launch", arguments)


class TestTerminal:
    @pytest.mark.parametrize("debugs", [True, False])
    def test_has_the_streams_and_the_status(self, adapter, tmp_path, debugs):
        program = written(tmp_path, "import sys\nprint(input(), sys.argv[1:])\nsys.exit(4)\n")
        seq = in_terminal(adapter, program, args=["a b"], noDebug=not debugs, consoleTitle="T")
        with terminal(adapter) as (asked, process):
            assert asked["kind"] == "integrated"
            assert asked["title"] == "T"
            adapter.response(seq)
            adapter.event("initialized")
            if debugs:
                adapter.set_breakpoints(program, 3)
            adapter.request("configurationDone")
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("typed\n")
            process.stdin.flush()
            if debugs:
                stop = adapter.stopped("breakpoint")
                adapter.request("continue", {"threadId": stop["threadId"]})
            assert adapter.ended() == 4
            assert process.stdout.read() == "typed ['a b']\n"
            assert process.wait(PATIENCE) == 4
            assert adapter.output() == ""

    def test_sees_no_token(self, adapter, tmp_path):
        program = written(tmp_path, "import os\nprint('DAPPER_ADAPTER_TOKEN' in os.environ)\n")
        in_terminal(adapter, program, noDebug=True)
        with terminal(adapter) as (_, process):
            assert process.stdout is not None
            assert process.stdout.read() == "False\n"

    def test_goes_with_the_adapter(self, adapter, tmp_path):
        program = written(tmp_path, "import os, time\nprint(os.getpid(), flush=True)\n" + WAIT)
        seq = in_terminal(adapter, program)
        with terminal(adapter) as (_, process):
            adapter.response(seq)
            adapter.request("configurationDone")
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            adapter.process.kill()
            assert gone(pid)

    def test_is_ended_by_disconnect(self, adapter, tmp_path):
        seq = in_terminal(adapter, written(tmp_path, WAIT))
        with terminal(adapter) as (_, process):
            adapter.response(seq)
            adapter.request("configurationDone")
            assert process.stdout is not None
            process.stdout.readline()
            assert adapter.leave() == 0
            assert process.wait(PATIENCE) == 128 + signal.SIGTERM

    def test_arguments_for_the_shell(self, adapter, tmp_path):
        program = written(tmp_path, "import sys\nprint(sys.argv[1:])\n")
        adapter.initialize(
            supportsRunInTerminalRequest=True, supportsArgsCanBeInterpretedByShell=True
        )
        arguments = {
            "program": str(program),
            "console": "externalTerminal",
            "args": "$((1+1)) 'a b'",
        }
        adapter.send("launch", {**arguments, "noDebug": True})
        request = adapter.reverse_request("runInTerminal")
        asked = request["arguments"]
        assert asked["kind"] == "external"
        assert asked["argsCanBeInterpretedByShell"] is True
        done = subprocess.run(
            ["sh", "-c", " ".join(asked["args"])],
            check=False,
            env={**os.environ, **asked["env"]},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert done.stdout == "['2', 'a b']\n"

    def test_that_the_client_refuses(self, adapter, tmp_path):
        seq = in_terminal(adapter, written(tmp_path, "print(1)"))
        request = adapter.reverse_request("runInTerminal")
        adapter.answer(request, success=False)
        with pytest.raises(RefusedError, match="cannot run in a terminal"):
            adapter.response(seq)

    def test_that_the_client_does_not_have(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "print(1)"), console="integratedTerminal")
        adapter.request("configurationDone")
        assert adapter.ended() == 0
        assert adapter.output() == "1\n"
        assert "the client has no terminals" in adapter.output("important")


def test_nothing_is_left_in_the_folder_of_sockets(tmp_path):
    with stdio(XDG_RUNTIME_DIR=str(tmp_path)) as client:
        client.launch(written(tmp_path, "print(1)"))
        client.request("configurationDone")
        client.ended()
        client.leave()
    assert not list(tmp_path.glob("dapper-*"))
