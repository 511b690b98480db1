"""Every figure moves for its own reason: none of them is a constant."""

from __future__ import annotations

import copy
import pickle
import time

import pytest

from dapper import _engine
from dapper._frame_eval.cache_manager import clear_caches, get_cache_manager_stats
from dapper._frame_eval.debugger_integration import get_integration_statistics
from dapper._frame_eval.figures import Figures
from dapper._frame_eval.runtime import FrameEvalRuntime
from dapper._frame_eval.telemetry import (
    get_frame_eval_telemetry,
    record_reason,
    reset_frame_eval_telemetry,
)


@pytest.fixture
def runtime():
    """A runtime of its own: it shows the same process."""
    return FrameEvalRuntime()


def hook_stats(runtime):
    return runtime.get_stats().hook_stats


def ignore(frame, event, arg):
    pass


def test_figures_are_attributes_and_keys():
    figures = Figures({"one": 1, "two": 2})
    assert figures.one == figures["one"] == 1
    assert dict(figures) == {"one": 1, "two": 2}
    assert list(figures) == ["one", "two"]
    assert sum(figures.values()) == 3
    assert len(figures) == 2
    assert "one" in figures
    assert "three" not in figures
    assert figures.get("three", 7) == 7
    assert copy.deepcopy(figures) == pickle.loads(pickle.dumps(figures)) == figures
    assert repr(figures) == "Figures(one=1, two=2)"
    with pytest.raises(AttributeError, match="three"):
        _ = figures.three
    with pytest.raises(KeyError):
        _ = figures["three"]


def test_frames_that_are_swapped_are_counted(manager, runtime, module):
    manager.setup_frame_eval({"enabled": True, "optimize": False})
    manager.backend.set_trace_callback(ignore)
    manager.backend.set_breakpoints(module.__file__, [4])
    assert runtime.get_status().hook_active
    before = hook_stats(runtime)
    for _ in range(10):
        module.total([1])
    after = hook_stats(runtime)
    assert after.slow_path_activations - before.slow_path_activations == 10
    assert after.slow_path_attempts - before.slow_path_attempts >= 10
    assert after.frames_swapped - before.frames_swapped == 10
    runtime.reset_stats()
    assert hook_stats(runtime).slow_path_activations == 0


def test_bound_functions_and_variants_are_counted(manager, runtime, module):
    manager.setup_frame_eval({"enabled": True})
    before = hook_stats(runtime)
    manager.backend.set_breakpoints(module.__file__, [4, 9])
    after = hook_stats(runtime)
    assert after.functions_bound - before.functions_bound == 2
    assert after.variants_made - before.variants_made == 2


def test_watched_code_and_its_events_are_counted(manager, runtime, module):
    manager.setup_frame_eval({"enabled": True, "backend": "tracing"})
    manager.backend.set_trace_callback(ignore)
    before = hook_stats(runtime)
    manager.backend.set_breakpoints(module.__file__, [4])
    installed = hook_stats(runtime)
    assert installed.scoped_trace_installs - before.scoped_trace_installs == 1
    module.total([1, 2, 3])
    after = hook_stats(runtime)
    assert after.trace_events - installed.trace_events >= 3
    assert after.slow_path_activations == before.slow_path_activations


def test_returns_and_exceptions_are_counted(manager, runtime, module):
    manager.setup_frame_eval({"enabled": True})
    backend = manager.backend
    backend.set_trace_callback(ignore)
    before = hook_stats(runtime)
    backend.set_exception_breakpoints(["raised"])
    with pytest.raises(ZeroDivisionError):
        module.fail(0)
    backend.set_exception_breakpoints([])
    after = hook_stats(runtime)
    assert after.exception_events - before.exception_events >= 1
    returned = []

    def step_out(frame, event, arg):
        returned.append((event, arg))
        if event == "line" and len(returned) == 1:
            backend.step("over", frame, returns=True)

    backend.set_trace_callback(step_out)
    backend.set_breakpoints(module.__file__, [5])
    module.total([1])
    assert hook_stats(runtime).return_events - after.return_events >= 1


def test_hits_that_no_trace_function_saw_are_counted(manager, module):
    before = get_integration_statistics()["integration_stats"]
    manager.setup_frame_eval({"enabled": True})
    manager.backend.set_breakpoints(module.__file__, [4, 5])
    module.total([1, 2, 3])
    after = get_integration_statistics()["integration_stats"]
    assert after["breakpoints_optimized"] - before["breakpoints_optimized"] == 2
    assert after["trace_calls_saved"] - before["trace_calls_saved"] == 4
    # They are counted once, also when the breakpoints are replaced.
    manager.backend.set_breakpoints(module.__file__, [])
    assert get_integration_statistics()["integration_stats"] == after
    manager.shutdown()
    assert get_integration_statistics()["integration_stats"] == after
    manager.runtime.reset_stats()
    assert get_integration_statistics()["integration_stats"]["trace_calls_saved"] == 0


def test_tracing_saves_no_trace_calls(manager, module):
    manager.setup_frame_eval({"enabled": True, "backend": "tracing"})
    manager.backend.set_breakpoints(module.__file__, [4])
    module.total([1, 2, 3])
    stats = manager.backend.get_statistics()
    assert stats == {"breakpoints_set": 1, "breakpoints_optimized": 0, "trace_calls_saved": 0}


def test_errors_are_counted(manager, module):
    manager.setup_frame_eval({"enabled": True})

    def broken(frame, event, arg):
        raise LookupError

    manager.backend.set_trace_callback(broken)
    manager.backend.set_breakpoints(module.__file__, [4])
    module.total([1, 2])
    assert get_integration_statistics()["integration_stats"]["errors_handled"] == 2


def test_statistics_have_the_documented_sections(manager):
    stats = get_integration_statistics()
    assert set(stats) == {"config", "integration_stats", "performance_data", "trace_stats"}
    assert stats["config"]["enabled"] is False
    assert stats["performance_data"] == {}
    manager.setup_frame_eval({"enabled": True, "performance_monitoring": True})
    stats = get_integration_statistics()
    assert stats["config"]["enabled"] is True
    assert {"trace_function_calls", "frame_eval_calls"} <= set(stats["performance_data"])


def test_time_is_measured(manager, runtime, module):
    manager.setup_frame_eval({"enabled": True, "performance_monitoring": True})
    manager.backend.set_trace_callback(lambda *_: time.sleep(0.002))
    manager.backend.set_breakpoints(module.__file__, [4])
    module.total([1, 2, 3, 4, 5])
    measured = runtime.get_stats().performance_data
    assert measured["hits"] == 5
    assert measured["callback_seconds"] >= 0.01
    assert measured["hit_seconds"] >= measured["callback_seconds"]
    assert measured["arming_seconds"] > 0
    assert 0 < measured["overhead"] < 1
    assert measured["elapsed_seconds"] >= measured["hit_seconds"]
    manager.shutdown()
    assert runtime.get_stats().performance_data == {}


def test_time_is_measured_only_when_asked_for(manager, module):
    before = _engine.metered()
    manager.setup_frame_eval({"enabled": True})
    manager.backend.set_breakpoints(module.__file__, [4])
    module.total([1])
    assert _engine.metered() == before


def test_overhead_above_the_threshold_is_told_once(manager, runtime, module, caplog):
    options = {"performance_monitoring": True, "trace_overhead_threshold": 1e-9}
    manager.setup_frame_eval({"enabled": True, **options})
    manager.backend.set_breakpoints(module.__file__, [4])
    module.total([1])
    for _ in range(3):
        runtime.get_stats()
    assert caplog.text.count("hits took") == 1
    assert get_frame_eval_telemetry().reason_counts.trace_overhead_exceeded == 1


def test_reasons_are_counted_logged_and_reset():
    record_reason("condition_failed", "one")
    record_reason("condition_failed", "two")
    record_reason("integration_failed", "three")
    telemetry = get_frame_eval_telemetry()
    assert telemetry.reason_counts.condition_failed == 2
    assert telemetry.reason_counts["integration_failed"] == 1
    assert telemetry.reason_counts.callback_failed == 0
    assert [(event.reason_code, event.detail) for event in telemetry.recent_events] == [
        ("condition_failed", "one"),
        ("condition_failed", "two"),
        ("integration_failed", "three"),
    ]
    assert abs(telemetry.recent_events[0].time - time.time()) < 60
    assert telemetry.errors == 3
    reset_frame_eval_telemetry()
    after = get_frame_eval_telemetry()
    assert sum(after.reason_counts.values()) == 0
    assert after.recent_events == ()


def test_every_reason_code_has_a_count_of_its_own():
    codes = list(_engine.reason_counts())
    for code in codes:
        reset_frame_eval_telemetry()
        _engine.record_reason(code, "")  # type: ignore[arg-type]
        counts = get_frame_eval_telemetry().reason_counts
        assert {name for name, count in counts.items() if count} == {code}


def test_an_unknown_reason_code_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match='"boredom" is not one of bytecode_injection_failed, '):
        _engine.record_reason("boredom", "")  # type: ignore[arg-type]


def test_the_log_of_reasons_is_bounded():
    for number in range(1000):
        record_reason("condition_failed", str(number))
    telemetry = get_frame_eval_telemetry()
    assert telemetry.reason_counts.condition_failed == 1000
    assert telemetry.recent_events[-1].detail == "999"
    assert len(telemetry.recent_events) < 200


def test_variants_in_memory_are_found_again(manager, module):
    manager.setup_frame_eval({"enabled": True})
    clear_caches()
    for _ in range(3):
        manager.backend.set_breakpoints(module.__file__, [4])
        manager.backend.set_breakpoints(module.__file__, [])
    stats = get_cache_manager_stats()
    assert stats["total_entries"] >= 1
    assert stats["total_bytes"] > 0
    assert stats["misses"] >= 1
    assert stats["hits"] >= 1
    assert stats["max_entries"] == 1000
    clear_caches()
    assert get_cache_manager_stats()["total_entries"] == 0


def test_the_least_used_variant_goes_first(manager, module):
    manager.setup_frame_eval({"enabled": True, "max_cache_size": 2})
    clear_caches()
    for line in (2, 4, 5, 9):
        manager.backend.set_breakpoints(module.__file__, [line])
    stats = get_cache_manager_stats()
    assert stats["total_entries"] == stats["max_entries"] == 2
    assert stats["evicted"] >= 2


def test_variants_expire(manager, module):
    manager.setup_frame_eval({"enabled": True, "cache_ttl": 0.02})
    clear_caches()
    manager.backend.set_breakpoints(module.__file__, [4])
    assert get_cache_manager_stats()["ttl"] == 0.02
    time.sleep(0.05)
    stats = get_cache_manager_stats()
    assert stats["total_entries"] == 0
    assert stats["expired"] >= 1


def test_without_a_cache_nothing_is_kept(manager, module, tmp_path):
    manager.setup_frame_eval({"enabled": True, "cache_enabled": False})
    clear_caches()
    manager.backend.set_breakpoints(module.__file__, [4])
    assert get_cache_manager_stats()["total_entries"] == 0
    manager.shutdown()
    assert get_cache_manager_stats()["max_entries"] == 1000
