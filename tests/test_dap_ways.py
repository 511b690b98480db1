"""The ways in which a client and a program find each other."""

from __future__ import annotations

import json
import os
import socket
import textwrap

import pytest
from tests.dap_client import Client, listening
from tests.dap_programs import BUSY, COUNT, go_on, program, running, waiting
from tests.ports import free_port

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
