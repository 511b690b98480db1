"""The options: defaults, synonyms, launches, and the errors that name what is wrong."""

from __future__ import annotations

import pytest

from dapper._frame_eval.frame_eval_main import FrameEvalConfig, FrameEvalConfigError

BAD_VALUES = [
    ("enabled", 1, "True or False"),
    ("fallback_to_tracing", "yes", "True or False"),
    ("fallback_on_error", 0, "True or False"),
    ("debug", None, "True or False"),
    ("optimize", "off", "True or False"),
    ("conditional_breakpoints_enabled", 1.0, "True or False"),
    ("selective_tracing", "all", "True or False"),
    ("bytecode_optimization", None, "True or False"),
    ("cache_enabled", 2, "True or False"),
    ("performance_monitoring", [], "True or False"),
    ("backend", "fast", "'auto', 'tracing', 'eval_frame'"),
    ("backend", None, "'auto', 'tracing', 'eval_frame'"),
    ("backend", ["auto"], "'auto', 'tracing', 'eval_frame'"),
    ("tracing_backend", "eval_frame", "'auto', 'settrace', 'sys_monitoring'"),
    ("cache_size", -1, "a whole number, 0 or above"),
    ("cache_size", 1.5, "a whole number, 0 or above"),
    ("max_cache_size", True, "a whole number, 0 or above"),
    ("cache_ttl", 0, "a number of seconds above 0, or None"),
    ("timeout", 0, "a number of seconds above 0"),
    ("timeout", float("inf"), "a number of seconds above 0"),
    ("timeout", float("nan"), "a number of seconds above 0"),
    ("condition_budget_s", "0.1", "a number of seconds above 0"),
    ("trace_overhead_threshold", -0.05, "a share of the time above 0"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD_VALUES)
def test_a_bad_value_is_named_with_the_allowed_ones(name, value, allowed):
    with pytest.raises(FrameEvalConfigError) as caught:
        FrameEvalConfig.of({name: value})
    assert repr(name) in str(caught.value) or name in ("max_cache_size", "fallback_on_error")
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_an_unknown_option_is_named_with_the_known_ones():
    with pytest.raises(FrameEvalConfigError, match="option 'cach_size' is not known") as caught:
        FrameEvalConfig.of({"cach_size": 10})
    for name in FrameEvalConfig().as_dict():
        assert name in str(caught.value)


def test_both_names_of_an_option_mean_it():
    config = FrameEvalConfig.of({"max_cache_size": 7, "fallback_on_error": False})
    assert (config.cache_size, config.max_cache_size) == (7, 7)
    assert (config.fallback_to_tracing, config.fallback_on_error) == (False, False)
    assert FrameEvalConfig(cache_size=8).max_cache_size == 8
    assert config.replace(cache_size=9).max_cache_size == 9
    assert config.replace(max_cache_size=9).cache_size == 9
    with pytest.raises(FrameEvalConfigError, match="one option with two values, 5 and 6"):
        FrameEvalConfig.of({"max_cache_size": 5, "cache_size": 6})


def test_options_that_exclude_each_other_are_named():
    with pytest.raises(FrameEvalConfigError, match="'bytecode_optimization' forbids"):
        FrameEvalConfig(backend="eval_frame", bytecode_optimization=False)
    for options in ({"backend": "tracing"}, {"bytecode_optimization": False}):
        with pytest.raises(FrameEvalConfigError, match="'selective_tracing' is False"):
            FrameEvalConfig.of({"selective_tracing": False, **options})


def test_the_environment_sets_the_default_of_enabled(monkeypatch):
    assert not FrameEvalConfig().enabled
    monkeypatch.setenv("DAPPER_USE_FRAME_EVAL", "1")
    assert FrameEvalConfig().enabled
    assert not FrameEvalConfig(enabled=False).enabled
    monkeypatch.setenv("DAPPER_USE_FRAME_EVAL", "0")
    assert not FrameEvalConfig().enabled
    monkeypatch.setenv("DAPPER_USE_FRAME_EVAL", "yes")
    with pytest.raises(FrameEvalConfigError, match="DAPPER_USE_FRAME_EVAL is 'yes'"):
        FrameEvalConfig()


@pytest.mark.parametrize("switch", ["frameEval", "useFrameEval"])
def test_a_launch_turns_it_on(switch):
    assert FrameEvalConfig.from_launch({switch: True}).enabled
    assert FrameEvalConfig.from_launch({"arguments": {switch: True, "program": "x.py"}}).enabled
    assert not FrameEvalConfig.from_launch({switch: False}).enabled
    assert not FrameEvalConfig.from_launch({"program": "x.py"}).enabled


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        ({"frameEval": 1}, "option 'frameEval' is 1"),
        ({"frameEvalConfig": []}, "option 'frameEvalConfig' is \\[\\]"),
        ({"arguments": 3}, "option 'arguments' is 3"),
        ({"frameEval": True, "frameEvalConfig": {"enabled": False}}, "contradict each other"),
        ({"frameEval": True, "useFrameEval": False}, "contradict each other"),
        ({"frameEvalConfig": {"backend": "x"}}, "option 'backend' is 'x'"),
    ],
)
def test_a_bad_launch_is_told(launch, said):
    with pytest.raises(FrameEvalConfigError, match=said):
        FrameEvalConfig.from_launch(launch)


def test_a_bad_configuration_leaves_what_is_set_up(manager):
    manager.setup_frame_eval({"enabled": True})
    backend = manager.backend
    with pytest.raises(FrameEvalConfigError):
        manager.setup_frame_eval({"enabled": True, "backend": "fast"})
    assert manager.backend is backend
