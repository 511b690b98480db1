"""Processes that a launched program starts: each finds a client of its own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.dap_adapter import Adapter, port, stdio
from tests.dap_client import Body, RefusedError

PARENT = """\
import subprocess, sys
done = subprocess.run([sys.executable, "child.py", "x"])
print("child:", done.returncode)
"""
CHILD = """\
import sys
n = len(sys.argv)
sys.exit(n + 4)
"""


@pytest.fixture
def programs(tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    parent = tmp_path / "parent.py"
    parent.write_text(PARENT)
    return parent, tmp_path / "child.py"


@pytest.fixture
def adapter():
    with stdio() as client:
        yield client


def begin(client: Adapter, program: Path, **more: object) -> None:
    client.initialize(supportsStartDebuggingRequest=True)
    client.send("launch", {"program": str(program), "cwd": str(program.parent), **more})
    client.event("initialized")
    client.request("configurationDone")


def asked(client: Adapter) -> Body:
    request = client.reverse_request("startDebugging")
    client.answer(request)
    assert request["arguments"]["request"] == "attach"
    configuration: Body = request["arguments"]["configuration"]
    return configuration


def attend(child: Adapter, configuration: Body) -> None:
    child.initialize()
    seq = child.send("attach", configuration)
    child.event("initialized")
    child.response(seq)


def stop_and_go(child: Adapter, file: Path) -> None:
    child.set_breakpoints(file, 3)
    child.request("configurationDone")
    stop = child.stopped("breakpoint")
    assert child.at(stop) == ("<module>", 3)
    child.request("continue", {"threadId": stop["threadId"]})
    assert child.event("exited")["exitCode"] == 6
    child.event("terminated")


def test_a_client_comes_to_the_adapter_of_the_parent(adapter, programs):
    parent, file = programs
    begin(adapter, parent, justMyCode=False)
    configuration = asked(adapter)
    assert configuration["justMyCode"] is False
    assert "program" not in configuration
    connect = configuration["connect"]
    child = Adapter.connect((connect["host"], connect["port"]))
    attend(child, configuration)
    stop_and_go(child, file)
    child.close()
    assert adapter.ended() == 0
    assert adapter.output() == "child: 6\n"


def test_a_client_comes_by_an_adapter_of_its_own(adapter, programs):
    parent, file = programs
    begin(adapter, parent)
    with stdio() as child:
        attend(child, asked(adapter))
        stop_and_go(child, file)
        assert child.leave() == 0
    assert adapter.ended() == 0


def test_a_client_of_a_port_comes_to_the_same_port(programs):
    parent, file = programs
    with port() as (address, process):
        client = Adapter.connect(address)
        begin(client, parent)
        configuration = asked(client)
        assert configuration["connect"] == {"host": address[0], "port": address[1]}
        child = Adapter.connect(address)
        attend(child, configuration)
        stop_and_go(child, file)
        assert client.ended() == 0
        child.close()
        client.close()
        assert process.wait(30) == 0


def test_clients_that_cannot_start_sessions_get_the_event(adapter, programs):
    parent, file = programs
    adapter.launch(parent, cwd=str(parent.parent))
    adapter.request("configurationDone")
    configuration = adapter.event("debugpyAttach")
    connect = configuration["connect"]
    child = Adapter.connect((connect["host"], connect["port"]))
    attend(child, configuration)
    stop_and_go(child, file)
    child.close()
    assert adapter.ended() == 0


def test_a_child_that_the_client_refuses_runs_on(adapter, programs):
    parent, _ = programs
    begin(adapter, parent)
    request = adapter.reverse_request("startDebugging")
    adapter.answer(request, success=False)
    assert adapter.ended() == 0
    assert adapter.output() == "child: 6\n"
    assert "is not debugged" in adapter.output("important")


def test_children_can_be_left_alone(adapter, programs):
    parent, _ = programs
    begin(adapter, parent, subProcess=False)
    assert adapter.ended() == 0
    assert adapter.output() == "child: 6\n"
    assert adapter.output("stderr") == ""
    assert not adapter.requests


def test_who_comes_to_the_port_of_children_can_do_nothing_else(adapter, programs):
    parent, file = programs
    begin(adapter, parent)
    configuration = asked(adapter)
    connect = configuration["connect"]
    other = Adapter.connect((connect["host"], connect["port"]))
    other.initialize()
    with pytest.raises(RefusedError, match="only a process that waits"):
        other.request("launch", {"code": "1"})
    with pytest.raises(RefusedError, match="has to name a process"):
        other.request("attach", {"connect": {"host": "127.0.0.1", "port": 1}})
    other.request("disconnect")
    other.close()
    child = Adapter.connect((connect["host"], connect["port"]))
    attend(child, configuration)
    stop_and_go(child, file)
    child.close()
    assert adapter.ended() == 0


def test_children_of_every_kind(adapter, tmp_path):
    source = """
        import multiprocessing, os, sys

        def work(n):
            return n * 2

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                print(pool.map(work, [1, 2]))
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                print(work(3))
                sys.stdout.flush()
                os._exit(0)
            os.waitpid(pid, 0)
    """
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(source))
    begin(adapter, program)
    stops = 0
    with_stops = []
    while stops < 2:
        configuration = asked(adapter)
        connect = configuration["connect"]
        child = Adapter.connect((connect["host"], connect["port"]))
        attend(child, configuration)
        child.set_breakpoints(program, 5)
        child.request("configurationDone")
        with_stops.append(child)
        stop = child.stopped("breakpoint")
        child.set_breakpoints(program)
        child.request("continue", {"threadId": stop["threadId"]})
        stops += 1
    assert adapter.ended() == 0
    assert sorted(adapter.output().split("\n")) == ["", "6", "[2, 4]"]
    for child in with_stops:
        child.close()
