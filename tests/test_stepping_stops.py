"""What a stop of a step may do, beside breakpoints, errors and other tools."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest
from tests.launch import ROOT, python
from tests.stepping import MONITORING, Driver, inner, leaving_nothing, outer, tools

from dapper import _engine

clean = pytest.fixture(autouse=True)(leaving_nothing)


def test_step_from_a_watched_line_and_no_second_stop_there():
    def run() -> int:
        a = inner(1)
        b = inner(2)
        return a + b

    driver = Driver(["over", "over", "over"])
    code = run.__code__
    first = code.co_firstlineno
    wanted = [
        (line, _engine.add(__file__, line, "stop", None, driver.on_hit))
        for line in (first + 1, first + 2)
    ]
    _engine.watch_code(code, wanted)
    run()
    _engine.unwatch_all()
    # The watched line 2 is the stop of a step, and no hit beside it.
    assert driver.stops[:3] == [("run", 1), ("run", 2), ("run", 3)]
    assert wanted[1][1].hits == 1


COMPILED_IN = """
import dapper
from tests.launch import ROOT, python
from tests.stepping import Driver

driver = Driver(["over", "over", "into", "out", "over"])
hits = []

def on_hit(hit):
    hits.append(hit.line)
    driver.on_hit(hit)

dapper.start()
for line in (2, 3, 7):
    dapper.add_breakpoint("target.py", line, on_hit=on_hit)
import target
target.run()
print(hits, driver.stops)
"""
TARGET = """def run():
    a = 1
    b = callee(a)
    return b

def callee(x):
    y = x + 1
    return y
"""


def test_compiled_in_probes_and_steps_stop_once_in_a_pass(tmp_path):
    """A probe stands right behind the line event of its line."""
    (tmp_path / "target.py").write_text(TARGET)
    (tmp_path / "program.py").write_text(COMPILED_IN)
    done = python(tmp_path / "program.py", cwd=tmp_path, PYTHONPATH=f"{ROOT / 'python'}:{ROOT}")
    stops = [("run", 1), ("run", 2), ("callee", 1), ("callee", 2), ("run", 3)]
    assert done.out.startswith(f"[2, 7] {stops}"[:-1]), done.err


def test_a_hit_meanwhile_may_cancel_the_step():
    def on_hit(hit: _engine.Hit) -> None:
        _engine.cancel_step()
        driver.note(hit.frame, "line", None)

    def run() -> int:
        driver.start()
        a = outer(1)
        return a

    driver = Driver(["over", "over", "over"])
    line = inner.__code__.co_firstlineno + 1
    _engine.watch_code(inner.__code__, [(line, _engine.add(__file__, line, "stop", None, on_hit))])
    run()
    _engine.unwatch_all()
    assert driver.stops == [("run", 2), ("inner", 1), ("inner", 1)]


def test_debuggers_own_calls_are_no_part_of_the_program():
    def debugger() -> None:
        driver.go(sys._getframe(1))
        inner(1)

    def run() -> int:
        debugger()
        return inner(2)

    driver = Driver(["into", "into"])
    run()
    assert driver.stops == [("run", 2), ("inner", 1)]


def test_error_in_the_callback_is_told_and_the_program_goes_on(capfd):
    def on_stop(*_: object) -> None:
        raise ValueError("mine")

    def run() -> int:
        _engine.step(sys._getframe(), "over", on_stop)
        return 3

    assert run() == 3
    assert "ValueError: mine" in capfd.readouterr().err


def test_leaving_in_the_callback_reaches_the_program():
    def on_stop(*_: object) -> None:
        raise SystemExit(3)

    def run() -> int:
        _engine.step(sys._getframe(), "over", on_stop)
        return 3

    with pytest.raises(SystemExit):
        run()


def test_locals_can_be_written_at_a_stop():
    def on_stop(frame: Any, _event: str, _argument: object) -> None:
        frame.f_locals["a"] = 7

    def run() -> int:
        a = 1
        _engine.step(sys._getframe(), "over", on_stop)
        return a

    assert run() == 7


def test_mistakes():
    with pytest.raises(ValueError, match='"into", "over", "out"'):
        _engine.step(sys._getframe(), "sideways", print)  # type: ignore[arg-type]
    generator: Any = (number for number in range(3))
    next(generator)
    with pytest.raises(ValueError, match="does not run in this thread"):
        _engine.step(generator.gi_frame, "over", print)


def test_off_the_end_of_a_thread():
    driver = Driver(["out"] * 9)
    thread = threading.Thread(target=lambda: driver.go(sys._getframe()))
    thread.start()
    thread.join()
    assert [stop[0] for stop in driver.stops[:2]] == ["run", "_bootstrap_inner"]


def test_thread_that_ends_while_its_step_waits():
    def wait() -> Any:
        driver.go(sys._getframe())
        yield 1

    def run() -> None:
        generator = wait()
        next(generator)
        kept.append(generator)

    kept: list[Any] = []
    driver = Driver(["over", "over"])
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert driver.stops == [("wait", 2)]
    # The generator goes on in another thread, where nobody steps.
    assert list(kept[0]) == []
    # The native thread ends a little after it could be joined; then any step tidies up.
    deadline = time.monotonic() + 10
    while tools() and time.monotonic() < deadline:
        time.sleep(0.001)
        _engine.cancel_step()


if MONITORING is None:

    def test_another_tools_trace_function_is_a_reason():
        def trace(*_: object) -> Any:
            return trace

        sys.settrace(trace)
        try:
            with pytest.raises(RuntimeError, match="another tool traces"):
                _engine.step(sys._getframe(), "over", print)
        finally:
            sys.settrace(None)
