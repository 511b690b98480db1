"""Progress of what takes long, for clients that show it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from tests.dap_adapter import environment, stdio
from tests.dap_client import Body, RefusedError, listening

SLOW = """\
import time

def wait(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "waited"

class Slow:
    def __repr__(self):
        wait(0.4)
        return "slow"

class Holder:
    def __init__(self):
        self.one, self.two, self.three, self.four = [Slow() for _ in range(4)]

print("end")
"""
SHOWS = {"supportsProgressReporting": True}


def _stopped(client, program, about: Body, **settings):
    client.request("initialize", {"adapterID": "dapper", **about})
    attach = client.send("attach", settings)
    client.event("initialized")
    client.response(attach)
    client.set_breakpoints(program, 18)
    client.request("configurationDone")
    thread = client.stopped("breakpoint")["threadId"]
    return client.frames(thread)[0]["id"]


def _evaluate(client, frame, expression, context="repl"):
    arguments = {"expression": expression, "frameId": frame, "context": context}
    return client.send("evaluate", arguments)


def _shown(client):
    client.request("threads")
    return [event for event in client.events if event["event"].startswith("progress")]


def test_a_long_evaluation_is_shown_until_it_ends(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, SHOWS)
        expression = "wait(1.5) + '" + "x" * 100 + "'"
        seq = _evaluate(client, frame, expression)
        start = client.event("progressStart")
        assert seq not in client.responses
        assert start["title"] == "Evaluating"
        assert start["message"] == expression[:60] + "..."
        assert start["requestId"] == seq
        assert start["cancellable"]
        assert client.response(seq)["result"].startswith("'waited")
        assert client.event("progressEnd") == {"progressId": start["progressId"]}


def test_a_long_evaluation_is_cancelled_by_its_progress(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, SHOWS)
        seq = _evaluate(client, frame, "wait(1000)")
        behind = _evaluate(client, frame, "wait(2000)")
        starts = [client.event("progressStart") for _ in range(2)]
        assert [start["requestId"] for start in starts] == [seq, behind]
        # One that waits for the other is given up before it begins.
        client.request("cancel", {"progressId": starts[1]["progressId"]})
        with pytest.raises(RefusedError, match="cancelled"):
            client.response(behind)
        assert client.event("progressEnd") == {"progressId": starts[1]["progressId"]}
        assert not _shown(client)
        client.request("cancel", {"progressId": starts[0]["progressId"]})
        with pytest.raises(RefusedError, match="cancelled"):
            client.response(seq)
        assert client.event("progressEnd") == {"progressId": starts[0]["progressId"]}
        assert client.response(_evaluate(client, frame, "1 + 1"))["result"] == "2"


def test_a_long_page_of_variables_is_shown(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, SHOWS)
        seq = _evaluate(client, frame, "Holder()", "variables")
        reference = client.response(seq)["variablesReference"]
        seq = client.send("variables", {"variablesReference": reference})
        start = client.event("progressStart")
        assert start["title"] == "Reading variables"
        assert start["requestId"] == seq
        client.response(seq)
        assert client.event("progressEnd") == {"progressId": start["progressId"]}


def test_what_runs_out_of_time_is_shown_to_its_end(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, SHOWS, evaluationTimeout=1.5)
        seq = _evaluate(client, frame, "wait(1000)", "watch")
        start = client.event("progressStart")
        with pytest.raises(RefusedError, match=r"longer than 1\.5 s"):
            client.response(seq)
        assert client.event("progressEnd") == {"progressId": start["progressId"]}


def test_what_is_quick_is_not_shown(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, SHOWS)
        for _ in range(20):
            client.response(_evaluate(client, frame, "1 + 1"))
        time.sleep(1.2)
        assert not _shown(client)


def test_a_client_that_shows_no_progress_is_told_of_none(tmp_path):
    with listening(tmp_path, SLOW) as (client, program, _):
        frame = _stopped(client, program, {})
        assert client.response(_evaluate(client, frame, "wait(1.5)"))["result"] == "'waited'"
        assert not _shown(client)


def test_waiting_for_a_program_that_connects_is_shown(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, dapper\n"
        "dapper.connect(int(sys.argv[1])); dapper.wait_for_client()\n"
        "print('end')\n"
    )
    with stdio() as client:
        client.initialize(**SHOWS)
        attach = client.send("attach", {"listen": {"host": "127.0.0.1", "port": 0}})
        port = client.event("debugpyWaitingForServer")["port"]
        start = client.event("progressStart")
        assert start["title"] == f"Waiting for a program to connect to 127.0.0.1:{port}"
        assert "cancellable" not in start
        command = [sys.executable, str(program), str(port)]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
        try:
            assert client.event("progressEnd") == {"progressId": start["progressId"]}
            client.event("initialized")
            client.response(attach)
            client.request("configurationDone")
            assert process.communicate(timeout=30)[0] == b"end\n"
        finally:
            process.kill()


@pytest.mark.parametrize("delay", [0, 1.5])
def test_waiting_for_a_launched_program_is_shown_when_it_takes_long(tmp_path, delay):
    program = tmp_path / "program.py"
    program.write_text("print('end')\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nsleep {delay}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    with stdio() as client:
        client.initialize(**SHOWS)
        launch = client.send("launch", {"program": str(program), "python": str(python)})
        client.event("initialized")
        client.response(launch)
        names = [event["event"] for event in client.events]
        assert ("progressStart" in names) == ("progressEnd" in names)
        if delay:
            assert client.event("progressStart")["title"] == "Waiting for the program to start"
            client.event("progressEnd")
        client.request("configurationDone")
        assert client.ended() == 0


def test_progress_is_cancelled_through_the_adapter(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(SLOW)
    with stdio() as client:
        client.initialize(**SHOWS)
        launch = client.send("launch", {"program": str(program)})
        client.event("initialized")
        client.response(launch)
        client.set_breakpoints(program, 18)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        frame = client.frames(thread)[0]["id"]
        seq = _evaluate(client, frame, "wait(1000)")
        start = client.event("progressStart")
        assert start["requestId"] == seq
        client.request("cancel", {"progressId": start["progressId"]})
        with pytest.raises(RefusedError, match="cancelled"):
            client.response(seq)
        assert client.event("progressEnd") == {"progressId": start["progressId"]}
        client.request("continue", {"threadId": thread})
        assert client.ended() == 0
