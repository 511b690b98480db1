"""What a debugger does through a backend: breakpoints, conditions, steps, exceptions."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from dapper import _engine
from dapper._frame_eval._frame_evaluator import (
    frame_eval_func,
    get_thread_info,
    stop_frame_eval,
)
from dapper._frame_eval.backend import LineBreakpoint
from dapper._frame_eval.eval_frame_backend import EvalFrameBackend
from dapper._frame_eval.telemetry import get_frame_eval_telemetry

BACKENDS: list[dict[str, Any]] = [
    {"backend": "eval_frame"},
    {"backend": "eval_frame", "optimize": False},
    {"backend": "tracing", "tracing_backend": "settrace"},
]
if hasattr(sys, "monitoring"):
    BACKENDS.append({"backend": "tracing", "tracing_backend": "sys_monitoring"})


@pytest.fixture(params=BACKENDS, ids=lambda options: "-".join(map(str, options.values())))
def backend(request, manager):
    """Each backend in turn, installed."""
    assert manager.setup_frame_eval({"enabled": True, **request.param})
    return manager.backend


@pytest.fixture
def stops(backend):
    """The stops that the backend delivered: event, line and argument."""
    stops = []
    backend.set_trace_callback(lambda frame, event, arg: stops.append((event, frame.f_lineno, arg)))
    return stops


def lines(stops):
    return [line for event, line, _ in stops if event == "line"]


def test_a_breakpoint_stops_and_the_program_goes_on(backend, stops, module):
    [breakpoint_] = backend.set_breakpoints(module.__file__, [4])
    assert module.total([1, 2, 3]) == 6
    assert lines(stops) == [4, 4, 4]
    assert [arg.hits for _, _, arg in stops] == [1, 2, 3]
    assert breakpoint_.verified
    assert breakpoint_.tier in {
        "eval_frame": {"bound", "entry"},
        "settrace": {"tracing"},
        "sys_monitoring": {"tracing"},
    }.get(backend.engine_backend, set())


def test_the_breakpoints_of_a_file_are_replaced_as_a_whole(backend, stops, module):
    [first] = backend.set_breakpoints(module.__file__, [4])
    backend.set_breakpoints(module.__file__, [2, LineBreakpoint(5)])
    assert not first.verified
    module.total([1])
    assert lines(stops) == [2, 5]
    assert len(backend.breakpoints()) == 2
    backend.set_breakpoints(module.__file__, [])
    module.total([1])
    assert lines(stops) == [2, 5]
    assert backend.breakpoints() == []


def test_clearing_takes_all_out(backend, stops, module):
    backend.set_breakpoints(module.__file__, [2, 4, 8, 11])
    backend.clear_breakpoints()
    module.total([1])
    assert stops == []
    assert _engine.breakpoints() == []


def test_a_condition_lets_hits_through(backend, stops, module):
    backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "price > 1"}])
    module.total([1, 2, 3])
    assert [arg.hits for _, _, arg in stops] == [1, 2]


def test_a_hit_condition_lets_hits_through(backend, stops, module):
    asked = {"line": 4, "condition": "price > 1", "hit_condition": "% 2"}
    backend.set_breakpoints(module.__file__, [asked])
    module.total([1, 2, 3, 4, 5])
    assert [arg.hits for _, _, arg in stops] == [2, 4]


def test_a_condition_sees_names_of_the_module(backend, stops, module):
    backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "fail(price) < 1"}])
    module.total([1, 2])
    assert len(stops) == 1


def test_a_condition_that_fails_stops_and_is_told_once(backend, stops, module, caplog):
    backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "price.missing"}])
    assert module.total([1, 2]) == 3
    assert lines(stops) == [4, 4]
    assert get_frame_eval_telemetry().reason_counts.condition_failed == 2
    assert caplog.text.count("price.missing") == 1


def test_a_condition_that_does_not_parse_is_refused(backend, module):
    with pytest.raises(ValueError, match=r'condition "x >" is no expression: invalid syntax'):
        backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "x >"}])
    assert backend.breakpoints() == []


@pytest.mark.parametrize("asked", [{"condition": "x"}, {"line": 4, "log": "x"}])
def test_a_breakpoint_with_other_fields_is_refused(backend, module, asked):
    with pytest.raises(ValueError, match="needs a 'line' and may have a 'condition'"):
        backend.set_breakpoints(module.__file__, [asked])


def test_a_condition_without_end_stops_and_is_told_once(manager, module, caplog):
    manager.setup_frame_eval({"enabled": True, "condition_budget_s": 0.01})
    endless = "price < 3 and all(iter(int, 1) is not None for _ in iter(int, 1))"
    stops = []
    manager.backend.set_trace_callback(lambda *stop: stops.append(stop))
    manager.backend.set_breakpoints(module.__file__, [{"line": 4, "condition": endless}])
    assert module.total([1, 2, 3]) == 6
    assert [str(hit.error) for _, _, hit in stops] == [
        "evaluation took longer than 0.01 s (condition_budget_s)"
    ] * 2
    assert get_frame_eval_telemetry().reason_counts.condition_budget_exceeded == 2
    assert caplog.text.count("took longer than 0.01 s") == 1


def test_conditions_can_be_left_to_the_debugger(manager, module):
    manager.setup_frame_eval({"enabled": True, "conditional_breakpoints_enabled": False})
    stops = []
    manager.backend.set_trace_callback(lambda *stop: stops.append(stop))
    manager.backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "price > 1"}])
    module.total([1, 2, 3])
    assert len(stops) == 3


def test_without_a_callback_hits_only_count(backend, module):
    [breakpoint_] = backend.set_breakpoints(module.__file__, [4])
    module.total([1, 2])
    assert breakpoint_.hits == 2


def test_an_error_in_the_callback_is_told_and_never_reaches_the_program(backend, module, capfd):
    def broken(frame, event, arg):
        raise LookupError("broken callback")

    backend.set_trace_callback(broken)
    backend.set_breakpoints(module.__file__, [4])
    assert module.total([1, 2]) == 3
    assert capfd.readouterr().err.count("LookupError: broken callback") == 1
    assert get_frame_eval_telemetry().reason_counts.callback_failed == 2


def test_stepping(backend, module):
    seen = []

    def on_stop(frame, event, arg):
        seen.append((event, frame.f_lineno))
        if len(seen) < 4:
            backend.step("over", frame)

    backend.set_trace_callback(on_stop)
    backend.set_breakpoints(module.__file__, [2])
    module.total([1])
    module.total([1])
    assert seen[:4] == [("line", 2), ("line", 3), ("line", 4), ("line", 3)]
    assert seen[4:] == [("line", 2)]


def test_exceptions_stop_while_they_are_asked_for(backend, stops, module):
    backend.set_exception_breakpoints(["raised"])
    with pytest.raises(ZeroDivisionError):
        module.fail(0)
    backend.set_exception_breakpoints([])
    with pytest.raises(ZeroDivisionError):
        module.fail(0)
    of_module = [stop for stop in stops if stop[1] == 12]
    assert [(event, type(arg)) for event, _, arg in of_module] == [("exception", ZeroDivisionError)]


@pytest.mark.parametrize("name", ["userUnhandled", "user-unhandled", "user_unhandled", "Raised"])
def test_spellings_of_exception_filters(backend, name):
    backend.set_exception_breakpoints([name])


def test_an_unknown_exception_filter_is_named(backend):
    with pytest.raises(ValueError, match="'always' is not one of 'raised', 'uncaught'"):
        backend.set_exception_breakpoints(["always"])


def test_a_backend_that_is_not_installed_refuses(manager, module):
    backend = EvalFrameBackend(manager.config)
    with pytest.raises(RuntimeError, match="EvalFrameBackend is not installed"):
        backend.set_breakpoints(module.__file__, [4])


def test_another_configuration_keeps_breakpoints_and_callback(manager, module):
    stops = []
    manager.setup_frame_eval({"enabled": True})
    manager.backend.set_trace_callback(lambda frame, event, arg: stops.append(frame.f_lineno))
    manager.backend.set_breakpoints(module.__file__, [4])
    for options in BACKENDS:
        manager.setup_frame_eval({"enabled": True, **options})
        module.total([1])
    assert stops == [4] * len(BACKENDS)
    assert len(manager.backend.breakpoints()) == 1
    manager.shutdown()
    assert _engine.breakpoints() == []
    module.total([1])
    assert len(stops) == len(BACKENDS)


def test_the_same_configuration_again_changes_nothing(manager):
    manager.setup_frame_eval({"enabled": True})
    backend = manager.backend
    assert manager.setup_frame_eval({"enabled": True})
    assert manager.backend is backend


def test_promotion_follows_optimize(manager, module):
    original = module.total.__code__
    for optimize in (False, True):
        manager.setup_frame_eval({"enabled": True, "optimize": optimize})
        manager.backend.set_breakpoints(module.__file__, [4])
        assert (module.total.__code__ is original) is not optimize
    manager.shutdown()
    assert module.total.__code__ is original


def test_the_tier_is_told_when_scoped_tracing_is_off(manager, module):
    manager.setup_frame_eval({"enabled": True, "selective_tracing": False})
    running = module.numbers(3)
    next(running)
    [breakpoint_] = manager.backend.set_breakpoints(module.__file__, [9])
    list(running)
    assert breakpoint_.hits == 0
    list(module.numbers(2))
    assert breakpoint_.hits == 2


def test_frame_eval_func_turns_it_on_and_stop_off(manager):
    assert frame_eval_func()
    assert manager.is_active
    assert manager.config.enabled
    stop_frame_eval()
    assert not manager.is_active
    assert not manager.config.enabled


def test_frame_eval_func_uses_the_options_set_up_last(manager):
    manager.setup_frame_eval({"enabled": False, "cache_size": 12, "backend": "tracing"})
    frame_eval_func()
    assert manager.config.cache_size == 12
    assert manager.runtime.get_status().backend_type == "TracingBackend"


def test_thread_info_tells_recursion(backend, module):
    inside = []
    before = get_thread_info()
    assert before.inside_frame_eval == 0

    def on_stop(frame, event, arg):
        inside.append(get_thread_info().inside_frame_eval)
        # Nothing hits while a callback runs: the guard against recursion.
        module.total([1])

    backend.set_trace_callback(on_stop)
    backend.set_breakpoints(module.__file__, [4])
    module.total([1, 2])
    assert inside == [1, 1]
    after = get_thread_info()
    assert (after.inside_frame_eval, after.stops) == (0, before.stops + 2)
    assert after.thread_id == before.thread_id


def test_debug_tells_reasons(manager, module, caplog):
    manager.setup_frame_eval({"enabled": True, "debug": True})
    with caplog.at_level(logging.DEBUG, "dapper._frame_eval"):
        manager.backend.set_trace_callback(lambda *_: None)
        manager.backend.set_breakpoints(module.__file__, [{"line": 4, "condition": "nothing"}])
        module.total([1])
    assert "condition_failed: " in caplog.text
