"""What nvim-dap and VS Code do, and rely on, as far as it goes beyond the protocol's letter."""

from __future__ import annotations

import os
import subprocess
import textwrap
import threading
import time
from pathlib import Path

import pytest
from tests.dap_adapter import Adapter, stdio
from tests.dap_client import Body

NEOVIM: Body = {
    "clientID": "neovim",
    "clientName": "neovim",
    "adapterID": "nvim-dap",
    "pathFormat": "path",
    "columnsStartAt1": True,
    "linesStartAt1": True,
    "supportsRunInTerminalRequest": True,
    "supportsVariableType": True,
    "supportsProgressReporting": True,
    "supportsStartDebuggingRequest": True,
    "locale": "en_US.UTF-8",
}
VSCODE: Body = {
    "clientID": "vscode",
    "clientName": "Visual Studio Code",
    "adapterID": "debugpy",
    "pathFormat": "path",
    "linesStartAt1": True,
    "columnsStartAt1": True,
    "supportsVariableType": True,
    "supportsVariablePaging": True,
    "supportsRunInTerminalRequest": True,
    "locale": "en",
    "supportsProgressReporting": True,
    "supportsInvalidatedEvent": True,
    "supportsMemoryReferences": True,
    "supportsArgsCanBeInterpretedByShell": True,
    "supportsMemoryEvent": True,
    "supportsStartDebuggingRequest": True,
}
# nvim-dap gives up after that.
NVIM_PATIENCE = 4.0
DEEP = """\
def down(n):
    if n:
        return down(n - 1)
    return n

print(down(40))
"""
INNERMOST = 4
FAMILY = """\
import subprocess, sys

def child():
    print("a child")

if len(sys.argv) > 1:
    child()
else:
    subprocess.run([sys.executable, __file__, "child"], check=True)
"""
CHILDS = 4


def written(folder: Path, source: str) -> Path:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(source))
    return program


@pytest.fixture
def adapter():
    with stdio() as client:
        yield client


def begin(client: Adapter, path: Path, editor: Body, *lines: int, request: str = "launch", **more):
    """What editors send up to the point where the program runs."""
    asked = time.monotonic()
    client.request("initialize", editor)
    assert time.monotonic() - asked < NVIM_PATIENCE
    configuration: Body = {"type": "python", "request": request, "name": "a test", **more}
    begun = client.send(request, configuration)
    if more.get("console") == "integratedTerminal":
        in_terminal(client)
    client.event("initialized")
    source = {"path": str(path), "name": path.name}
    breakpoints = [{"line": line} for line in lines]
    client.request(
        "setBreakpoints",
        {
            "source": source,
            "breakpoints": breakpoints,
            "lines": list(lines),
            "sourceModified": False,
        },
    )
    return begun


def in_terminal(client: Adapter) -> None:
    """Start what the adapter asks for, as a terminal would; its output is in a file."""
    request = client.reverse_request("runInTerminal")
    asked = request["arguments"]
    environment = dict(os.environ)
    for name, value in (asked.get("env") or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    with Path(asked["cwd"], "terminal").open("w") as terminal:
        process = subprocess.Popen(
            asked["args"], cwd=asked["cwd"], env=environment, stdout=terminal
        )
    client.answer(request, {"shellProcessId": os.getpid(), "processId": process.pid})
    threading.Thread(target=process.wait, daemon=True).start()


def configured(client: Adapter, begun: int) -> None:
    """`configurationDone` without arguments; the answer to `launch` may come before or after."""
    client.request("configurationDone")
    client.response(begun)


class TestNeovim:
    def test_filters_and_exception_options_are_all_it_knows(self, adapter, tmp_path):
        source = "try:\n    {}['a']\nexcept KeyError:\n    pass\nint('b')\n"
        program = written(tmp_path, source)
        begun = begin(adapter, program, NEOVIM, program=str(program), console="internalConsole")
        told = adapter.request(
            "setExceptionBreakpoints",
            {
                "filters": [],
                "exceptionOptions": [
                    {
                        "path": [{"names": ["Python Exceptions"]}, {"names": ["KeyError"]}],
                        "breakMode": "always",
                    }
                ],
            },
        )
        assert told is not None
        configured(adapter, begun)
        stop = adapter.stopped("exception")
        assert adapter.frames(stop["threadId"])[0]["line"] == 2
        adapter.request("setExceptionBreakpoints", {"filters": ["uncaught"]})
        adapter.request("continue", {"threadId": stop["threadId"]})
        stop = adapter.stopped("exception")
        assert adapter.frames(stop["threadId"])[0]["line"] == 5
        adapter.request("continue", {"threadId": stop["threadId"]})
        assert adapter.ended() == 1

    def test_the_defaults_of_its_filters_come_from_the_capabilities(self, adapter):
        capabilities = adapter.request("initialize", NEOVIM)
        filters = capabilities["exceptionBreakpointFilters"]
        defaults = [one["filter"] for one in filters if one.get("default")]
        assert defaults == ["uncaught"]

    def test_what_it_asks_for_by_default_stops_no_program_that_is_well(self, adapter, tmp_path):
        program = written(tmp_path, "print('well')\n")
        begun = begin(adapter, program, NEOVIM, program=str(program), console="internalConsole")
        adapter.request("setExceptionBreakpoints", {"filters": ["uncaught", "userUnhandled"]})
        configured(adapter, begun)
        assert adapter.ended() == 0
        assert "stopped" not in [event["event"] for event in adapter.events]

    def test_what_it_asks_for_at_a_stop(self, adapter, tmp_path):
        program = written(tmp_path, DEEP)
        begun = begin(
            adapter, program, NEOVIM, INNERMOST, program=str(program), console="internalConsole"
        )
        configured(adapter, begun)
        stop = adapter.stopped("breakpoint")
        threads = adapter.request("threads")["threads"]
        assert stop["threadId"] in [thread["id"] for thread in threads]
        trace = adapter.request("stackTrace", {"threadId": stop["threadId"]})
        frames = trace["stackFrames"]
        assert [frame["name"] for frame in frames] == ["down"] * 41 + ["<module>"]
        scopes = adapter.request("scopes", {"frameId": frames[0]["id"]})["scopes"]
        # It asks for what is not expensive, all at once.
        asked = [
            adapter.send("variables", {"variablesReference": scope["variablesReference"]})
            for scope in scopes
        ]
        values = [adapter.response(number)["variables"] for number in asked]
        assert ("n", "0") in [(one["name"], one["value"]) for one in values[0]]
        adapter.request("disconnect", {"restart": False, "terminateDebuggee": True})

    def test_a_child_is_a_session_of_its_own_by_start_debugging(self, adapter, tmp_path):
        program = written(tmp_path, FAMILY)
        begun = begin(
            adapter, program, NEOVIM, CHILDS, program=str(program), console="internalConsole"
        )
        configured(adapter, begun)
        asked = adapter.reverse_request("startDebugging")
        adapter.answer(asked)
        configuration = asked["arguments"]["configuration"]
        assert asked["arguments"]["request"] == "attach"
        # It starts a second adapter, as the first one was started.
        with stdio() as second:
            begun = begin(second, program, NEOVIM, CHILDS, **configuration)
            configured(second, begun)
            stop = second.stopped("breakpoint")
            assert second.at(stop) == ("child", CHILDS)
            second.request("continue", {"threadId": stop["threadId"]})
            second.event("terminated")
        assert adapter.ended() == 0
        assert adapter.output() == "a child\n"


class TestCode:
    def test_stack_traces_are_loaded_in_two_parts(self, adapter, tmp_path):
        program = written(tmp_path, DEEP)
        capabilities = adapter.request("initialize", VSCODE)
        assert capabilities["supportsDelayedStackTraceLoading"]
        begun = adapter.send("launch", {"program": str(program), "console": "internalConsole"})
        adapter.event("initialized")
        adapter.set_breakpoints(program, INNERMOST)
        configured(adapter, begun)
        stop = adapter.stopped("breakpoint")
        thread = {"threadId": stop["threadId"]}
        first = adapter.request("stackTrace", {**thread, "startFrame": 0, "levels": 1})
        rest = adapter.request("stackTrace", {**thread, "startFrame": 1, "levels": 19})
        assert [len(first["stackFrames"]), len(rest["stackFrames"])] == [1, 19]
        # It shows "load more" while there are more in all than it has.
        assert first["totalFrames"] > 1
        assert rest["totalFrames"] > 20
        more = adapter.request("stackTrace", {**thread, "startFrame": 20, "levels": 40})
        frames = first["stackFrames"] + rest["stackFrames"] + more["stackFrames"]
        assert len({frame["id"] for frame in frames}) == len(frames) == 42
        assert more["totalFrames"] == 42
        adapter.request("continue", thread)
        assert adapter.ended() == 0

    def test_a_terminal_of_its_own(self, adapter, tmp_path):
        program = written(tmp_path, DEEP)
        begun = begin(
            adapter,
            program,
            VSCODE,
            INNERMOST,
            program=str(program),
            console="integratedTerminal",
            cwd=str(tmp_path),
        )
        configured(adapter, begun)
        stop = adapter.stopped("breakpoint")
        assert adapter.at(stop) == ("down", INNERMOST)
        adapter.request("continue", {"threadId": stop["threadId"]})
        assert adapter.ended() == 0
        assert (tmp_path / "terminal").read_text() == "0\n"

    def test_a_child_attaches_by_the_event_where_there_is_no_request(self, adapter, tmp_path):
        program = written(tmp_path, FAMILY)
        older = {key: value for key, value in VSCODE.items() if "StartDebugging" not in key}
        begun = begin(
            adapter, program, older, CHILDS, program=str(program), console="internalConsole"
        )
        configured(adapter, begun)
        configuration = adapter.event("debugpyAttach")
        assert configuration["request"] == "attach"
        assert isinstance(configuration["subProcessId"], int)
        # It connects to the port that is named, without an adapter between.
        connect = configuration["connect"]
        child = Adapter.connect((connect["host"], connect["port"]))
        try:
            begun = begin(child, program, older, CHILDS, **configuration)
            configured(child, begun)
            stop = child.stopped("breakpoint")
            assert child.at(stop) == ("child", CHILDS)
            child.request("continue", {"threadId": stop["threadId"]})
            child.event("terminated")
        finally:
            child.close()
        assert adapter.ended() == 0
