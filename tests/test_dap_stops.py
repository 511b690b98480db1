"""Stops and steps over the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.dap_client import Client, RefusedError, listening

if TYPE_CHECKING:
    pass

LOOP = """\
import threading

def work(n):
    total = 0
    for i in range(n):
        total += i
    return total

def main():
    print(work(10))
    print(work(3))

main()
"""


def test_a_breakpoint_stops_shows_its_stack_and_goes_on(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, process):
        client.begin()
        told = client.set_breakpoints(program, 7, {"line": 6, "condition": "i == 8"})
        assert [point["verified"] for point in told] == [False, False]
        assert {point["reason"] for point in told} == {"pending"}
        client.request("configurationDone")
        stops = ((6, 10, told[1]), (7, 10, told[0]), (7, 11, told[0]))
        for line, caller, point in stops:
            stop = client.stopped("breakpoint")
            assert stop["hitBreakpointIds"] == [point["id"]]
            frames = client.frames(stop["threadId"])
            assert [(f["name"], f["line"]) for f in frames[:2]] == [
                ("work", line),
                ("main", caller),
            ]
            assert frames[0]["source"]["path"] == str(program)
            assert client.request("continue", {"threadId": stop["threadId"]}) == {
                "allThreadsContinued": True
            }
        assert process.wait(30) == 0
        verified = [event for event in client.events if event["event"] == "breakpoint"]
        assert all(event["body"]["breakpoint"]["verified"] for event in verified)


def test_steps_go_over_into_and_out(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 10)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        thread = {"threadId": stop["threadId"]}
        seen = []
        for command in ("stepIn", "next", "next", "stepOut"):
            client.request(command, thread)
            seen.append(client.at(client.stopped("step")))
        assert seen == [("work", 4), ("work", 5), ("work", 6), ("main", 10)]
        client.set_breakpoints(program)
        client.request("continue", thread)
        assert process.wait(30) == 0


def test_a_busy_loop_is_paused_and_left_alone_after_disconnect(tmp_path):
    source = """\
        print("running")
        count = 0
        while True:
            count += 1
            if count < 0:
                break
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("configurationDone")
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        thread = client.request("threads")["threads"][0]
        client.request("pause", {"threadId": thread["id"]})
        stop = client.stopped("pause")
        assert stop["threadId"] == thread["id"]
        assert client.at(stop)[0] == "<module>"
        client.request("disconnect")
        client.read_to_the_end()
        assert process.poll() is None


def test_all_threads_stop_with_one(tmp_path):
    source = """\
        import threading, time
        ticks = 0
        def tick():
            global ticks
            while ticks >= 0:
                ticks += 1
        thread = threading.Thread(target=tick, name="ticker", daemon=True)
        thread.start()
        time.sleep(0.05)
        here = 1
        before = ticks
        after = ticks
        print("done")
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 10)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        threads = client.request("threads")["threads"]
        assert sorted(thread["name"] for thread in threads) == ["MainThread", "ticker"]
        ticker = next(thread for thread in threads if thread["name"] == "ticker")
        assert client.at({"threadId": ticker["id"]})[0] == "tick"
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_exceptions_stop_where_they_are_raised(tmp_path):
    source = """\
        def fail(n):
            return 1 / n
        try:
            fail(0)
        except ZeroDivisionError:
            pass
        fail(0)
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.request("configurationDone")
        stop = client.stopped("exception")
        assert stop["description"] == "ZeroDivisionError"
        assert client.at(stop) == ("fail", 2)
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 1


def test_what_is_wrong_is_the_answer(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, _):
        client.begin()
        told = client.set_breakpoints(
            program,
            {"line": 4, "condition": "total ="},
            {"line": 4, "hitCondition": "often"},
            {"line": 4, "logMessage": "{total"},
            400,
        )
        assert [point["verified"] for point in told] == [False] * 4
        assert "total =" in told[0]["message"]
        with pytest.raises(RefusedError, match="no request that dapper knows"):
            client.request("levitate")
        with pytest.raises(RefusedError, match="arguments of setBreakpoints are wrong"):
            client.request("setBreakpoints", {"source": 3})
        with pytest.raises(RefusedError, match="no such thread"):
            client.request("pause", {"threadId": 99})
        with pytest.raises(RefusedError, match="not stopped"):
            client.request("continue", {"threadId": 1})
        assert isinstance(client, Client)
