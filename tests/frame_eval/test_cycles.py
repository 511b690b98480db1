"""Setting up and shutting down, over and over: the interpreter is what it was."""

from __future__ import annotations

import bdb
import gc
import logging
import sys
import threading
from importlib.machinery import SourceFileLoader

import pytest

from dapper import Hit, _engine, api, hooks
from dapper._frame_eval.debugger_integration import (
    DebuggerFrameEvalBridge,
    get_integration_statistics,
)
from dapper._frame_eval.frame_eval_main import FrameEvalManager

CONFIGURATIONS = [
    {"backend": "eval_frame"},
    {"backend": "eval_frame", "optimize": False, "debug": True},
    {"backend": "tracing", "performance_monitoring": True},
    {"backend": "tracing", "tracing_backend": "settrace", "cache_enabled": False},
]


def state(module):
    """Everything that a session may touch."""
    tools = []
    if hasattr(sys, "monitoring"):
        monitoring = sys.monitoring
        for tool in range(6):
            name = monitoring.get_tool(tool)
            tools.append((name, monitoring.get_events(tool) if name else 0))
    return {
        "hooks": hooks.installed(),
        "get_code": "get_code" in vars(SourceFileLoader),
        "eval_frame": _engine.eval_frame_hooked(),
        "trace": sys.gettrace(),
        "thread_trace": threading.gettrace(),
        "profile": sys.getprofile(),
        "tools": tools,
        "codes": [module.total.__code__, module.numbers.__code__, module.fail.__code__],
        "breakpoints": _engine.breakpoints(),
        "session": api.status().active,
        "level": logging.getLogger("dapper._frame_eval").level,
        "excepthook": sys.excepthook,
        "thread_excepthook": threading.excepthook,
        "collecting": gc.isenabled(),
    }


def same(before, after):
    codes = zip(before.pop("codes"), after.pop("codes"), strict=True)
    assert before == after
    assert all(one is other for one, other in codes)


def cycle(manager, module, options):
    assert manager.setup_frame_eval({"enabled": True, **options})
    stops = []
    manager.backend.set_trace_callback(lambda frame, event, arg: stops.append(event))
    manager.backend.set_breakpoints(module.__file__, [4, 9])
    module.total([1, 2])
    manager.shutdown()
    module.total([1])
    assert stops == ["line", "line"]


@pytest.mark.parametrize("options", CONFIGURATIONS, ids="-".join)
def test_a_cycle_leaves_everything_as_it_was(manager, module, options):
    before = state(module)
    cycle(manager, module, options)
    same(before, state(module))


def test_a_thousand_cycles_leave_everything_as_it_was(manager, module, request):
    def growth_of_cycles(number):
        blocks = sys.getallocatedblocks()
        for index in range(number):
            cycle(manager, module, CONFIGURATIONS[index % len(CONFIGURATIONS)])
        gc.collect()
        return sys.getallocatedblocks() - blocks

    # Log records that the test run keeps would count as leaks.
    logging.disable()
    request.addfinalizer(lambda: logging.disable(logging.NOTSET))
    before = state(module)
    growth = [growth_of_cycles(250) for _ in range(4)]
    same(before, state(module))
    # Tables of the interpreter grow now and then; one block leaked in each cycle of a single
    # configuration would be 62 every time.
    assert min(growth) < 60, f"more blocks after each round: {growth}"


def test_a_shutdown_without_a_setup_does_nothing(manager, module):
    before = state(module)
    manager.shutdown()
    manager.shutdown_frame_eval()
    same(before, state(module))


def test_managers_share_the_one_engine(manager):
    other = FrameEvalManager()
    manager.setup_frame_eval({"enabled": True})
    assert other.is_active
    assert other.backend is manager.backend
    other.shutdown()
    assert not manager.is_active


def test_a_session_of_the_program_goes_on(manager, module):
    api.start()
    try:
        hits: list[Hit] = []
        point = api.add_breakpoint(module.__file__, 4, on_hit=hits.append)
        manager.setup_frame_eval({"enabled": True})
        manager.backend.set_breakpoints(module.__file__, [5])
        manager.shutdown()
        module.total([1])
        assert len(hits) == 1
        assert api.breakpoints() == [point]
        assert api.status().active
    finally:
        api.stop()


def test_a_session_that_is_stopped_underneath_does_no_harm(manager, module):
    before = state(module)
    manager.setup_frame_eval({"enabled": True})
    manager.backend.set_breakpoints(module.__file__, [4])
    api.stop()
    manager.shutdown()
    same(before, state(module))


def test_integrating_and_giving_back(manager):
    debugger = bdb.Bdb()
    bridge = DebuggerFrameEvalBridge()
    before = get_integration_statistics()["integration_stats"]
    assert bridge.auto_integrate_debugger(debugger)
    assert bridge.auto_integrate_debugger(debugger)
    during = bridge.get_integration_statistics()["integration_stats"]
    assert during["integrations_enabled"] == 1
    assert during["integrations_total"] == before["integrations_total"] + 1
    assert manager.is_active
    assert bridge.remove_integration(debugger)
    assert not bridge.remove_integration(debugger)
    assert get_integration_statistics()["integration_stats"]["integrations_enabled"] == 0
    assert bridge.auto_integrate_debugger(debugger)
    bridge.shutdown()
    assert get_integration_statistics()["integration_stats"]["integrations_enabled"] == 0
    assert not manager.is_active


def test_what_is_no_debugger_is_told(caplog):
    bridge = DebuggerFrameEvalBridge()
    assert not bridge.auto_integrate_debugger(object())  # type: ignore[arg-type]
    assert "object is not integrated: " in caplog.text
    errors = get_integration_statistics()["integration_stats"]["errors_handled"]
    assert errors == 1
    with pytest.raises(TypeError):
        bridge.integrate_debugger(object())  # type: ignore[arg-type]
