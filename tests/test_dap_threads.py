"""Threads, tasks, and requests that are given up."""

from __future__ import annotations

import time

import pytest
from tests.dap_client import RefusedError, listening

WORKERS = """\
import threading, time

ready = threading.Event()
go_on = True

def tick(n):
    count = 0
    ready.set()
    while go_on:
        count += n
        time.sleep(0)
    return count

def main():
    workers = [threading.Thread(target=tick, args=(n,), name=f"worker-{n}") for n in (1, 2)]
    for worker in workers:
        worker.start()
    ready.wait()
    time.sleep(0.3)
    stop = 1
    again = 2
    global go_on
    go_on = False
    for worker in workers:
        worker.join()
    time.sleep(0.3)

main()
"""


def _names(client):
    return {thread["name"]: thread["id"] for thread in client.request("threads")["threads"]}


def _thread_events(client, reason):
    return [
        event["body"]["threadId"]
        for event in client.events
        if event["event"] == "thread" and event["body"]["reason"] == reason
    ]


def test_threads_are_told_as_they_start_and_end(tmp_path):
    with listening(tmp_path, WORKERS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 20)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        names = _names(client)
        assert set(names) == {"MainThread", "worker-1", "worker-2"}
        client.request("continue", {"threadId": stop["threadId"]})
        client.read_to_the_end()
        assert process.wait(30) == 0
        assert set(names.values()) <= set(_thread_events(client, "started"))
        workers = {names["worker-1"], names["worker-2"]}
        assert workers <= set(_thread_events(client, "exited"))


def test_one_thread_alone_stops_and_goes_on(tmp_path):
    with listening(tmp_path, WORKERS) as (client, program, process):
        client.begin(stopAllThreads=False)
        client.set_breakpoints(program, 20)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        assert stop["allThreadsStopped"] is False
        names = _names(client)
        with pytest.raises(RefusedError, match="running"):
            client.request("scopes", {"frameId": 9999})
        client.request("pause", {"threadId": names["worker-1"]})
        paused = client.stopped("pause")
        assert paused["threadId"] == names["worker-1"]
        assert client.frames(paused["threadId"])[0]["name"] == "tick"
        client.request("next", {"threadId": stop["threadId"]})
        assert client.at(client.stopped("step")) == ("main", 21)
        told = client.request("continue", {"threadId": paused["threadId"]})
        assert told == {"allThreadsContinued": False}
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_a_step_of_one_thread_leaves_the_others_stopped(tmp_path):
    with listening(tmp_path, WORKERS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 20)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        worker = _names(client)["worker-2"]
        before = client.frames(worker)[0]["id"]
        client.request("next", {"threadId": stop["threadId"], "singleThread": True})
        assert client.at(client.stopped("step")) == ("main", 21)
        # The worker has not run: its stop, and the number of its frame, are the same.
        assert client.frames(worker)[0]["id"] == before
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


TASKS = """\
import asyncio

async def deep(event):
    await event.wait()

async def waits(event):
    await deep(event)

async def main():
    event = asyncio.Event()
    task = asyncio.create_task(waits(event), name="patient")
    group = asyncio.create_task(gathers(task), name="outer")
    await asyncio.sleep(0.05)
    here = 1
    event.set()
    await group

async def gathers(task):
    await asyncio.gather(task)

asyncio.run(main())
"""


def test_tasks_are_threads_with_what_they_await(tmp_path):
    with listening(tmp_path, TASKS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 14)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        names = _names(client)
        assert {"MainThread", "patient (waits)", "outer (gathers)"} <= set(names)
        patient = names["patient (waits)"]
        assert _names(client)["patient (waits)"] == patient
        frames = client.frames(patient)
        shown = [(frame["name"], frame["line"]) for frame in frames]
        mine = [frame for frame in shown if not frame[0].startswith("Event")]
        assert mine[:4] == [
            ("deep", 4),
            ("waits", 7),
            ("awaited by outer (gathers)", 0),
            ("gathers", 19),
        ]
        deep = next(frame for frame in frames if frame["name"] == "deep")
        scopes = client.request("scopes", {"frameId": deep["id"]})["scopes"]
        locals_ = next(scope for scope in scopes if scope["name"] == "Locals")
        arguments = {"variablesReference": locals_["variablesReference"]}
        variables = client.request("variables", arguments)["variables"]
        assert [variable["name"] for variable in variables][-1] == "event"
        with pytest.raises(RefusedError, match="cannot step"):
            client.request("next", {"threadId": patient})
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_a_step_stays_in_its_task(tmp_path):
    source = """\
        import asyncio
        async def other(n):
            for i in range(50):
                await asyncio.sleep(0)
        async def mine():
            a = 1
            await asyncio.sleep(0.01)
            b = 2
            return a + b
        async def main():
            await asyncio.gather(other(1), mine(), other(2))
        asyncio.run(main())
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 6)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        seen = []
        for _ in range(3):
            client.request("next", {"threadId": stop["threadId"]})
            seen.append(client.at(client.stopped("step")))
        assert seen == [("mine", 7), ("mine", 8), ("mine", 9)]
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0


def test_requests_are_cancelled(tmp_path):
    with listening(tmp_path, WORKERS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 20)
        client.request("configurationDone")
        stop = client.stopped("breakpoint")
        frame = client.frames(stop["threadId"])[0]["id"]
        arguments = {"expression": "[i for i in iter(int, 1)]", "frameId": frame}
        arguments["context"] = "repl"
        endless = client.send("evaluate", arguments)
        pending = client.send("stackTrace", {"threadId": stop["threadId"]})
        client.request("cancel", {"requestId": pending})
        with pytest.raises(RefusedError, match="cancelled"):
            client.response(pending)
        time.sleep(0.1)
        client.request("cancel", {"requestId": endless})
        with pytest.raises(RefusedError, match="cancelled"):
            client.response(endless)
        client.request("cancel", {"requestId": 12345})
        assert client.at(stop) == ("main", 20)
        client.request("continue", {"threadId": stop["threadId"]})
        assert process.wait(30) == 0
