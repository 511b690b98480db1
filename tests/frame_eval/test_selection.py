"""Which backend is taken, why not the other one, and how that is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from bdb import Bdb
from typing import Any

import pytest
from tests.launch import environment

from dapper._frame_eval.compatibility_policy import FrameEvalCompatibilityPolicy
from dapper._frame_eval.frame_eval_main import FrameEvalUnavailableError
from dapper._frame_eval.telemetry import get_frame_eval_telemetry

LOGGER = "dapper._frame_eval"
HAS_MONITORING = hasattr(sys, "monitoring")
BEST = "sys_monitoring" if HAS_MONITORING else "settrace"


def counts():
    return get_frame_eval_telemetry().reason_counts


def their_debugger() -> Bdb:
    """A debugger that traces and never stops."""
    debugger = Bdb()
    debugger.reset()
    return debugger


@pytest.fixture
def foreign_tracer():
    """A debugger of somebody else that is tracing this thread."""
    debugger = their_debugger()
    before = sys.gettrace()
    sys.settrace(debugger.trace_dispatch)
    yield debugger
    sys.settrace(before)


@pytest.fixture
def foreign_tool():
    """A debugger of somebody else that holds the debugger's tool."""
    monitoring: Any = vars(sys)["monitoring"]
    monitoring.use_tool_id(monitoring.DEBUGGER_ID, "theirs")
    yield
    monitoring.free_tool_id(monitoring.DEBUGGER_ID)


@pytest.mark.parametrize("backend", ["auto", "eval_frame"])
def test_eval_frame_is_taken_where_it_can_be(manager, backend):
    assert manager.setup_frame_eval({"enabled": True, "backend": backend})
    status = manager.runtime.get_status()
    assert (status.backend_type, status.hook_installed) == ("EvalFrameBackend", True)
    assert status.tracing_backend is None
    assert status.fallback_reason is None
    assert sum(counts().values()) == 0


@pytest.mark.parametrize("options", [{"backend": "tracing"}, {"bytecode_optimization": False}])
def test_tracing_is_taken_when_asked_for(manager, options, caplog):
    with caplog.at_level(logging.WARNING, LOGGER):
        assert manager.setup_frame_eval({"enabled": True, **options})
    status = manager.runtime.get_status()
    assert (status.backend_type, status.tracing_backend) == ("TracingBackend", BEST)
    assert not status.hook_installed
    assert status.fallback_reason is None
    assert not caplog.records


def test_the_tracing_backend_can_be_chosen(manager):
    options = {"enabled": True, "backend": "tracing", "tracing_backend": "settrace"}
    assert manager.setup_frame_eval(options)
    assert manager.runtime.get_status().tracing_backend == "settrace"


@pytest.mark.skipif(HAS_MONITORING, reason="this interpreter has sys.monitoring")
def test_sys_monitoring_on_3_11_falls_back_to_settrace(manager, caplog):
    options = {"enabled": True, "backend": "tracing", "tracing_backend": "sys_monitoring"}
    assert manager.setup_frame_eval(options)
    assert manager.runtime.get_status().tracing_backend == "settrace"
    assert "sys.monitoring needs CPython 3.12" in caplog.text
    manager.shutdown()
    with pytest.raises(FrameEvalUnavailableError, match=r"sys\.monitoring needs CPython 3\.12"):
        manager.setup_frame_eval({**options, "fallback_to_tracing": False})


def test_nothing_is_set_up_while_it_is_not_enabled(manager):
    assert not manager.setup_frame_eval()
    assert not manager.setup_frame_eval({"backend": "eval_frame"})
    assert not manager.is_active
    manager.setup_frame_eval({"enabled": True})
    assert not manager.setup_frame_eval({"enabled": False})
    assert not manager.is_active


def test_another_debugger_is_a_conflict(manager, foreign_tracer, caplog):
    with caplog.at_level(logging.WARNING, LOGGER):
        manager.setup_frame_eval({"enabled": True})
    status = manager.runtime.get_status()
    reason = "another debugger is tracing: bdb.Bdb.trace_dispatch"
    if HAS_MONITORING:
        assert status.tracing_backend == "sys_monitoring"
        assert reason in status.fallback_reason
    else:
        # Its trace function leaves no way to trace either.
        assert not manager.is_active
    assert reason in caplog.text
    assert counts().debugger_conflict == 1


@pytest.mark.usefixtures("foreign_tracer")
def test_a_conflict_without_fallback_fails_fast(manager):
    options = {"enabled": True, "backend": "eval_frame", "fallback_to_tracing": False}
    with pytest.raises(FrameEvalUnavailableError, match="another debugger is tracing"):
        manager.setup_frame_eval(options)
    assert not manager.is_active
    assert counts().fallback_to_tracing == 0


@pytest.mark.usefixtures("foreign_tracer")
def test_a_conflict_without_selective_tracing_fails_fast(manager):
    with pytest.raises(FrameEvalUnavailableError, match="'selective_tracing' is off"):
        manager.setup_frame_eval({"enabled": True, "selective_tracing": False})


@pytest.mark.skipif(not HAS_MONITORING, reason="this interpreter has no sys.monitoring")
def test_a_tool_with_the_debuggers_id_is_a_conflict(request):
    policy = FrameEvalCompatibilityPolicy()
    assert policy.can_use_eval_frame()
    request.getfixturevalue("foreign_tool")
    verdict = policy.can_use_eval_frame()
    assert not verdict
    assert verdict.reason == "another debugger holds the DEBUGGER_ID of sys.monitoring: theirs"
    assert verdict.reason_code == "debugger_conflict"


def test_a_debugger_that_uses_the_backend_is_no_conflict(foreign_tracer):
    policy = FrameEvalCompatibilityPolicy()
    assert policy.can_use_eval_frame([foreign_tracer])
    assert not policy.can_use_eval_frame([their_debugger()])


def test_a_trace_function_for_new_threads_is_a_conflict():
    before = threading.gettrace()
    threading.settrace(lambda *_: None)
    try:
        verdict = FrameEvalCompatibilityPolicy().can_use_eval_frame()
    finally:
        threading.settrace(before)
    assert verdict.reason is not None
    assert "another debugger is tracing" in verdict.reason


def test_what_only_measures_is_no_conflict():
    from trace import Trace

    before = sys.gettrace()
    sys.settrace(Trace(trace=0).globaltrace)
    try:
        verdict = FrameEvalCompatibilityPolicy().can_use_eval_frame()
    finally:
        sys.settrace(before)
    assert verdict


@pytest.mark.parametrize("name", ["VSCODE_PID", "TERM_PROGRAM", "COVERAGE_RUN", "PYCHARM_HOSTED"])
def test_what_runs_the_process_is_no_conflict(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert FrameEvalCompatibilityPolicy().can_use_eval_frame()


@pytest.mark.parametrize(("value", "off"), [("0", True), ("1", False), (None, False)])
def test_the_flag_of_3_11_turns_it_off_there(manager, monkeypatch, value, off):
    if value is not None:
        monkeypatch.setenv("DAPPER_EXPERIMENTAL_FRAME_EVAL_311", value)
    manager.setup_frame_eval({"enabled": True})
    status = manager.runtime.get_status()
    if off and not HAS_MONITORING:
        assert status.tracing_backend == "settrace"
        assert "DAPPER_EXPERIMENTAL_FRAME_EVAL_311=0" in status.fallback_reason
        assert counts().policy_disabled == 1
    else:
        assert status.backend_type == "EvalFrameBackend"


def test_the_same_reason_is_logged_once_until_another_comes(manager, caplog):
    before = threading.gettrace()

    def warnings() -> int:
        return len([record for record in caplog.records if record.levelno == logging.WARNING])

    def conflict(trace) -> None:
        threading.settrace(trace)
        try:
            manager.setup_frame_eval({"enabled": True})
        finally:
            threading.settrace(before)
        manager.shutdown()

    one, other = their_debugger().trace_dispatch, lambda *_: None
    with caplog.at_level(logging.WARNING, LOGGER):
        for _ in range(5):
            conflict(one)
        assert warnings() == 1
        conflict(other)
        assert warnings() == 2
        conflict(one)
        assert warnings() == 3
        # A setup that needs no fallback ends the series as well.
        conflict(None)
        conflict(one)
        assert warnings() == 4
    assert counts().debugger_conflict == 8


def test_another_debugger_that_begins_later_is_noticed_once(manager, caplog):
    manager.setup_frame_eval({"enabled": True})
    assert manager.runtime.get_status().conflict is None
    before = sys.gettrace()
    sys.settrace(their_debugger().trace_dispatch)
    try:
        told = [manager.runtime.get_status().conflict for _ in range(3)]
    finally:
        sys.settrace(before)
    assert told == ["another debugger is tracing: bdb.Bdb.trace_dispatch"] * 3
    assert counts().debugger_took_over == 1
    assert caplog.text.count("another debugger is tracing") == 1
    assert manager.runtime.get_status().conflict is None


def test_debug_logs_the_decisions_and_gives_the_level_back(manager, caplog):
    logger = logging.getLogger(LOGGER)
    level = logger.level
    manager.setup_frame_eval({"enabled": True, "debug": True})
    assert logger.level == logging.DEBUG
    assert "set up EvalFrameBackend" in caplog.text
    manager.shutdown()
    assert logger.level == level


def test_a_change_waits_for_another_one_only_for_the_timeout(manager):
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with manager.runtime.turn(1):
            holding.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait(10)
    try:
        with pytest.raises(TimeoutError, match="raise the option 'timeout'"):
            manager.setup_frame_eval({"enabled": True, "timeout": 0.01})
    finally:
        done.set()
        thread.join()
    assert manager.setup_frame_eval({"enabled": True, "timeout": 0.01})


def test_importing_the_package_installs_nothing(tmp_path):
    code = """\
import sys
import dapper._frame_eval.debugger_integration as integration
assert "bdb" not in sys.modules
assert sys.gettrace() is None
from dapper import _engine
assert not _engine.eval_frame_hooked()
if hasattr(sys, "monitoring"):
    assert not any(map(sys.monitoring.get_tool, range(6)))
"""
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **environment()}, check=True
    )
