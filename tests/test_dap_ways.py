"""The ways in which a client and a program find each other, and how they part."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.dap_client import Client, RefusedError, listening
from tests.test_idle import NOTHING, STATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY = """\
    import time
    def work(n):
        return n + 1
    n = 0
    until = time.monotonic() + 60
    while time.monotonic() < until:
        n = work(n)
    """
COUNT = """\
    import sys
    def work(n):
        print("at", n)
        return n
    work(1)
    sys.exit(work(3))
    """


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running(*command: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run an interpreter with these arguments, and leave nothing of it."""
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def program(folder: Path, source: str) -> Path:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(source))
    return path


@contextmanager
def waiting(
    folder: Path, source: str, *options: str
) -> Iterator[tuple[Client, Path, subprocess.Popen[str]]]:
    """Run a program with `dapper run --listen --wait-for-client`, and connect to it."""
    path = program(folder, source)
    port = free_port()
    command = ["-m", "dapper", "run", "--listen", str(port), "--wait-for-client", *options]
    with running(*command, path.name, cwd=folder) as process:
        client = Client.connect(("127.0.0.1", port))
        try:
            yield client, path, process
        finally:
            client.close()


def go_on(client: Client, stop: dict[str, object]) -> None:
    client.request("continue", {"threadId": stop["threadId"]})


# Waiting for a client


def test_run_waits_and_its_main_script_has_breakpoints_from_the_first_line(tmp_path):
    with waiting(tmp_path, COUNT) as (client, path, process):
        client.begin()
        told = client.set_breakpoints(path, 1, 3)
        client.request("configurationDone")
        lines = []
        for _ in range(3):
            stop = client.stopped("breakpoint")
            lines.append(client.at(stop)[1])
            go_on(client, stop)
        assert lines == [1, 3, 3]
        assert client.event("exited") == {"exitCode": 3}
        client.event("terminated")
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (3, "at 1\nat 3\n", "")
        changed = [event["body"] for event in client.events if event["event"] == "breakpoint"]
        assert {body["breakpoint"]["id"] for body in changed} == {point["id"] for point in told}
        assert all(body["breakpoint"]["verified"] for body in changed)


@pytest.mark.parametrize("kind", ["script", "module", "code"])
def test_entry_is_the_first_line_of_the_program(tmp_path, kind):
    path = program(tmp_path, "'''doc'''\nx = 1\nprint(x)\n")
    target = {"script": [path.name], "module": ["-m", "program"], "code": ["-c", "x = 1\nprint(x)"]}
    port = free_port()
    command = ["-m", "dapper", "--listen", str(port), "--wait-for-client", *target[kind]]
    with running(*command, cwd=tmp_path) as process:
        client = Client.connect(("127.0.0.1", port))
        client.begin(stopOnEntry=True)
        client.request("configurationDone")
        stop = client.stopped("entry")
        assert client.at(stop) == ("<module>", 1)
        client.request("next", {"threadId": stop["threadId"]})
        assert client.at(client.stopped("step")) == ("<module>", 2)
        go_on(client, stop)
        assert process.communicate(timeout=30) == ("1\n", "")
        client.close()


def test_a_program_that_does_not_wait_is_joined(tmp_path):
    port = free_port()
    path = program(tmp_path, BUSY)
    with running("-m", "dapper", "run", "--listen", str(port), path.name, cwd=tmp_path):
        client = Client.connect(("127.0.0.1", port))
        client.begin()
        client.set_breakpoints(path, 3)
        client.request("configurationDone")
        for _ in range(3):
            stop = client.stopped("breakpoint")
            assert client.at(stop) == ("work", 3)
            go_on(client, stop)
        client.close()


def read_hello(stream: socket.socket) -> dict[str, object]:
    """Return the first word of a process, which is none of the protocol's messages."""
    with stream.makefile("rb", buffering=0) as lines:
        length = int(lines.readline().split(b":")[1])
        assert lines.readline() == b"\r\n"
        event = json.loads(lines.read(length))
    assert (event["seq"], event["event"]) == (0, "dapper/hello")
    body: dict[str, object] = event["body"]
    return body


def adapter_socket() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)
    return listener, listener.getsockname()[1]


@pytest.mark.parametrize("way", ["run", "module"])
def test_a_program_connects_and_says_who_it_is(tmp_path, way):
    listener, port = adapter_socket()
    with listener:
        if way == "run":
            path = program(tmp_path, COUNT)
            command = ["-m", "dapper", "run", "--connect", f"localhost:{port}"]
            command += ["--wait-for-client", path.name]
        else:
            path = program(
                tmp_path,
                f"import dapper\ndapper.connect({port})\ndapper.wait_for_client()\n"
                + textwrap.dedent(COUNT),
            )
            command = [path.name]
        environment = dict(os.environ, DAPPER_TOKEN="secret")
        with running(*command, cwd=tmp_path, env=environment) as process:
            stream, _ = listener.accept()
            hello = read_hello(stream)
            client = Client(stream)
            assert hello["token"] == "secret"
            assert hello["pid"] == process.pid
            assert hello["parentPid"] == os.getpid()
            client.begin()
            line = path.read_text().splitlines().index('    print("at", n)') + 1
            client.set_breakpoints(path, line)
            client.request("configurationDone")
            for _ in range(2):
                go_on(client, client.stopped("breakpoint"))
            client.event("terminated")
            assert process.wait(30) == 3
            client.close()


def test_nobody_to_connect_to_is_told_and_the_program_runs(tmp_path):
    path = program(tmp_path, "print(5)")
    port = free_port()
    with running("-m", "dapper", "run", "--connect", str(port), path.name, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "5\n")
    assert f"no debugger can be reached at 127.0.0.1:{port}" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--listen", "x"], "no [HOST:]PORT"),
        (["--listen", "70000"], "no [HOST:]PORT"),
        (["--connect", ":1"], "no [HOST:]PORT"),
        (["--wait-for-client"], "needs --listen or --connect"),
        (["--listen", "1", "--connect", "2"], "cannot be used with"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, problem):
    path = program(tmp_path, "print(5)")
    with running("-m", "dapper", "run", *options, path.name, cwd=tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert problem in err


# The module


def test_the_module_has_the_names_of_debugpy(tmp_path):
    source = """\
        import sys, dapper
        assert "dapper.debug" not in sys.modules
        assert not dapper.is_client_connected()
        dapper.breakpoint()
        dapper.debug_this_thread()
        dapper.trace_this_thread(True)
        dapper.configure(subProcess=False, qt="none")
        for wrong in ({"x": 1}, {"subProcess": 1}):
            try:
                dapper.configure(wrong)
            except ValueError as error:
                print(error)
        for call in (dapper.wait_for_client, lambda: dapper.nothing):
            try:
                call()
            except (RuntimeError, AttributeError) as error:
                print(error)
        host, port = dapper.listen(0)
        assert host == "127.0.0.1" and port > 0
        for call in (lambda: dapper.listen(0), lambda: dapper.configure(qt="none")):
            try:
                call()
            except RuntimeError as error:
                print(error)
        import threading
        threading.Timer(0.1, dapper.wait_for_client.cancel).start()
        dapper.wait_for_client()
        """
    path = program(tmp_path, source)
    with running(path.name, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert err == ""
    assert out.splitlines() == [
        "unknown property 'x': the properties are 'qt', 'subProcess'",
        "'subProcess' has to be of type bool, not 1",
        "there is nothing to wait for: call listen or connect first",
        "module 'dapper' has no attribute 'nothing'",
        "listen was called in this process already",
        "configure comes before listen and connect",
    ]


def test_breakpoint_stops_while_there_is_a_client(tmp_path):
    source = """\
        import dapper, os, threading
        def stop():
            breakpoint()
            dapper.breakpoint()
        stop()
        dapper.trace_this_thread(False)
        stop()
        dapper.trace_this_thread(True)
        import importlib
        importlib.import_module("sys").breakpointhook()
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        seen = []
        for _ in range(3):
            stop = client.stopped("breakpoint")
            seen.append(client.at(stop))
            go_on(client, stop)
        assert seen == [("stop", 3), ("stop", 4), ("<module>", 10)]
        assert process.wait(30) == 0


def test_pythonbreakpoint_names_it(tmp_path):
    path = program(tmp_path, "breakpoint()\nprint(5)\n")
    environment = dict(os.environ, PYTHONBREAKPOINT="dapper.breakpoint")
    with running(path.name, cwd=tmp_path, env=environment) as process:
        assert process.communicate(timeout=30) == ("5\n", "")


def test_messages_are_logged(tmp_path):
    source = "import dapper\ndapper.log_to('logs')\n"
    with listening(tmp_path, source + "input()") as (client, _, process):
        client.begin()
        client.request("configurationDone")
        process.wait(30)
        client.event("terminated")
    log = (tmp_path / "logs" / f"dapper.server-{process.pid}.log").read_text()
    assert '"event":"terminated"' in log


# Output


def test_output_is_sent_and_printed_all_the_same(tmp_path):
    source = """\
        import sys
        before = sys.stdout, sys.stderr
        print("one", 2)
        print("three", file=sys.stderr)
        sys.stdout.write("four")
        sys.stdout.flush()
        assert (sys.stdout, sys.stderr) == before
        here = 1
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin(redirectOutput=True)
        client.set_breakpoints(path, 8)
        client.request("configurationDone")
        client.stopped("breakpoint")
        output: dict[str, str] = {}
        for event in client.events:
            if event["event"] == "output":
                body = event["body"]
                output[body["category"]] = output.get(body["category"], "") + body["output"]
        assert output == {"stdout": "one 2\nfour", "stderr": "three\n"}
        client.request("disconnect")
        out, _ = process.communicate(timeout=30)
        assert out == "one 2\nfour"


# Ends


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(4)", 4),
        ("raise ValueError", 1),
        ("os._exit(5)", 5),
        ("pass", 0),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
        ("threading.Thread(target=time.sleep, args=(0.2,)).start(); sys.exit(2)", 2),
    ],
)
def test_the_end_is_told_with_its_status(tmp_path, end, status):
    source = f"import os, sys, threading, time\nx = 1\nprint(x)\n{end}\n"
    with listening(tmp_path, source) as (client, path, process):
        client.begin(redirectOutput=True)
        client.set_breakpoints(path, {"line": 3, "logMessage": "x is {x}"})
        client.request("configurationDone")
        assert client.event("exited") == {"exitCode": status}
        client.event("terminated")
        client.request("disconnect")
        client.read_to_the_end()
        assert process.wait(30) == status


def test_disconnect_leaves_the_program_alone_and_the_next_client_is_welcome(tmp_path):
    (tmp_path / "state.py").write_text(STATE)
    source = "import json, os, sys, time, state\nwrite = sys.stdout.write\n" + textwrap.dedent(
        BUSY
    ).replace("    n = work(n)", "    n = work(n)\n    tell()")
    source = source.replace(
        "n = 0\n",
        "def tell():\n"
        "    if os.path.exists('ask'):\n"
        "        os.remove('ask')\n"
        "        found = state.state()\n"
        "        found['hook'] = sys.breakpointhook is sys.__breakpointhook__\n"
        "        found['write'] = 'write' in vars(sys.stdout)\n"
        "        found['code'] = any('robe' in repr(c) for c in work.__code__.co_consts)\n"
        "        open('told.part', 'w').write(json.dumps(found))\n"
        "        os.replace('told.part', 'told')\n"
        "n = 0\n",
    )
    port = free_port()
    path = program(tmp_path, f"import dapper\ndapper.listen({port})\n" + source)
    line = path.read_text().splitlines().index("    return n + 1") + 1

    def state() -> dict[str, object]:
        (tmp_path / "ask").touch()
        until = time.monotonic() + 30
        while not (tmp_path / "told").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        found: dict[str, object] = json.loads((tmp_path / "told").read_text())
        (tmp_path / "told").unlink()
        return found

    plain = {**NOTHING, "hook": True, "write": False, "code": False}
    with running(path.name, cwd=tmp_path) as process:
        for round_ in range(4):
            client = Client.connect(("127.0.0.1", port))
            client.begin(redirectOutput=True)
            client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
            client.set_breakpoints(path, line)
            client.request("configurationDone")
            stop = client.stopped("breakpoint")
            client.request("stepIn", {"threadId": stop["threadId"]})
            client.stopped("step")
            if round_ % 2 == 0:
                client.request("disconnect")
                client.read_to_the_end()
            client.close()
            found = state()
            until = time.monotonic() + 10
            while found != plain and time.monotonic() < until:
                found = state()
            assert found == plain
        assert process.poll() is None


@pytest.mark.parametrize("stopped", [True, False])
def test_disconnect_ends_the_program_when_asked_to(tmp_path, stopped):
    with listening(tmp_path, BUSY) as (client, path, process):
        client.begin()
        if stopped:
            client.set_breakpoints(path, 3)
        client.request("configurationDone")
        if stopped:
            client.stopped("breakpoint")
        client.request("disconnect", {"terminateDebuggee": True})
        client.read_to_the_end()
        assert process.wait(30) == -signal.SIGTERM


def test_terminate_is_gentle_first(tmp_path):
    source = """\
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        client.request("terminate")
        assert process.stdout.readline() == "no\n"
        client.request("terminate")
        assert process.wait(30) == -signal.SIGKILL


def test_terminate_interrupts_where_that_is_asked_for(tmp_path):
    source = """\
        import time
        try:
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            print("interrupted")
        """
    with listening(tmp_path, source) as (client, path, process):
        client.begin(onTerminate="KeyboardInterrupt")
        client.set_breakpoints(path, 4)
        client.request("configurationDone")
        client.stopped("breakpoint")
        client.set_breakpoints(path)
        client.request("terminate")
        assert process.communicate(timeout=30)[0] == "interrupted\n"
        assert process.returncode == 0


# Who may come in


def test_a_second_client_is_refused_with_a_word(tmp_path):
    with listening(tmp_path, BUSY) as (client, path, process):
        client.begin()
        client.request("configurationDone")
        address = client._stream.getpeername()
        second = Client.connect(address)
        with pytest.raises(RefusedError, match=f"process {process.pid} is debugged by another"):
            second.request("initialize", {"adapterID": "x"})
        second.read_to_the_end()
        second.close()
        client.set_breakpoints(path, 3)
        client.stopped("breakpoint")


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"\x16\x03\x01",
        b"Content-Length: 2147483648\r\n\r\n",
        b"Content-Length: 3\r\n\r\n{x}",
    ],
)
def test_what_is_no_client_is_dropped_and_takes_no_place(tmp_path, said):
    with listening(tmp_path, BUSY, waits=False) as (client, path, _):
        address = client._stream.getpeername()
        silent = [Client.connect(address) for _ in range(40)]
        with socket.create_connection(address) as stranger:
            stranger.settimeout(30)
            stranger.sendall(said)
            with suppress(ConnectionError):
                assert stranger.recv(100) == b""
        client.close()
        late = Client.connect(address)
        late.begin()
        late.set_breakpoints(path, 3)
        late.request("configurationDone")
        late.stopped("breakpoint")
        for one in (*silent, late):
            one.close()


def test_nothing_is_done_before_the_handshake(tmp_path):
    with listening(tmp_path, BUSY, waits=False) as (client, path, _):
        for command in ("threads", "evaluate", "attach", "configurationDone", "launch"):
            with pytest.raises(RefusedError, match="initialize comes first"):
                client.request(command, {"expression": "open('made', 'w')"})
        client.request("initialize", {"adapterID": "x"})
        with pytest.raises(RefusedError, match="attach or launch comes first"):
            client.request("evaluate", {"expression": "open('made', 'w')"})
        with pytest.raises(RefusedError, match="attach or launch comes first"):
            client.request("initialize", {"adapterID": "x"})
        client.request("attach", {})
        with pytest.raises(RefusedError, match="asked for already"):
            client.request("attach", {})
        client.set_breakpoints(path, 3)
        client.stopped("breakpoint")
        assert not (tmp_path / "made").exists()


def test_only_this_machine_reaches_it_unless_told_otherwise(tmp_path):
    source = """\
        import dapper
        print(dapper.listen(0)[0])
        """
    path = program(tmp_path, source)
    with running(path.name, cwd=tmp_path) as process:
        assert process.communicate(timeout=30) == ("127.0.0.1\n", "")


# Where the sources are


@pytest.mark.parametrize(
    ("local", "name"),
    [("/home/me/app", "/home/me/app/program.py"), ("C:\\Me\\App", "c:\\me\\app\\program.py")],
)
def test_paths_are_mapped_both_ways(tmp_path, local, name):
    with listening(tmp_path, COUNT) as (client, _, process):
        client.begin(pathMappings=[{"localRoot": local, "remoteRoot": "."}])
        client.set_breakpoints(name, 3)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        separator = "\\" if "\\" in local else "/"
        shown = client.frames(stop["threadId"])[0]["source"]["path"]
        assert shown == f"{local}{separator}program.py"
        client.set_breakpoints(name)
        go_on(client, stop)
        assert process.wait(30) == 3
