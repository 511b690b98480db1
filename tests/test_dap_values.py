"""What calls returned during a step: `showReturnValue`."""

from __future__ import annotations

import sys

import pytest
from tests.dap_adapter import stdio
from tests.dap_client import RefusedError, listening, printed

CALLS = """\
import functools, json

def one(n):
    return n + 1

def two(n):
    return [one(n), n]

class Thing:
    def __init__(self):
        self.size = 3

    def method(self):
        return self.size

    def __call__(self):
        return "called"

@functools.lru_cache
def kept(n):
    return n * 100

def nothing():
    pass

def fails():
    raise ValueError

def work():
    thing = Thing()
    total = two(one(3))
    total = one(1) + one(2)
    rest = [thing.method(), thing(), functools.partial(one, 8)(), kept(2), len("abc")]
    rest = json.loads("[1]"), (lambda: 5)()
    nothing()
    try: fails()
    except ValueError: pass
    many = ALL OF THEM
    return total

functions = []
for number in range(40):
    code = one.__code__.replace(co_name=f"f{number}", co_qualname=f"f{number}")
    functions.append(type(one)(code, globals()))
work()
print("end")
""".replace("ALL OF THEM", ", ".join(f"functions[{at}](7)" for at in range(40)))


def _begin(client, program, line, **settings):
    client.begin(**settings)
    client.set_breakpoints(program, line)
    client.request("configurationDone")
    return client.stopped("breakpoint")["threadId"]


def _step(client, thread, command="next"):
    client.request(command, {"threadId": thread})
    return client.stopped("step")


def _scopes(client, stop):
    frame = client.frames(stop["threadId"], levels=1)[0]
    scopes = client.request("scopes", {"frameId": frame["id"]})["scopes"]
    return {scope["name"]: scope["variablesReference"] for scope in scopes}


def _rows(client, reference):
    return client.request("variables", {"variablesReference": reference})["variables"]


def _returned(client, stop):
    """Return the values that a stop shows, which have to be in front of the local variables."""
    scopes = _scopes(client, stop)
    rows = _rows(client, scopes["Locals"])
    told = [row for row in rows if row["name"].startswith("(return) ")]
    assert rows[: len(told)] == told
    assert all("readOnly" in row["presentationHint"]["attributes"] for row in told)
    if told:
        own = _rows(client, scopes["Return values"])
        assert [row["name"] for row in own] == [row["name"] for row in told]
    else:
        assert "Return values" not in scopes
    return {row["name"].removeprefix("(return) "): row["value"] for row in told}


def test_what_a_line_has_called_is_shown_behind_it(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, process):
        thread = _begin(client, program, 30, showReturnValue=True)
        assert _returned(client, _step(client, thread)) == {}
        # What the callee calls itself is its own affair.
        assert _returned(client, _step(client, thread)) == {"one": "4", "two": "[5, 4]"}
        # Of several calls it is the last.
        assert _returned(client, _step(client, thread)) == {"one": "3"}
        assert _returned(client, _step(client, thread)) == {
            "Thing.method": "3",
            "Thing.__call__": "'called'",
            "one": "9",
            "kept": "200",
        }
        # A library is none of the user's business.
        assert _returned(client, _step(client, thread)) == {"work.<locals>.<lambda>": "5"}
        assert _returned(client, _step(client, thread)) == {"nothing": "None"}
        stop = _step(client, thread)
        while client.at(stop)[1] < 38:
            assert _returned(client, stop) == {}
            stop = _step(client, thread)
        many = _returned(client, _step(client, thread))
        assert len(many) == 32
        assert many["f39"] == "8"
        assert "f7" not in many
        client.set_breakpoints(program)
        client.request("continue", {"threadId": thread})
        assert printed(process) == "end\n"


def test_a_library_counts_where_it_is_the_users(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, _):
        thread = _begin(client, program, 33, showReturnValue=True, justMyCode=False)
        _step(client, thread)
        told = _returned(client, _step(client, thread))
        assert told == {"loads": "[1]", "work.<locals>.<lambda>": "5"}


def test_what_was_stepped_out_of_is_shown_in_its_caller(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, _):
        thread = _begin(client, program, 4, showReturnValue=True)
        client.set_breakpoints(program)
        stop = _step(client, thread, "stepOut")
        assert client.at(stop) == ("work", 31)
        assert _returned(client, stop) == {"one": "4"}
        # The rest of the line is a step of its own.
        stop = _step(client, thread)
        assert client.at(stop) == ("work", 32)
        assert _returned(client, stop) == {"two": "[5, 4]"}
        stop = _step(client, thread, "stepIn")
        assert client.at(stop) == ("one", 4)
        assert _returned(client, stop) == {}
        # At the end of a function stepping over leads to the caller, too.
        stop = _step(client, thread)
        assert client.at(stop) == ("work", 33)
        assert _returned(client, stop) == {"one": "3"}
        assert _returned(client, _step(client, thread))["kept"] == "200"


def test_a_value_is_expanded_and_told_only(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, _):
        thread = _begin(client, program, 31, showReturnValue=True)
        stop = _step(client, thread)
        local = _scopes(client, stop)["Locals"]
        row = next(row for row in _rows(client, local) if row["name"] == "(return) two")
        items = _rows(client, row["variablesReference"])
        assert [item["value"] for item in items if item["name"] in "01"] == ["5", "4"]
        with pytest.raises(RefusedError, match="told only"):
            client.request(
                "setVariable",
                {"variablesReference": local, "name": "(return) two", "value": "1"},
            )


PY_RETURN = 1 << 2
NOTHING = """\
import sys

def called():
    return 1

def armed():
    if not hasattr(sys, "monitoring"):
        return []
    tools = [tool for tool in range(6) if sys.monitoring.get_tool(tool)]
    return [sys.monitoring.get_local_events(tool, code) for tool in tools]

def work():
    called(); found.append(armed())
    return 2

code = called.__code__
found = []
work()
print(found)
"""


@pytest.mark.parametrize("settings", [{}, {"showReturnValue": False}])
def test_without_the_option_nothing_is_shown_and_nothing_armed(tmp_path, settings):
    with listening(tmp_path, NOTHING) as (client, program, process):
        thread = _begin(client, program, 13, **settings)
        assert _returned(client, _step(client, thread)) == {}
        client.request("continue", {"threadId": thread})
        (found,) = eval(printed(process))
        assert not any(found)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="events of single functions")
def test_only_what_the_line_calls_is_asked_for_its_result(tmp_path):
    with listening(tmp_path, NOTHING) as (client, program, process):
        thread = _begin(client, program, 13, showReturnValue=True)
        told = _returned(client, _step(client, thread))
        assert told == {"called": "1", "armed": f"[{PY_RETURN}]"}
        client.request("continue", {"threadId": thread})
        assert eval(printed(process)) == [[PY_RETURN]]


def test_no_value_outlives_the_stop_that_shows_it(tmp_path):
    source = """\
        import weakref

        class Value:
            pass

        def made():
            value = Value()
            alive.append(weakref.ref(value))
            return value

        def work():
            made()
            print("shown")
            print([one() is None for one in alive])

        alive = []
        work()
        """
    with listening(tmp_path, source) as (client, program, process):
        thread = _begin(client, program, 12, showReturnValue=True)
        stop = _step(client, thread)
        assert client.at(stop) == ("work", 13)
        assert list(_returned(client, stop)) == ["made"]
        for reference in _scopes(client, stop).values():
            _rows(client, reference)
        stop = _step(client, thread)
        assert _returned(client, stop) == {}
        client.request("continue", {"threadId": thread})
        assert printed(process) == "shown\n[True]\n"


def test_a_value_goes_with_a_step_that_another_follows(tmp_path):
    source = """\
        import weakref

        class Value:
            pass

        def made():
            value = Value()
            alive.append(weakref.ref(value))
            return value

        def other():
            print(alive[0]() is None)

        def work():
            made(); other()
            print("end")

        alive = []
        work()
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin(showReturnValue=True)
        client.set_breakpoints(program, 15, 12)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        client.request("next", {"threadId": thread})
        assert client.at(client.stopped("breakpoint")) == ("other", 12)
        # Of the new step the old one's calls are no part.
        stop = _step(client, thread, "stepOut")
        assert client.at(stop) == ("work", 15)
        assert _returned(client, stop) == {"other": "None"}
        client.request("continue", {"threadId": thread})
        assert printed(process) == "True\nend\n"


def test_what_was_awaited_is_shown_after_the_wait(tmp_path):
    source = """\
        import asyncio

        async def slow(n):
            await asyncio.sleep(0.01)
            return n * 2

        async def other():
            for _ in range(5):
                await asyncio.sleep(0.003)

        async def main():
            task = asyncio.create_task(other())
            total = await slow(4)
            return total

        print(asyncio.run(main()))
        """
    with listening(tmp_path, source) as (client, program, process):
        thread = _begin(client, program, 13, showReturnValue=True)
        stop = _step(client, thread)
        assert client.at(stop) == ("main", 14)
        assert _returned(client, stop) == {"slow": "8"}
        client.request("continue", {"threadId": thread})
        assert printed(process) == "8\n"


def test_a_value_of_each_recursion_that_is_left_is_its_own(tmp_path):
    source = """\
        def down(n):
            if n == 0:
                return 0
            below = down(n - 1)
            return below + 1

        print(down(3))
        """
    with listening(tmp_path, source) as (client, program, process):
        thread = _begin(client, program, 3, showReturnValue=True)
        client.set_breakpoints(program)
        for value in ("0", "1", "2"):
            stop = _step(client, thread)
            assert client.at(stop) == ("down", 5)
            assert _returned(client, stop) == {"down": value}
        client.request("continue", {"threadId": thread})
        assert printed(process) == "3\n"


def test_functions_that_run_a_variant_show_what_they_return(tmp_path):
    with listening(tmp_path, CALLS) as (client, program, _):
        client.begin(showReturnValue=True)
        never = {"line": 4, "condition": "n == -1"}
        client.set_breakpoints(program, never, 31)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        told = _returned(client, _step(client, thread))
        assert told == {"one": "4", "two": "[5, 4]"}


def test_a_function_that_keeps_its_code_shows_what_its_variant_returns(tmp_path):
    config = {"optimize": False}
    with listening(tmp_path, CALLS) as (client, program, _):
        client.begin(showReturnValue=True, frameEvalConfig=config)
        never = {"line": 4, "condition": "n == -1"}
        client.set_breakpoints(program, never, 31)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        told = _returned(client, _step(client, thread))
        assert told == {"one": "4", "two": "[5, 4]"}


def test_a_launched_program_shows_what_its_calls_return(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CALLS)
    with stdio() as client:
        client.launch(program, showReturnValue=True)
        client.set_breakpoints(program, 31)
        client.request("configurationDone")
        thread = client.stopped("breakpoint")["threadId"]
        assert _returned(client, _step(client, thread)) == {"one": "4", "two": "[5, 4]"}
        client.request("continue", {"threadId": thread})
        assert client.ended() == 0
        assert not client.output("important")
