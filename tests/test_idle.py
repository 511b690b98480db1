"""What is hooked in the interpreter: nothing, unless something is asked for."""

from __future__ import annotations

import json
import sys

import pytest
from tests.launch import ROOT, dapper_run, python, write

STATE = """\
import sys
from importlib.machinery import SourceFileLoader

def state():
    import dapper._engine as engine
    tools = []
    if hasattr(sys, "monitoring"):
        tools = [sys.monitoring.get_tool(tool) for tool in range(6)]
    import os, runpy
    return {
        "get_code": "get_code" in vars(SourceFileLoader),
        "exec": "exec" in vars(runpy),
        "eval_frame": engine.eval_frame_hooked(),
        "trace": sys.gettrace() is not None,
        "profile": sys.getprofile() is not None,
        "tools": [tool for tool in tools if tool],
        "exit": type(os._exit).__name__,
    }
"""
NOTHING = {
    "get_code": False,
    "exec": False,
    "eval_frame": False,
    "trace": False,
    "profile": False,
    "tools": [],
    "exit": "builtin_function_or_method",
}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, state=STATE, mod="def f():\n    return 1\n")
    return tmp_path


def test_importing_dapper_hooks_nothing(folder):
    code = "import json, dapper, state; print(json.dumps(state.state()))"
    run = python("-c", code, cwd=folder)
    assert json.loads(run.out) == NOTHING


def test_a_session_hooks_what_it_needs_and_nothing_stays(folder):
    code = """\
import json, dapper, state
states = []
dapper.start()
states.append(state.state())
point = dapper.add_breakpoint("mod.py", 2, kind="count")
states.append(state.state())
import mod
mod.f()
assert point.hits == 1
dapper.remove_breakpoint(point)
states.append(state.state())
dapper.add_breakpoint("mod.py", 2, kind="count")
dapper.stop()
states.append(state.state())
assert not [c for c in mod.f.__code__.co_consts if "probe" in repr(c)]
print(json.dumps(states))
"""
    run = python("-c", code, cwd=folder)
    assert run.status == 0, run.err
    started, armed, removed, stopped = json.loads(run.out)
    assert started == removed == stopped == NOTHING
    assert armed["get_code"]
    assert not armed["eval_frame"]
    assert not armed["trace"]
    assert armed["tools"] == []


def test_the_frame_hook_is_gone_when_the_script_runs(folder):
    write(folder, app="import json, state\nprint(json.dumps(state.state()))\n")
    run = dapper_run("--count", "app.py:2", "app.py", cwd=folder)
    assert "was hit 1 times" in run.err
    found = json.loads(run.out)
    assert not found["eval_frame"]
    assert not found["trace"]


def test_no_frame_hook_for_a_script_without_breakpoints(folder):
    write(folder, app="import json, state\nprint(json.dumps(state.state()))\n")
    run = dapper_run("--count", "mod.py:2", "app.py", cwd=folder)
    assert not json.loads(run.out)["eval_frame"]


def test_an_idle_session_finishes_plainly(folder):
    write(folder, app="import json, state\nprint(json.dumps(state.state()))\n")
    run = dapper_run("app.py", cwd=folder)
    found = json.loads(run.out)
    assert (run.status, run.err) == (0, "")
    assert not found["get_code"]
    assert not found["eval_frame"]


def test_start_up_files_are_ignored_without_an_environment(folder):
    start = ROOT / "data" / "platlib"
    code = "import sys; sys.dont_write_bytecode = True;"
    code += f"sys.path.insert(0, {str(start)!r}); import dapper_startup;"
    code += "dapper_startup.start(); print('dapper' in sys.modules)"
    assert python("-c", code, cwd=folder).out == "False\n"
    changes = {"DAPPER": "run", "DAPPER_SESSION": "{}"}
    assert python("-I", "-c", code, cwd=folder, **changes).out == "False\n"


@pytest.mark.parametrize("session", ["{", '{"breakpoints": 3}', "@/nowhere/at/all", "[]"])
def test_a_malformed_session_does_not_keep_the_program(folder, session):
    code = "import dapper._boot; print(5)"
    run = python("-c", code, cwd=folder, DAPPER_SESSION=session)
    assert (run.status, run.out) == (0, "5\n")
    assert run.err.count("\n") == 1
    assert "the program runs without breakpoints" in run.err


def test_no_thread_of_ours_runs(folder):
    write(folder, app="import threading\nprint(threading.active_count())\n")
    assert dapper_run("--count", "app.py:2", "app.py", cwd=folder).out == "1\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_a_prompt_leaves_no_monitoring_tool(folder):
    write(folder, app="import json, state\nx = 1\nprint(json.dumps(state.state()))\n")
    run = dapper_run("--break", "app.py:2", "app.py", cwd=folder, stdin="n\nc\n")
    found = json.loads(run.out[run.out.index('{"get_code') :].splitlines()[0])
    assert found["tools"] == []
    assert not found["trace"]
