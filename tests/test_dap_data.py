"""Stops where something was written, and jumps to other lines."""

from __future__ import annotations

import pytest
from tests.dap_client import RefusedError, listening, printed

WRITES = """\
class Account:
    def __init__(self):
        self.balance = 0

    def add(self, amount):
        self.balance += amount
        return self

total = 0

def work(account):
    global total
    count = 0
    for i in range(4):
        if i % 2:
            count += 1
            account.add(1000 + i)
            total = count
    return count

def begin():
    account = Account()
    result = work(account)
    return result

print(begin())
"""


def _watch(client, program, line, name, **terms):
    client.begin()
    client.set_breakpoints(program, line)
    client.request("configurationDone")
    stop = client.stopped("breakpoint")
    frame = client.frames(stop["threadId"])[0]
    info = client.request("dataBreakpointInfo", {"name": name, "frameId": frame["id"]})
    client.set_breakpoints(program)
    if info["dataId"] is not None:
        asked = [{"dataId": info["dataId"], "accessType": "write", **terms}]
        info["told"] = client.request("setDataBreakpoints", {"breakpoints": asked})
    return stop["threadId"], info


def _seen(client, process, thread):
    seen: list[tuple[str, int]] = []
    while True:
        client.request("continue", {"threadId": thread})
        try:
            stop = client.stopped("data breakpoint")
        except (EOFError, ConnectionError):
            assert process.wait(30) == 0
            return seen
        seen.append(client.at(stop))


def test_writes_of_a_local_variable_stop(tmp_path):
    with listening(tmp_path, WRITES) as (client, program, process):
        thread, info = _watch(client, program, 14, "count")
        assert info["accessTypes"] == ["write"]
        assert info["told"]["breakpoints"][0]["verified"]
        assert _seen(client, process, thread) == [("work", 17), ("work", 17)]


def test_writes_of_an_attribute_stop_wherever_they_are(tmp_path):
    with listening(tmp_path, WRITES) as (client, program, process):
        thread, info = _watch(client, program, 13, "account.balance")
        assert "slow" in info["description"]
        assert _seen(client, process, thread) == [("Account.add", 7), ("Account.add", 7)]


def test_writes_of_a_global_variable_stop_on_a_condition(tmp_path):
    with listening(tmp_path, WRITES) as (client, program, process):
        thread, info = _watch(client, program, 13, "total", condition="count == 2")
        assert info["told"]["breakpoints"][0]["verified"]
        assert _seen(client, process, thread) == [("work", 14)]


def test_hit_conditions_count_writes(tmp_path):
    with listening(tmp_path, WRITES) as (client, program, process):
        thread, _ = _watch(client, program, 14, "count", hitCondition="2")
        assert _seen(client, process, thread) == [("work", 17)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("account.add", "comes from its class"),
        ("account.nothing", "not stored"),
        ("[1][0]", "no variable"),
        ("(1).real", "comes from its class"),
    ],
)
def test_what_cannot_be_looked_at_is_told(tmp_path, name, reason):
    with listening(tmp_path, WRITES) as (client, program, process):
        _, info = _watch(client, program, 14, name)
        assert info["dataId"] is None
        assert reason in info["description"]
        asked = [{"dataId": "99:gone"}]
        told = client.request("setDataBreakpoints", {"breakpoints": asked})["breakpoints"]
        assert not told[0]["verified"]
        assert "gone" in told[0]["message"]
        assert process.poll() is None


JUMPS = """\
def work(x):
    a = 1
    b = 2
    c = 3
    for i in range(2):
        c += i
    return (a, b, c, x)

print(work(7))
"""


def _goto(client, program, thread, line):
    arguments = {"source": {"path": str(program)}, "line": line}
    (target,) = client.request("gotoTargets", arguments)["targets"]
    client.request("goto", {"threadId": thread, "targetId": target["id"]})
    stop = client.stopped("goto")
    assert stop["threadId"] == thread
    return client.at(stop)


@pytest.mark.parametrize("condition", ["", "x > 3"])
def test_a_frame_at_a_breakpoint_goes_on_at_another_line(tmp_path, condition):
    with listening(tmp_path, JUMPS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, {"line": 4, "condition": condition})
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        assert _goto(client, program, thread, 2) == ("work", 2)
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("step")) == ("work", 3)
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("step")) == ("work", 4)
        assert _goto(client, program, thread, 7) == ("work", 7)
        client.request("continue", {"threadId": thread})
        # What was never assigned is unbound, or None, as the version has it.
        process.wait(30)


def test_a_frame_jumps_back_to_its_breakpoint(tmp_path):
    with listening(tmp_path, JUMPS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 3)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("step")) == ("work", 4)
        assert _goto(client, program, thread, 3) == ("work", 3)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0
        assert printed(process) == "(1, 2, 4, 7)\n"


def test_the_reason_of_a_refusal_is_the_interpreters(tmp_path):
    with listening(tmp_path, JUMPS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 4)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        with pytest.raises(RefusedError, match="for loop"):
            _goto(client, program, thread, 6)
        stop = client.stopped("goto")
        assert "for loop" in stop["text"]
        assert client.at(stop) == ("work", 4)
        with pytest.raises(RefusedError, match="code block"):
            _goto(client, program, thread, 9)
        with pytest.raises(RefusedError, match="no such target"):
            client.request("goto", {"threadId": thread, "targetId": 99})
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0
        assert printed(process) == "(1, 2, 4, 7)\n"
