"""Bytecode: its listing, and breakpoints in it."""

from __future__ import annotations

import sys

import pytest
from tests.dap_client import RefusedError, listening, printed

LOOP = """\
def work(n):
    total = 0
    for i in range(n):
        total += i
    return total

print(work(5))
"""


def _begin(client, program):
    client.begin()
    client.set_breakpoints(program, 2)
    client.request("configurationDone")
    stop = client.stopped("breakpoint")
    client.set_breakpoints(program)
    return stop["threadId"], client.frames(stop["threadId"])[0]


def _listing(client, reference, **more):
    arguments = {"memoryReference": reference, "instructionCount": 40, **more}
    return client.request("disassemble", arguments)["instructions"]


def _whole(client, frame):
    reference = frame["instructionPointerReference"]
    first = hex(int(reference, 16) >> 24 << 24)
    return [one for one in _listing(client, first) if one["instruction"]]


def test_the_listing_is_that_of_the_program(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, process):
        _, frame = _begin(client, program)
        listing = _whole(client, frame)
        names = [one["instruction"].split()[0] for one in listing]
        assert names[0] == "RESUME"
        assert "probe" not in " ".join(one["instruction"] for one in listing)
        assert any(name.startswith("FOR_ITER") for name in names)
        assert {one["line"] for one in listing if "line" in one} >= {2, 3, 4, 5}
        assert listing[0]["symbol"] == "work"
        assert listing[0]["location"]["path"] == str(program)
        # As many as were asked for, from where they were asked for.
        before = _listing(client, listing[2]["address"], instructionOffset=-4)
        assert len(before) == 40
        assert [one["presentationHint"] for one in before[:2]] == ["invalid"] * 2
        assert before[2]["address"] == listing[0]["address"]
        with pytest.raises(RefusedError, match="address of no instruction"):
            _listing(client, "0xabc")
        assert process.poll() is None


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="needs events of monitoring")
def test_an_instruction_stops_each_time(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, process):
        thread, frame = _begin(client, program)
        point = next(one for one in _whole(client, frame) if one.get("line") == 4)
        asked = [
            {"instructionReference": point["address"], "condition": "i > 1"},
            {"instructionReference": point["address"], "offset": 1},
        ]
        answer = client.request("setInstructionBreakpoints", {"breakpoints": asked})
        told = answer["breakpoints"]
        assert [one["verified"] for one in told] == [True, False]
        assert "no instruction begins" in told[1]["message"]
        for _ in range(3):
            client.request("continue", {"threadId": thread})
            stop = client.stopped("instruction breakpoint")
            assert stop["hitBreakpointIds"] == [told[0]["id"]]
            assert client.at(stop) == ("work", 4)
        client.request("setInstructionBreakpoints", {"breakpoints": []})
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0
        assert printed(process) == "10\n"


@pytest.mark.skipif(hasattr(sys, "monitoring"), reason="has events of monitoring")
def test_without_monitoring_instructions_are_refused(tmp_path):
    with listening(tmp_path, LOOP) as (client, program, _):
        _, frame = _begin(client, program)
        asked = [{"instructionReference": _whole(client, frame)[4]["address"]}]
        answer = client.request("setInstructionBreakpoints", {"breakpoints": asked})
        assert "3.12" in answer["breakpoints"][0]["message"]


def test_generated_code_has_breakpoints_too(tmp_path):
    source = """\
        import linecache
        text = "def made(n):\\n    twice = n * 2\\n    return twice\\n"
        name = "<made by hand>"
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        names = {}
        exec(compile(text, name, "exec"), names)
        made = names["made"]
        print(made(1))
        print(made(2))
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 8)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        client.request("stepIn", {"threadId": thread})
        stop = client.stopped("step")
        frame = client.frames(stop["threadId"])[0]
        assert (frame["name"], frame["line"]) == ("made", 2)
        arguments = {"source": frame["source"], "breakpoints": [{"line": 3}]}
        (told,) = client.request("setBreakpoints", arguments)["breakpoints"]
        assert told["verified"], told
        for _ in range(2):
            client.request("continue", {"threadId": thread})
            assert client.at(client.stopped("breakpoint")) == ("made", 3)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0
