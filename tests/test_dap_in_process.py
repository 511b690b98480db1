"""`inProcess`: the process of the adapter is that of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from tests import test_dap_adapter as launched
from tests import test_dap_adapter_ends as ends
from tests import test_dap_frame_eval as frame_eval
from tests.dap_adapter import (
    PATIENCE,
    Adapter,
    InProcess,
    environment,
    stdio,
)
from tests.dap_client import RefusedError
from tests.test_dap_adapter import said, written
from tests.test_dap_adapter_ends import gone, running

program = frame_eval.program

LOOK = """\
import json, os, signal, sys, threading
print(json.dumps([sys.argv, sys.path, __name__, __file__, __spec__ is None, os.getcwd()]))
print(sys.flags, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
print([signal.getsignal(number) for number in signal.valid_signals()])
print(sorted(globals()), type(__loader__), sys.modules["__main__"].__dict__ is globals())
print(sys._getframe().f_back, threading.current_thread() is threading.main_thread())
print(repr(sys.stdin.read()), sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors)
print(sys.stdout.name, sys.stdout.mode, sys.stdout is sys.__stdout__)
"""


@pytest.fixture
def adapter():
    with stdio(kind=InProcess) as client:
        yield client


def places(client: Adapter, program: Path, way: str) -> list[tuple[str, int, int]]:
    """Where steps of one kind stop, from the first line to the end: name, line and depth."""
    client.launch(program, stopOnEntry=True)
    client.request("configurationDone")
    found: list[tuple[str, int, int]] = []
    while True:
        while not any(event["event"] in ("stopped", "terminated") for event in client.events):
            client.read_one()
        if any(event["event"] == "terminated" for event in client.events):
            client.ended()
            return found
        thread = client.stopped()["threadId"]
        frames = client.frames(thread)
        found.append((frames[0]["name"], frames[0]["line"], len(frames)))
        client.request(way, {"threadId": thread})


def go_on(client: Adapter) -> None:
    client.request("configurationDone")


def plain(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a plain run prints, in an environment like that of a launched program."""
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env=environment(PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


class TestLaunch(launched.TestLaunch):
    """What holds for programs in processes of their own holds here."""

    @pytest.mark.parametrize("debugs", [True, False])
    def test_is_a_plain_run(self, adapter, tmp_path, debugs):
        program = written(tmp_path, LOOK)
        expected = plain(tmp_path, program, "a b", "-c").stdout
        adapter.launch(program, args=["a b", "-c"], noDebug=not debugs)
        if debugs:
            go_on(adapter)
        assert adapter.ended() == 0
        told = adapter.output().splitlines()
        for line, meant in zip(told, expected.splitlines(), strict=True):
            # The interpreter has been started without the variable.
            assert line == meant.replace("unbuffered=1", "unbuffered=0")

    def test_another_interpreter(self, adapter, tmp_path):
        adapter.initialize()
        seq = adapter.send("launch", {"code": "1", "python": "/bin/sh", "cwd": str(tmp_path)})
        with pytest.raises(RefusedError, match='"python" cannot be /bin/sh with "inProcess"'):
            adapter.response(seq)
        adapter.send("launch", {"code": "1", "python": sys.executable})
        adapter.event("initialized")
        go_on(adapter)
        assert adapter.ended() == 0

    def test_code_and_variables(self, adapter, tmp_path):
        file = tmp_path / "some.env"
        file.write_text("A=1\nPYTHONHASHSEED=3\n")
        adapter.initialize()
        code = ["import os", "print(os.environ['A'], os.environ['B'], os.getenv('HOME'))"]
        env = {"B": "2", "HOME": None}
        adapter.send("launch", {"code": code, "env": env, "envFile": str(file)})
        adapter.event("initialized")
        go_on(adapter)
        assert adapter.ended() == 0
        assert adapter.output() == "1 2 None\n"
        assert "that the program starts: PYTHONHASHSEED" in said(adapter)

    BAD = (
        ({"code": "1", "pythonArgs": ["-O"]}, '"pythonArgs" cannot count with "inProcess"'),
        ({"code": "1", "python": [sys.executable, "-O"]}, '"python" cannot have options'),
        ({"code": "def"}, "does not compile: SyntaxError"),
        ({"program": "/no/such/x.py"}, '"program" does not exist: /no/such/x.py'),
        ({"code": "1", "inProcess": 1}, '"inProcess" has to be true or false'),
    )

    @pytest.mark.parametrize(("arguments", "message"), BAD)
    def test_bad_values_are_refused(self, adapter, arguments, message):
        super().test_bad_values_are_refused(adapter, arguments, message)

    # They are about another interpreter.
    test_a_program_that_ends_before_it_connects = None  # type: ignore[assignment]
    test_a_program_that_never_connects = None  # type: ignore[assignment]

    def test_a_terminal_is_not_had(self, adapter):
        adapter.initialize(supportsRunInTerminalRequest=True)
        adapter.send("launch", {"code": "print(1)", "args": "a b", "console": "externalTerminal"})
        adapter.event("initialized")
        go_on(adapter)
        assert adapter.ended() == 0
        assert adapter.output() == "1\n"
        assert '"console" does not count with "inProcess"' in said(adapter)

    @pytest.mark.parametrize("kind", ["folder", "archive", "compiled"])
    def test_other_kinds_of_programs(self, adapter, tmp_path, kind):
        source = "import sys\nprint(sys.argv, sys.path[0], __name__, __file__)\n"
        folder = tmp_path / "folder"
        folder.mkdir()
        main = folder / "__main__.py"
        main.write_text(source)
        target = folder
        if kind == "archive":
            target = tmp_path / "archive.zip"
            with zipfile.ZipFile(target, "w") as archive:
                archive.write(main, "__main__.py")
        elif kind == "compiled":
            import py_compile

            target = tmp_path / "program.pyc"
            py_compile.compile(str(main), str(target))
        expected = plain(tmp_path, target, "x").stdout
        adapter.launch(target, args=["x"])
        go_on(adapter)
        assert adapter.ended() == 0
        assert adapter.output() == expected


class TestOutput(launched.TestOutput):
    """What it prints arrives as that of others does."""

    def test_all_of_it_comes_before_the_end(self, adapter, tmp_path):
        source = "for i in range(10_000): print(i)\nprint('x' * 1_000_000, end='')\n"
        adapter.launch(written(tmp_path, source), noDebug=True)
        adapter.event("exited")
        expected = "".join(f"{i}\n" for i in range(10_000)) + "x" * 1_000_000
        assert adapter.output() == expected

    def test_no_stream_reaches_the_protocol(self, adapter, tmp_path):
        source = """
            import os, subprocess, sys
            os.write(1, b"one\\n")
            os.write(2, b"two\\n")
            subprocess.run(["/bin/sh", "-c", "echo three; echo four >&2; cat"])
            print(repr(input() if sys.stdin.read() else ""))
        """
        adapter.launch(written(tmp_path, source), subProcess=False)
        go_on(adapter)
        assert adapter.ended() == 0
        assert adapter.output() == "one\nthree\n''\n"
        assert adapter.output("stderr") == "two\nfour\n"


class TestStops:
    def test_the_process_is_the_adapters(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "import os\nprint(os.getpid())"))
        assert adapter.event("process")["systemProcessId"] == adapter.process.pid
        assert adapter.event("capabilities")["capabilities"] == {"supportsRestartRequest": False}
        go_on(adapter)
        assert adapter.ended() == 0
        assert int(adapter.output()) == adapter.process.pid
        with pytest.raises(RefusedError, match="has ended"):
            adapter.request("threads")
        assert adapter.leave() == 0
        assert adapter.process.returncode == 0

    @pytest.mark.parametrize("way", ["next", "stepIn", "stepOut"])
    def test_steps_go_as_in_a_process_of_its_own(self, adapter, tmp_path, way):
        source = "def f():\n    return 1\nx = f()\ntry:\n    1 / 0\nfinally:\n    y = f()\n"
        program = written(tmp_path, source)
        with stdio() as other:
            expected = places(other, program, way)
            assert places(adapter, program, way) == expected
            assert other.output("stderr") == adapter.output("stderr")
        assert expected[0] == ("<module>", 1, 1)

    def test_an_exit_is_an_exception_once(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "import sys\nsys.exit(3)\n"))
        adapter.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        go_on(adapter)
        if frame_eval.TRACING == "sys_monitoring":
            stop = adapter.stopped("exception")
            assert adapter.at(stop) == ("<module>", 2)
            adapter.request("continue", {"threadId": stop["threadId"]})
        assert adapter.ended() == 3

    def test_an_exception_that_nobody_catches(self, adapter, tmp_path):
        source = "import atexit\natexit.register(print, 'bye')\ndef f():\n    1 / 0\nf()\n"
        program = written(tmp_path, source)
        adapter.launch(program)
        adapter.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        go_on(adapter)
        stop = adapter.stopped("exception")
        assert adapter.at(stop) == ("f", 4)
        adapter.request("continue", {"threadId": stop["threadId"]})
        assert adapter.ended() == 1
        expected = plain(tmp_path, program)
        assert adapter.output() == expected.stdout == "bye\n"
        assert adapter.output("stderr") == expected.stderr

    @pytest.mark.parametrize(
        ("source", "status"),
        [
            ("import sys\nsys.exit('why')", 1),
            ("import os\nos._exit(7)", 7),
            ("raise KeyboardInterrupt", 130),
            ("import warnings\nwarnings.warn('mind')\nraise SystemExit(-1)", 255),
            ("import threading\nthreading.Timer(0.1, print, ['late']).start()", 0),
            ("import atexit, os\natexit.register(os._exit, 5)", 5),
        ],
    )
    @pytest.mark.parametrize("debugs", [True, False])
    def test_the_status_is_told(self, adapter, tmp_path, source, status, debugs):
        program = written(tmp_path, source)
        expected = plain(tmp_path, program)
        adapter.launch(program, noDebug=not debugs)
        if debugs:
            go_on(adapter)
        assert adapter.ended() == status
        assert adapter.output() == expected.stdout
        assert adapter.output("stderr") == expected.stderr
        adapter.leave()
        assert adapter.process.returncode == status

    def test_one_that_is_killed_ends_the_connection(self, adapter, tmp_path):
        adapter.launch(written(tmp_path, "import os\nos.kill(os.getpid(), 9)"))
        adapter.send("configurationDone")
        adapter.read_to_the_end()
        assert adapter.process.wait(PATIENCE) == -signal.SIGKILL


class TestEnds:
    def test_disconnect_ends_it_and_its_children(self, adapter, tmp_path):
        program = written(tmp_path, ends.FAMILY)
        pids = [int(pid) for pid in running(adapter, program, subProcess=False).split()]
        assert adapter.leave() == 0
        assert adapter.ended() == 128 + signal.SIGTERM
        assert adapter.process.returncode == -signal.SIGTERM
        assert gone(*pids[1:])

    def test_disconnect_can_let_it_run_on(self, adapter, tmp_path):
        source = """
            import os, time
            print("ready", flush=True)
            while not os.path.exists("go"):
                time.sleep(0.01)
            for i in range(10000):
                print("more" * 100)
            open("done", "w").close()
            os._exit(4)
        """
        program = written(tmp_path, source)
        running(adapter, program, cwd=str(tmp_path))
        adapter.request("disconnect", {"terminateDebuggee": False})
        adapter.close()
        (tmp_path / "go").touch()
        assert adapter.process.wait(PATIENCE) == 4
        assert (tmp_path / "done").exists()

    def test_disconnect_while_it_is_stopped(self, adapter, tmp_path):
        program = written(tmp_path, "x = 1\nprint(x)\n")
        adapter.launch(program)
        adapter.set_breakpoints(program, 2)
        go_on(adapter)
        adapter.stopped("breakpoint")
        adapter.leave()
        assert adapter.ended() == 128 + signal.SIGTERM
        assert adapter.output() == ""

    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_a_client_that_vanishes_ends_it(self, adapter, tmp_path, how):
        running(adapter, written(tmp_path, ends.WAIT))
        if how == "reset":
            adapter.send_raw(b"Content-Length: 99999999999\r\n\r\n")
        adapter.close()
        assert adapter.process.wait(PATIENCE) == -signal.SIGTERM

    def test_terminate(self, adapter, tmp_path):
        running(adapter, written(tmp_path, ends.WAIT))
        adapter.request("terminate")
        assert adapter.ended() == 128 + signal.SIGTERM
        adapter.leave()
        assert adapter.process.returncode == -signal.SIGTERM

    def test_terminate_is_heard_by_a_handler_and_the_second_time_by_nobody(self, adapter, tmp_path):
        running(adapter, written(tmp_path, ends.DEAF))
        adapter.request("terminate")
        while "asked" not in adapter.output():
            adapter.read_one()
        adapter.request("terminate")
        assert adapter.ended() == 128 + signal.SIGKILL
        adapter.leave()
        assert adapter.process.returncode == -signal.SIGKILL

    def test_terminate_as_the_keyboard_does(self, adapter, tmp_path):
        source = """
            import time
            try:
                print("ready", flush=True)
                # A signal that comes right before a sleep does not end it.
                while True:
                    time.sleep(0.05)
            except KeyboardInterrupt:
                print("interrupted")
                raise SystemExit(6)
        """
        running(adapter, written(tmp_path, source), onTerminate="KeyboardInterrupt")
        adapter.request("terminate")
        assert adapter.ended() == 6
        assert "interrupted" in adapter.output()

    def test_restart_is_refused(self, adapter, tmp_path):
        running(adapter, written(tmp_path, ends.WAIT))
        with pytest.raises(RefusedError, match="begin a new session"):
            adapter.request("restart")
        adapter.leave()


@pytest.mark.parametrize("arguments", [{}, {"frameEval": False}])
def test_backends(adapter, program, arguments):
    backend = frame_eval.TRACING if arguments else "eval_frame"
    assert frame_eval.backend_of(adapter, program, **arguments) == backend


def test_a_module_that_imports_itself_by_its_name(adapter, tmp_path):
    source = textwrap.dedent("""
        import __main__, pickle, sys
        class Thing: pass
        assert __main__.Thing is Thing
        print(pickle.loads(pickle.dumps(Thing())).__class__ is Thing, os_name)
    """)
    source = f"os_name = {os.name!r}\n" + source
    adapter.launch(written(tmp_path, source))
    go_on(adapter)
    assert adapter.ended() == 0
    assert adapter.output() == f"True {os.name}\n"
