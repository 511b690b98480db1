"""`restartFrame`: a function begins once more."""

from __future__ import annotations

import pytest
from tests.dap_client import RefusedError, listening, printed

LOOPS = """\
import warnings
warnings.simplefilter("ignore")

def plain(n, seen):
    seen.append("begin")
    for i in range(3):
        n += 10
        with open(__file__):
            seen.append(n)
    return seen

def loop(seen):
    for i in range(3):
        seen.append(i)
    return seen

def keeps(n):
    def inner():
        return n
    n = inner() + 1
    return n

def values():
    yield 1
    yield 2

def one_line(n): return n

print(plain(0, []))
print(loop([]))
print(keeps(5))
print(list(values()))
print(one_line(3))
"""


def _stopped(client, program, line):
    client.begin()
    client.set_breakpoints(program, line)
    client.request("configurationDone")
    thread = client.stopped("breakpoint")["threadId"]
    client.set_breakpoints(program)
    return thread


def _restart(client, thread):
    frame = client.frames(thread)[0]
    assert frame["canRestart"]
    client.request("restartFrame", {"frameId": frame["id"]})
    stop = client.stopped("restart")
    assert stop["threadId"] == thread
    assert stop["description"] == "Restarted: arguments and variables keep their present values"
    return client.at(stop)


def _go_on(client, thread, process):
    client.request("continue", {"threadId": thread})
    return printed(process).splitlines()


@pytest.mark.parametrize("steps", [0, 1])
def test_a_function_begins_again_with_its_present_values(tmp_path, steps):
    with listening(tmp_path, LOOPS) as (client, program, process):
        thread = _stopped(client, program, 9)
        for _ in range(steps):
            client.request("next", {"threadId": thread})
            client.stopped("step")
        assert _restart(client, thread) == ("plain", 5)
        said = _go_on(client, thread, process)[0]
        before = ["begin"] + [10] * steps
        assert said == str([*before, "begin", 20, 30, 40])


def test_a_loop_that_comes_first_begins_at_its_beginning(tmp_path):
    with listening(tmp_path, LOOPS) as (client, program, process):
        thread = _stopped(client, program, 14)
        client.request("next", {"threadId": thread})
        client.stopped("step")
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("step")) == ("loop", 14)
        assert _restart(client, thread) == ("loop", 13)
        assert _restart(client, thread) == ("loop", 13)
        assert _go_on(client, thread, process)[1] == "[0, 0, 1, 2]"


def test_shared_variables_stay_shared(tmp_path):
    with listening(tmp_path, LOOPS) as (client, program, process):
        thread = _stopped(client, program, 21)
        assert _restart(client, thread) == ("keeps", 18)
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("step")) == ("keeps", 20)
        assert _go_on(client, thread, process)[2] == "7"


def test_what_cannot_begin_again_says_why(tmp_path):
    with listening(tmp_path, LOOPS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 14, 24, 29)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]

        def refused(index):
            frame = client.frames(thread)[index]
            with pytest.raises(RefusedError) as error:
                client.request("restartFrame", {"frameId": frame["id"]})
            return frame["canRestart"], str(error.value)

        module = (False, "only a function can be restarted, and no generator or coroutine")
        assert refused(0) == module
        client.request("continue", {"threadId": thread})
        assert client.at(client.stopped("breakpoint")) == ("loop", 14)
        outer = (False, "only the innermost frame can be restarted: step out to it first")
        assert refused(1) == outer
        client.set_breakpoints(program, 24, 27)
        client.request("continue", {"threadId": thread})
        assert client.at(client.stopped("breakpoint")) == ("values", 24)
        assert refused(0) == module
        client.request("continue", {"threadId": thread})
        assert client.at(client.stopped("breakpoint")) == ("one_line", 27)
        flag, said = refused(0)
        assert flag
        assert "on the line of its def" in said
        client.set_breakpoints(program)
        assert _go_on(client, thread, process)[-1] == "3"


def test_a_frame_that_an_exception_leaves_is_not_restarted(tmp_path):
    source = """\
        def fails():
            raise ValueError

        try:
            fails()
        except ValueError:
            print("end")
        """
    with listening(tmp_path, source) as (client, _, process):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["raised"]})
        client.request("configurationDone")
        thread = client.stopped("exception")["threadId"]
        frame = client.frames(thread)[0]
        assert not frame["canRestart"]
        with pytest.raises(RefusedError):
            client.request("restartFrame", {"frameId": frame["id"]})
        client.request("continue", {"threadId": thread})
        assert printed(process) == "end\n"
