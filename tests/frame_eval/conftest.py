"""What the tests of frame evaluation share: a module to debug, and a clean process after each."""

from __future__ import annotations

import importlib
import sys

import pytest
from tests.launch import write

from dapper import _engine
from dapper._frame_eval.cache_manager import clear_caches
from dapper._frame_eval.frame_eval_main import frame_eval_manager
from dapper._frame_eval.telemetry import reset_frame_eval_telemetry

MODULE = """\
def total(prices):
    result = 0
    for price in prices:
        result += price
    return result

def numbers(n):
    for i in range(n):
        yield i

def fail(x):
    return 1 / x
"""


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """Begin and end with nothing set up and nothing counted."""
    for name in ("DAPPER_USE_FRAME_EVAL", "DAPPER_EXPERIMENTAL_FRAME_EVAL_311"):
        monkeypatch.delenv(name, raising=False)
    _engine.set_cache_dir(str(tmp_path / "store"))
    reset_frame_eval_telemetry()
    clear_caches()
    _engine.reset_counters()
    yield
    frame_eval_manager.shutdown()
    frame_eval_manager._told = None


@pytest.fixture(name="manager")
def frame_eval():
    """The manager of the process."""
    return frame_eval_manager


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that is loaded before any breakpoint is set."""
    name = f"shop_{abs(hash(tmp_path)):x}"
    write(tmp_path, **{name: MODULE})
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    sys.modules.pop(name, None)
