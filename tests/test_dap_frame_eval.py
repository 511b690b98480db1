"""`frameEval` and `frameEvalConfig` in a session: how breakpoints reach the program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.dap_adapter import Adapter, stdio
from tests.dap_client import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """\
def work(n):
    total = n + 1
    return total

for i in range(3):
    print(work(i))
"""
TRACING = "sys_monitoring" if hasattr(sys, "monitoring") else "settrace"


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def adapter():
    with stdio() as client:
        yield client


def backend_of(client: Adapter, program: Path, **arguments: object) -> str:
    """Stop at a breakpoint, and tell by what backend."""
    client.launch(program, **arguments)
    client.set_breakpoints(program, {"line": 3, "condition": "n == 1"})
    client.request("configurationDone")
    stop = client.stopped("breakpoint")
    assert client.at(stop) == ("work", 3)
    backend: str = client.request("dapper/engineStatus")["backend"]
    client.request("continue", {"threadId": stop["threadId"]})
    assert client.ended() == 0
    assert client.output() == "1\n2\n3\n"
    return backend


@pytest.mark.parametrize(
    ("arguments", "backend"),
    [
        ({}, "eval_frame"),
        ({"frameEval": True}, "eval_frame"),
        ({"frameEval": False}, TRACING),
        ({"frameEvalConfig": {"backend": "auto"}}, "eval_frame"),
        (
            {"frameEvalConfig": {"backend": "eval_frame", "fallback_to_tracing": False}},
            "eval_frame",
        ),
        ({"frameEvalConfig": {"backend": "tracing"}}, TRACING),
        ({"frameEvalConfig": {"backend": "tracing", "tracing_backend": "settrace"}}, "settrace"),
        ({"frameEvalConfig": {"bytecode_optimization": False}}, TRACING),
        (
            {
                "frameEvalConfig": {
                    "enabled": True,
                    "debug": False,
                    "cache_size": 10,
                    "cache_enabled": False,
                    "optimize": False,
                    "timeout": 3,
                    "conditional_breakpoints_enabled": True,
                    "condition_budget_s": 1.5,
                    "selective_tracing": False,
                    "performance_monitoring": True,
                }
            },
            "eval_frame",
        ),
    ],
)
def test_the_backend_is_that_of_the_configuration(adapter, program, arguments, backend):
    assert backend_of(adapter, program, **arguments) == backend


@pytest.mark.skipif(TRACING != "settrace", reason="this interpreter has sys.monitoring")
def test_a_backend_that_there_is_not(adapter, program):
    options = {"backend": "tracing", "tracing_backend": "sys_monitoring"}
    adapter.initialize()
    strict = {**options, "fallback_to_tracing": False}
    seq = adapter.send("launch", {"program": str(program), "frameEvalConfig": strict})
    with pytest.raises(RefusedError, match=r"no sys\.monitoring"):
        adapter.response(seq)
    adapter.request("disconnect")
    with stdio() as other:
        assert backend_of(other, program, frameEvalConfig=options) == "settrace"
        assert "no sys.monitoring" in other.output("important")


def test_conditions_that_are_off_leave_plain_stops(adapter, program):
    options = {"conditional_breakpoints_enabled": False}
    adapter.launch(program, frameEvalConfig=options)
    terms = {"condition": "n == 1", "hitCondition": "2"}
    adapter.set_breakpoints(program, {"line": 3, **terms})
    points = [{"name": "work", **terms}]
    adapter.request("setFunctionBreakpoints", {"breakpoints": points})
    adapter.request("configurationDone")
    at = []
    for _ in range(6):
        stop = adapter.stopped()
        at.append(adapter.at(stop))
        adapter.request("continue", {"threadId": stop["threadId"]})
    assert at == [("work", 2), ("work", 3)] * 3
    assert adapter.ended() == 0


def test_debug_tells_every_decision(adapter, program):
    options = {"debug": True, "condition_budget_s": 5.0}
    adapter.launch(program, frameEvalConfig=options)
    adapter.set_breakpoints(program, {"line": 3, "condition": "1 / (n - 1)"})
    adapter.request("configurationDone")
    stops = 0
    while stops < 3:
        stop = adapter.stopped("breakpoint")
        stops += 1
        adapter.request("continue", {"threadId": stop["threadId"]})
    assert adapter.ended() == 0
    lines = adapter.output("console").splitlines()
    assert lines[0] == "dapper._frame_eval: set up EvalFrameBackend"
    (failed,) = [line for line in lines if "condition_failed" in line]
    assert failed.startswith("dapper._frame_eval: condition_failed: ")
    assert "ZeroDivisionError" in failed


def test_without_debug_nothing_is_told(adapter, program):
    backend_of(adapter, program, frameEvalConfig={"debug": False})
    assert adapter.output("console") == ""
    assert adapter.output("important") == ""


@pytest.mark.parametrize(("threshold", "told"), [(1e-9, 1), (1.0, 0)])
def test_an_overhead_above_the_threshold_is_told_once(adapter, program, threshold, told):
    options = {"performance_monitoring": True, "trace_overhead_threshold": threshold}
    adapter.launch(program, frameEvalConfig=options)
    adapter.set_breakpoints(program, 3)
    adapter.request("configurationDone")
    status = {}
    for _ in range(3):
        stop = adapter.stopped("breakpoint")
        status = adapter.request("dapper/engineStatus")
        adapter.request("continue", {"threadId": stop["threadId"]})
    assert status.get("reasons", {}).get("trace_overhead_exceeded", 0) == told
    assert adapter.ended() == 0
    assert adapter.output("important").count("% of the time since setup, the threshold is") == told


def test_options_without_a_meaning_are_named(adapter, program):
    options = {"timeout": 3, "trace_overhead_threshold": 0.5}
    backend_of(adapter, program, frameEvalConfig=options)
    told = adapter.output("important")
    assert '"frameEvalConfig.timeout" means nothing in a session' in told
    assert 'threshold" counts while time is measured: set "performance_monitoring"' in told
