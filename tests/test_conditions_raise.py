"""What a condition in its line raises and calls is seen by no exception breakpoint and no step."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

import pytest

import dapper
from dapper import _engine

PROGRAM = """\
class Odd:
    def __eq__(self, other):
        raise ValueError("within")
    @property
    def bad(self):
        try:
            return [][1]
        except IndexError:
            return {}["bad"]

def run(n, odd):
    if n > 5:
        unbound = 1
    for i in range(n):
        a = i
        b = a
    return n

def fails(n):
    a = n
    raise OSError(n)
"""

CONDITIONS = ["nosuch", "odd.bad", "odd == 1", "1 / (i - 1) > 5", "unbound", "i / 0 and odd.bad"]


@pytest.fixture
def program(tmp_path, monkeypatch) -> Iterator[ModuleType]:
    (tmp_path / "raising.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DAPPER_CACHE_DIR", str(tmp_path / "store"))
    raising = importlib.import_module("raising")

    dapper.start()
    yield raising
    dapper.stop()
    del sys.modules["raising"]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_exception_breakpoints(program, condition):
    seen = []

    def note(frame: FrameType | None, exception: BaseException, kind: str) -> None:
        if frame is not None and frame.f_code.co_filename == program.__file__:
            seen.append((frame.f_code.co_name, type(exception).__name__, kind))

    assert program.__file__
    counts = dapper.add_breakpoint(program.__file__, 16, kind="count", condition=condition)
    _engine.set_exception_breakpoints(
        ["raised", "user_unhandled"], note, is_user=lambda code: code.co_name != "fails"
    )
    try:
        program.run(3, program.Odd())
        assert counts.errors
        assert seen == []
        with pytest.raises(OSError, match="3"):
            program.fails(3)
        assert seen == [("fails", "OSError", "raised")]
    finally:
        _engine.set_exception_breakpoints([], None)


@pytest.mark.parametrize("exceptions", [False, True])
@pytest.mark.parametrize("mode", ["into", "over"])
@pytest.mark.parametrize("condition", [None, *CONDITIONS])
def test_steps(program, condition, mode, exceptions):
    stops = []

    def on_stop(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if code.co_filename == program.__file__:
            stops.append((code.co_name, frame.f_lineno, event))
            step(frame)

    def step(frame: FrameType) -> None:
        how: Any = mode
        _engine.step(frame, how, on_stop, exceptions=exceptions)

    assert program.__file__
    if condition is not None:
        dapper.add_breakpoint(program.__file__, 16, kind="count", condition=condition)
    dapper.add_breakpoint(program.__file__, 12, on_hit=lambda hit: step(hit.frame))
    program.run(2, program.Odd())
    turn = [("run", 14, "line"), ("run", 15, "line"), ("run", 16, "line")]
    assert stops == [*turn, *turn, ("run", 14, "line"), ("run", 17, "line")]
