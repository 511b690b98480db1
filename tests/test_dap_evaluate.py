"""Evaluation at a stop, completions, the exception of a stop, modules and sources."""

from __future__ import annotations

import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.dap_client import RefusedError, listening
from tests.test_dap_variables import Stop, stopped

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = """\
    import threading
    LIMIT = 3
    class Account:
        def __init__(self):
            self.__secret = 7
        def work(self, first, second):
            total = first + second
            shared = [total]
            inner = lambda: shared
            return total  # stop
    Account().work(1, 2)
    """


def test_expressions_see_what_the_frame_sees(tmp_path):
    with stopped(tmp_path, PLAIN) as stop:
        for expression, value in {
            "total": "3",
            "[n + first for n in range(second)]": "[1, 2]",
            "(lambda: total + LIMIT)()": "6",
            "self.__secret": "7",
            "sorted(locals())": "['first', 'inner', 'second', 'self', 'shared', 'total']",
            "shared is inner()": "True",
            "threading.current_thread().name": "'MainThread'",
            "(total\n + 1)": "4",
            "total\n + 1": "4",
            "  total": "3",
        }.items():
            assert stop.evaluate(expression)["result"] == value, expression
        answer = stop.evaluate("shared", "hover")
        assert answer["type"] == "list"
        assert stop.named(answer["variablesReference"])["0"]["evaluateName"] == "shared[0]"
        arguments = {"expression": "LIMIT + 1", "context": "repl"}
        assert stop.client.request("evaluate", arguments)["result"] == "4"


def test_errors_are_the_answer(tmp_path):
    with stopped(tmp_path, PLAIN) as stop:
        for expression, said in {
            "nothing": "NameError: name 'nothing' is not defined",
            "1 / 0": "ZeroDivisionError: division by zero",
            "total +": "SyntaxError",
            "total = 3": "SyntaxError",
            "import os": "SyntaxError",
            "await total": "SyntaxError",
        }.items():
            with pytest.raises(RefusedError, match=said):
                stop.evaluate(expression)
        with pytest.raises(RefusedError, match="SystemExit: 3"):
            stop.evaluate("raise SystemExit(3)", "repl")
        with pytest.raises(RefusedError, match="SyntaxError"):
            stop.evaluate("return 3", "repl")
        assert stop.evaluate("total")["result"] == "3"


CONSOLE = """\
    def outer():
        shared = "shared"
        def work(count):
            total = 1
            def read():
                return total, shared
            plain = "plain"
            here = 1  # stop
            print(total, plain, count, shared, read(), "unset" in locals())
        work(5)
    outer()
    """


def test_what_the_console_assigns_reaches_the_program(tmp_path):
    with listening(tmp_path, CONSOLE) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 8)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        for statement, value in {
            "total = 10": "",
            "plain += '!'\nplain": "'plain!'",
            "shared = shared.upper()": "",
            "for n in range(3):\n    count += n\n": "",
            "mine = count; mine * 2": "16",
            "def twice(x):\n    return x * mine\n": "",
            "twice(2)": "16",
            "[twice(x) for x in range(2)]": "[0, 8]",
            "import math as m\nm.floor(2.5)": "2",
            "(walrus := 4)": "4",
            "walrus": "4",
            "exec('plain = plain * 2')": "None",
        }.items():
            assert stop.evaluate(statement, "repl")["result"] == value, statement
        assert stop.evaluate("mine")["result"] == "8"
        assert stop.locals()["plain"]["value"] == "'plain!plain!'"
        arguments = {"expression": "total", "value": "total + 1", "frameId": stop.frame}
        assert client.request("setExpression", arguments)["value"] == "11"
        with pytest.raises(RefusedError, match="NameError"):
            stop.evaluate("count = 70\nnothing", "repl")
        client.request("continue", {"threadId": stop.thread})
        output, _ = process.communicate(timeout=30)
        assert output == "11 plain!plain! 70 SHARED (11, 'SHARED') False\n"


def test_the_console_of_a_module_and_of_a_frame_above(tmp_path):
    source = """\
        def inner():
            return 1  # stop
        def middle(value):
            inner()
            return value
        level = 1
        result = middle(2)
        print(level, result, new)
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 2)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        frames = client.frames(stop.thread)
        stop.frame = frames[1]["id"]
        stop.evaluate("value = 'two'", "repl")
        stop.frame = frames[2]["id"]
        stop.evaluate("level += 1; new = [level for _ in range(level)]", "repl")
        client.request("continue", {"threadId": stop.thread})
        assert process.communicate(timeout=30)[0] == "2 two [2, 2]\n"


AWAITS = """\
    import asyncio, contextvars
    var = contextvars.ContextVar("var", default="unset")
    ticks = []
    async def give(value, after=0.01):
        await asyncio.sleep(after)
        return value
    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.005)
    async def main():
        other = asyncio.create_task(tick())
        var.set("set")
        found = None
        here = 1  # stop
        print(found, asyncio.current_task() is not None)
        for _ in range(5):
            await asyncio.sleep(0.001)
        other.cancel()
    asyncio.run(main())
    """


def test_await_runs_on_the_loop_of_the_thread(tmp_path):
    with listening(tmp_path, AWAITS) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 15)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        assert stop.evaluate("var.get()")["result"] == "'set'"
        assert stop.evaluate("await give(3)", "repl")["result"] == "3"
        assert stop.evaluate("found = await give([1])\nfound", "repl")["result"] == "[1]"
        assert stop.evaluate("asyncio.current_task().get_coro().__name__")["result"] == "'main'"
        with pytest.raises(RefusedError, match="ValueError: in vain"):
            stop.evaluate("await give(1)\nraise ValueError('in vain')", "repl")
        client.request("continue", {"threadId": stop.thread})
        assert process.communicate(timeout=30)[0] == "[1] True\n"


def test_await_without_a_loop_has_one_of_its_own(tmp_path):
    source = """\
        async def give(value):
            return value
        here = 1  # stop
        """
    with stopped(tmp_path, source) as stop:
        assert stop.evaluate("await give(3) + 1", "repl")["result"] == "4"
        assert stop.evaluate("kept = await give(3)", "repl")["result"] == ""
        assert stop.evaluate("kept")["result"] == "3"


def test_a_watch_has_a_time_limit_and_hits_nothing(tmp_path):
    source = """\
        def spin():
            while True:
                pass
        def quick():
            return 5
        here = 1  # stop
        """
    with listening(tmp_path, source) as (client, program, _):
        client.begin(evaluationTimeout=0.3)
        client.set_breakpoints(program, 5, 6)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        began = time.monotonic()
        with pytest.raises(RefusedError, match=r"took longer than 0\.3 s"):
            stop.evaluate("spin()")
        assert time.monotonic() - began < 20
        assert stop.evaluate("quick()")["result"] == "5"


def test_native_code_that_does_not_return_is_told(tmp_path):
    source = """\
        import time
        here = 1  # stop
        """
    with stopped(tmp_path, source, evaluationTimeout=0.2) as stop:
        with pytest.raises(RefusedError, match="native code runs"):
            stop.evaluate("time.sleep(4)")
        with pytest.raises(RefusedError, match="has not come back from evaluate"):
            stop.evaluate("here")
        assert stop.client.request("threads")["threads"]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                assert stop.evaluate("1 + 1")["result"] == "2"
            except RefusedError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("the thread answers nothing any more")


def test_the_end_of_the_session_ends_what_is_evaluated(tmp_path):
    source = """\
        import time
        here = 1  # stop
        print("on")
        """
    with listening(tmp_path, source) as (client, program, process):
        client.begin()
        client.set_breakpoints(program, 2)
        client.request("configurationDone")
        stop = Stop(client, client.stopped())
        endless = "while True: time.sleep(0.01)"
        arguments = {"expression": endless, "frameId": stop.frame, "context": "repl"}
        client.send("evaluate", arguments)
        time.sleep(0.1)
        client.close()
        assert process.communicate(timeout=30)[0] == "on\n"


def test_the_clipboard_gets_all_of_it(tmp_path):
    source = """\
        text = "x" * 200_000
        here = 1  # stop
        """
    with stopped(tmp_path, source) as stop:
        assert len(stop.evaluate("text")["result"]) < 70_000
        assert stop.evaluate("text", "clipboard")["result"] == repr("x" * 200_000)


def _labels(stop: Stop, text: str, column: int | None = None) -> list[Any]:
    arguments = {
        "frameId": stop.frame,
        "text": text,
        "column": column or len(text.encode("utf-16-le")) // 2 + 1,
    }
    targets = stop.client.request("completions", arguments)["targets"]
    return [(target["label"], target["start"], target["length"]) for target in targets]


def test_completions(tmp_path):
    source = """\
        class Thing:
            size = 1
            def method(self):
                pass
        def work():
            tables = {"alpha": Thing(), "beta": [Thing()]}
            things = [Thing()]
            return 1  # stop
        work()
        """
    with stopped(tmp_path, source) as stop:
        assert ("tables", 1, 2) in _labels(stop, "ta")
        assert [label for label, _, _ in _labels(stop, "thi")] == ["things"]
        assert ("Thing", 1, 2) in _labels(stop, "Th")
        assert ("lambda", 1, 3) in _labels(stop, "lam")
        assert ("enumerate", 5, 2) in _labels(stop, "x = en")
        assert ("method", 11, 0) in _labels(stop, "things[0].")
        assert ("method", 17, 3) in _labels(stop, "tables['alpha'].met")
        assert ("'alpha'", 8, 0) in _labels(stop, "tables[")
        assert ('"beta"', 8, 2) in _labels(stop, 'tables["b')
        assert ("tables", 6, 3) in _labels(stop, "'\U0001f600'+tab"), "columns are UTF-16"
        assert ("tables", 1, 2) in _labels(stop, "ta + 1", 3)
        assert _labels(stop, "nothing.") == []


def test_the_exception_is_told_with_what_it_came_from(tmp_path):
    source = """\
        class Wrong(Exception):
            pass
        def fail():
            try:
                {}["key"]
            except KeyError as error:
                wrong = Wrong("wrong")
                wrong.add_note("with a note")
                raise wrong from error
        try:
            fail()
        except Wrong as error:
            caught = error
        raise ExceptionGroup("several", [caught, ValueError("two")])
        """
    with listening(tmp_path, source) as (client, _, _):
        client.begin()
        client.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        client.request("configurationDone")
        stop = client.stopped("exception")
        info = client.request("exceptionInfo", {"threadId": stop["threadId"]})
        assert info["exceptionId"] == "ExceptionGroup"
        assert info["breakMode"] == "unhandled"
        details = info["details"]
        assert "raise ExceptionGroup" in details["stackTrace"]
        wrong, two = details["innerException"]
        assert wrong["message"] == "wrong\nwith a note"
        assert wrong["fullTypeName"] == "__main__.Wrong"
        assert wrong["typeName"] == "Wrong"
        assert [inner["typeName"] for inner in wrong["innerException"]] == ["KeyError"]
        assert two["message"] == "two"


def test_names_of_frames_say_what_was_asked_for(tmp_path):
    with stopped(tmp_path, PLAIN) as stop:

        def name(**format_: bool) -> str:
            frames = stop.client.frames(stop.thread, levels=1, format=format_)
            found: str = frames[0]["name"]
            return found

        assert name() == "Account.work"
        assert name(module=True, line=True) == "__main__.Account.work : 10"
        shown = name(parameters=True, parameterNames=True, parameterValues=True)
        assert shown.startswith("Account.work(self=<__main__.Account object at 0x")
        assert shown.endswith(", first=1, second=2)")
        assert name(parameters=True, parameterTypes=True) == "Account.work(Account, int, int)"


def test_sources_that_are_in_no_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("packed.py", "def call(function):\n    return function()\n")
    source = f"""\
        import linecache, sys
        sys.path.insert(0, {str(tmp_path / "packed.zip")!r})
        import packed
        text = "def made(function):\\n    return packed.call(function)\\n"
        linecache.cache["<made 1>"] = len(text), None, text.splitlines(True), "<made 1>"
        names = {{"packed": packed}}
        exec(compile(text, "<made 1>", "exec"), names)
        def inner():
            return 1  # stop
        names["made"](inner)
        """
    with stopped(tmp_path, source) as stop:
        client = stop.client
        _, packed, made, _ = (frame["source"] for frame in client.frames(stop.thread)[:4])
        for shown, text in ((packed, "return function()"), (made, "return packed.call")):
            asked = {"source": shown, "sourceReference": shown["sourceReference"]}
            assert text in client.request("source", asked)["content"]
        again = client.frames(stop.thread)[2]["source"]
        assert again["sourceReference"] == made["sourceReference"]
        sources = client.request("loadedSources")["sources"]
        assert str(tmp_path / "program.py") in [shown.get("path") for shown in sources]
        assert made["sourceReference"] in [shown.get("sourceReference") for shown in sources]
        asked = {"source": made, "breakpoints": [{"line": 2}]}
        point = client.request("setBreakpoints", asked)["breakpoints"][0]
        assert point["verified"]
        assert point["source"]["sourceReference"] == made["sourceReference"]
        with pytest.raises(RefusedError, match="no source 99"):
            client.request("source", {"sourceReference": 99})


def test_modules_in_pages(tmp_path: Path):
    with stopped(tmp_path, PLAIN) as stop:
        answer = stop.client.request("modules", {})
        assert answer["totalModules"] == len(answer["modules"])
        found = {module["name"]: module for module in answer["modules"]}
        assert found["threading"]["isUserCode"] is False
        page = stop.client.request("modules", {"startModule": 1, "moduleCount": 2})
        assert page["modules"] == answer["modules"][1:3]
