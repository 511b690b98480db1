"""Kinds of steps, and code that they pass through."""

from __future__ import annotations

import dis

import pytest
from tests.dap_client import listening, printed

CALLS = """\
import json

def one(n):
    return n + 1

def two(n):
    return n * 2

def both():
    total = two(one(3)) + len("abc")
    return total

def library():
    return json.dumps({"a": [1, both()]}, default=one)

print(both())
print(library())
"""


def _stopped(client, program, line):
    client.begin()
    client.set_breakpoints(program, line)
    client.request("configurationDone")
    return client.stopped("breakpoint")["threadId"]


def _steps(client, thread, command, **more):
    client.request(command, {"threadId": thread, **more})
    return client.at(client.stopped("step"))


def test_the_calls_of_a_line_are_targets(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, process):
        thread = _stopped(client, program, 10)
        frame = client.frames(thread)[0]
        targets = client.request("stepInTargets", {"frameId": frame["id"]})["targets"]
        labels = [target["label"] for target in targets]
        assert labels == ["one(3)", "two(one(3))", 'len("abc")']
        assert [target["column"] for target in targets] == [17, 13, 27]
        assert _steps(client, thread, "stepIn", targetId=targets[1]["id"]) == ("two", 7)
        assert _steps(client, thread, "stepOut") == ("both", 10)
        assert _steps(client, thread, "next") == ("both", 11)
        client.set_breakpoints(program)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0


def test_a_step_out_ends_within_the_line_of_the_caller(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, process):
        thread = _stopped(client, program, 4)
        client.set_breakpoints(program)
        assert _steps(client, thread, "stepOut") == ("both", 10)
        # The other call of the line is still to come.
        assert _steps(client, thread, "stepIn") == ("two", 7)
        assert _steps(client, thread, "stepOut") == ("both", 10)
        assert _steps(client, thread, "stepOut") == ("<module>", 16)
        assert _steps(client, thread, "next") == ("<module>", 17)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0


@pytest.mark.parametrize("early", [False, True])
def test_an_exception_leads_out_to_its_handler(tmp_path, early):
    source = """\
        def fails():
            raise ValueError
        def passes():
            fails()
        def handles():
            try:
                passes()
            except ValueError:
                return "handled"
        print(handles())
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, *([2, 8] if early else [2]))
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        client.set_breakpoints(program, 8)
        client.request("stepOut", {"threadId": thread})
        # Once: the end of the step and the breakpoint are one stop.
        stop = client.stopped("step" if early else "breakpoint")
        assert client.at(stop) == ("handles", 8)
        assert _steps(client, thread, "next") == ("handles", 9)
        client.request("continue", {"threadId": thread})
        assert printed(process) == "handled\n"


def test_a_target_that_is_native_is_stepped_over(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, process):
        thread = _stopped(client, program, 10)
        frame = client.frames(thread)[0]
        targets = client.request("stepInTargets", {"frameId": frame["id"]})["targets"]
        assert _steps(client, thread, "stepIn", targetId=targets[2]["id"]) == ("both", 11)
        client.set_breakpoints(program)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0


def test_instructions_are_steps(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, process):
        thread = _stopped(client, program, 4)
        seen = [_steps(client, thread, "next", granularity="instruction") for _ in range(3)]
        assert seen[0] == ("one", 4)
        until = 20
        while seen[-1][0] == "one" and until:
            seen.append(_steps(client, thread, "stepIn", granularity="instruction"))
            until -= 1
        assert seen[-1] == ("both", 10)
        # The caller goes on within its line.
        assert _steps(client, thread, "next", granularity="instruction") == ("both", 10)
        assert _steps(client, thread, "next", granularity="statement") == ("both", 11)
        client.set_breakpoints(program)
        client.request("continue", {"threadId": thread})
        assert process.wait(30) == 0
        assert dis.opmap


def test_steps_pass_through_libraries_unless_told_otherwise(tmp_path):
    for mine, expected in ((True, ("both", 10)), (False, ("dumps", None))):
        with listening(tmp_path, CALLS) as (client, program, _):
            client.begin(justMyCode=mine)
            client.set_breakpoints(program, 14)
            client.request("configurationDone")
            thread = client.stopped("breakpoint")["threadId"]
            name, line = _steps(client, thread, "stepIn")
            while name == "library":
                name, line = _steps(client, thread, "stepIn")
            if mine:
                assert (name, line) == expected
            else:
                # The arguments come first.
                while name in {"both", "one", "two", "library"}:
                    name, line = _steps(client, thread, "stepIn")
                assert name == "dumps"


def test_rules_decide_what_is_mine_and_explain_it(tmp_path):
    rules = [{"path": "**/program.py", "include": True}, {"module": "json", "include": True}]
    with listening(tmp_path, CALLS) as (client, program, _):
        client.begin(rules=rules)
        client.set_breakpoints(program, 14)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        name = ""
        while name != "dumps":
            name, _ = _steps(client, thread, "stepIn")
        frames = client.frames(thread)
        names = [frame["name"] for frame in frames]
        assert names[:3] == ["dumps", "library", "<module>"]
        assert not any("runpy" in frame["source"].get("path", "") for frame in frames)
        assert "presentationHint" not in frames[0]
        said = client.request("dapper/explainFrame", {"frameId": frames[0]["id"]})
        assert said["isMine"]
        assert said["reason"] == "rule 2 (json) includes it"
        said = client.request("dapper/explainFrame", {"frameId": frames[1]["id"]})
        assert said["reason"] == "rule 1 (**/program.py) includes it"


@pytest.mark.parametrize("mine", [True, False])
def test_frames_of_libraries_are_subtle_and_say_why(tmp_path, mine):
    source = """\
        import json
        class Odd: pass
        def default(value):
            return 1
        json.dumps(Odd(), default=default)
        """
    with listening(tmp_path, source) as (client, program, _):
        client.begin(justMyCode=mine)
        client.set_breakpoints(program, 4)
        client.request("configurationDone")
        frames = client.frames(client.stopped("breakpoint")["threadId"])
        assert frames[0]["name"] == "default"
        library = frames[1]
        assert (library.get("presentationHint") == "subtle") is mine
        said = client.request("dapper/explainFrame", {"frameId": library["id"]})
        assert said["isMine"] is not mine
        assert ("library folder" in said["reason"]) is mine
