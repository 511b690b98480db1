"""Stepping into, over and out, in every kind of frame, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import CodeType
from typing import Any

import pytest
from tests.stepping import Driver

from dapper import _engine

MONITORING: Any = getattr(sys, "monitoring", None)


def assert_nothing_installed() -> None:
    assert sys.gettrace() is None
    assert threading.gettrace() is None
    if MONITORING:
        assert [MONITORING.get_tool(number) for number in range(6)] == [None] * 6


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every step ends with nothing installed."""
    yield
    left = []
    if MONITORING:
        left = [MONITORING.get_tool(number) for number in range(6)]
    trace = sys.gettrace()
    _engine.cancel_step()
    _engine.unwatch_all()
    _engine.clear()
    assert not any(left)
    assert trace is None
    assert_nothing_installed()


def inner(x: int) -> int:
    y = x + 1
    return y


def outer(x: int) -> int:
    a = inner(x)
    b = inner(a)
    return a + b


def test_over():
    def run() -> int:
        driver.start()
        a = outer(1)
        b = outer(a)
        return a + b

    driver = Driver(["over"] * 3)
    assert run() == 18
    assert driver.stops == [("run", 2), ("run", 3), ("run", 4)]


def test_into_and_out():
    def run() -> int:
        driver.start()
        a = outer(1)
        return a

    driver = Driver(["over", "into", "into", "out", "over", "out"])
    assert run() == 5
    assert driver.stops == [
        ("run", 2),
        ("outer", 1),
        ("inner", 1),
        ("outer", 2),
        ("outer", 3),
        ("run", 3),
    ]


def test_over_the_end_of_a_function_returns_to_the_caller():
    def run() -> int:
        driver.start()
        a = inner(1)
        return a

    driver = Driver(["over", "into", "over", "over", "over"])
    run()
    assert driver.stops[:5] == [
        ("run", 2),
        ("inner", 1),
        ("inner", 2),
        ("run", 3),
        ("test_over_the_end_of_a_function_returns_to_the_caller", 8),
    ]


def test_into_two_calls_of_one_line():
    def run() -> int:
        driver.start()
        a = inner(1) + inner(2)
        return a

    # Out of the first call, the rest of the line is no line of its own.
    driver = Driver(["over", "into", "out"])
    run()
    assert driver.stops == [("run", 2), ("inner", 1), ("run", 3)]
    driver = Driver(["over", "into", "over", "into", "into"])
    run()
    assert driver.stops[:4] == [("run", 2), ("inner", 1), ("inner", 2), ("inner", 1)]


def test_returns_are_stops_when_asked_for():
    def run() -> int:
        driver.start()
        a = inner(1)
        return a

    driver = Driver(["over", "into", "out", "over"], returns=True)
    run()
    assert driver.stops[:4] == [
        ("run", 2),
        ("inner", 1),
        ("inner", 2, "return", 2),
        ("run", 3),
    ]


def test_step_from_a_return_goes_on_behind_it():
    def run() -> int:
        driver.start()
        a = inner(1) + inner(5)
        return a

    driver = Driver(["over", "into", "over", "over", "into"], returns=True)
    run()
    assert driver.stops[:5] == [
        ("run", 2),
        ("inner", 1),
        ("inner", 2),
        ("inner", 2, "return", 2),
        ("inner", 1),
    ]


def factorial(n: int) -> int:
    if n < 2:
        return 1
    below = factorial(n - 1)
    return n * below


def test_recursion_stays_in_its_frame():
    def run() -> int:
        driver.start()
        return factorial(4)

    driver = Driver(["into", "into", "over", "over", "over"])
    assert run() == 24
    assert driver.stops == [
        ("run", 2),
        ("factorial", 1),
        ("factorial", 3),
        ("factorial", 4),
        ("test_recursion_stays_in_its_frame", 7),
    ]


def numbers() -> Iterator[int]:
    first = 1
    yield first
    second = 2
    yield second


def test_over_a_yield_stays_with_the_generator():
    def run() -> list[int]:
        driver.start()
        found = []
        for number in numbers():
            found.append(number)
        return found

    driver = Driver(["over", "over", "into", "over", "over", "over", "over", "over"])
    assert run() == [1, 2]
    assert driver.stops == [
        ("run", 2),
        ("run", 3),
        ("numbers", 1),
        ("numbers", 2),
        ("numbers", 3),
        ("numbers", 4),
        # Off its end, back to the consumer.
        ("run", 5),
        ("test_over_a_yield_stays_with_the_generator", 10),
    ]


def test_into_a_yield_goes_to_the_consumer():
    def run() -> list[int]:
        driver.start()
        found = []
        for number in numbers():
            found.append(number)
        return found

    driver = Driver(["over", "over", "into", "into", "into", "into", "into", "out"])
    run()
    assert driver.stops == [
        ("run", 2),
        ("run", 3),
        ("numbers", 1),
        ("numbers", 2),
        ("run", 4),
        ("run", 3),
        ("numbers", 3),
        ("run", 5),
    ]


def test_yield_from_and_comprehension():
    def delegate() -> Iterator[int]:
        yield from numbers()
        yield 3

    def run() -> list[int]:
        driver.start()
        return [number * 2 for number in delegate()]

    driver = Driver(["over", "over"])
    assert run() == [2, 4, 6]
    assert driver.stops[0] == ("run", 2)
    driver = Driver(["into"] * 5)
    run()
    names = [name for name, _ in driver.stops]
    assert "delegate" in names
    assert "numbers" in names


def logged(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def around(*args: int) -> int:
        value = function(*args)
        return value

    return around


@logged
def decorated(x: int) -> int:
    return x * 2


def test_decorated():
    def run() -> int:
        driver.start()
        return decorated(2)

    driver = Driver(["over", "into", "into", "out"])
    run()
    assert driver.stops == [("run", 2), ("around", 2), ("decorated", 2), ("around", 3)]


def test_skip_passes_through_code():
    def run() -> list[int]:
        driver.start()
        return sorted([2, 1], key=decorated)

    def skip(code: CodeType) -> bool:
        return code.co_name == "around"

    driver = Driver(["over", "into", "over", "over", "over"], skip=skip)
    run()
    # `over` at the end of the callback returns to the next caller that is not passed through.
    assert driver.stops[:3] == [("run", 2), ("decorated", 2), ("test_skip_passes_through_code", 11)]
    driver = Driver(["over", "into", "into", "into"], skip=skip)
    run()
    assert driver.stops[:3] == [("run", 2), ("decorated", 2), ("decorated", 2)]


@contextlib.contextmanager
def managed() -> Iterator[str]:
    before = "before"
    try:
        yield before
    finally:
        before = "after"


def test_context_manager():
    def skip(code: CodeType) -> bool:
        return code.co_filename != __file__

    def run() -> None:
        driver.start()
        with managed() as value:
            assert value
        assert value

    driver = Driver(["over", "into", "out", "over", "over", "over"], skip=skip)
    run()
    names = [stop[0] for stop in driver.stops[:3]]
    assert names == ["run", "managed", "run"]


def fail(kind: type[BaseException]) -> None:
    raise kind("told")


def test_exception_stops_at_its_handler():
    def run() -> str:
        driver.start()
        try:
            fail(ValueError)
        except ValueError:
            return "handled"
        return "missed"

    driver = Driver(["over", "over", "over", "over"])
    assert run() == "handled"
    assert driver.stops == [("run", 2), ("run", 3), ("run", 4), ("run", 5)]


def test_exception_out_of_the_frame_stops_at_the_callers_handler():
    def middle() -> None:
        fail(KeyError)

    def run() -> str:
        driver.start()
        try:
            middle()
        except KeyError:
            return "handled"
        return "missed"

    for modes in (["into", "into", "into", "over"], ["into", "into", "over"]):
        driver = Driver(["over", *modes])
        assert run() == "handled"
        assert driver.stops[-1] == ("run", 4)
    driver = Driver(["over", "over", "into", "out"])
    run()
    assert driver.stops[-2:] == [("middle", 1), ("run", 4)]


def test_exceptions_are_stops_when_asked_for():
    def run() -> str:
        driver.start()
        try:
            fail(ValueError)
        except ValueError:
            return "handled"
        return "missed"

    driver = Driver(["over", "over", "over", "over"], exceptions=True)
    run()
    assert [stop[:3] for stop in driver.stops] == [
        ("run", 2),
        ("run", 3),
        ("run", 3, "exception"),
        ("run", 4),
    ]
    assert str(driver.stops[2][3]) == "told"


def test_coroutines_in_one_task():
    async def leaf() -> int:
        await asyncio.sleep(0)
        return 1

    async def branch() -> int:
        a = await leaf()
        b = await leaf()
        return a + b

    async def other() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> int:
        noise = asyncio.create_task(other())
        driver.start()
        found = await branch()
        await noise
        return found

    driver = Driver(["over", "into", "over", "into", "over", "over", "over", "over", "over"])
    assert asyncio.run(main()) == 2
    assert driver.stops[:8] == [
        ("main", 3),
        ("branch", 1),
        ("branch", 2),
        ("leaf", 1),
        ("leaf", 2),
        ("branch", 3),
        ("main", 4),
        ("main", 5),
    ]


def skip_library(code: CodeType) -> bool:
    return code.co_filename != __file__


def test_into_an_await_that_suspends_waits_for_the_frame():
    async def other() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> None:
        noise = asyncio.create_task(other())
        driver.start()
        await asyncio.sleep(0.01)
        await noise

    driver = Driver(["over", "into", "over"], skip=skip_library)
    asyncio.run(main())
    assert driver.stops[:2] == [("main", 3), ("main", 4)]


def test_out_of_a_task_goes_to_who_awaits_it():
    async def work() -> int:
        await asyncio.sleep(0)
        driver.start()
        done = 1
        return done

    async def other() -> None:
        for _ in range(9):
            await asyncio.sleep(0)

    async def main() -> int:
        noise = asyncio.create_task(other())
        task = asyncio.create_task(work())
        found = await task
        await noise
        return found

    driver = Driver(["over", "out", "over"])
    asyncio.run(main())
    assert driver.stops == [("work", 3), ("main", 4), ("main", 5)]


def test_out_of_a_gathered_task():
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        if number == 1:
            driver.start()
        return number

    async def main() -> list[int]:
        found = await asyncio.gather(work(0), work(1), work(2))
        return list(found)

    driver = Driver(["over", "out"])
    assert asyncio.run(main()) == [0, 1, 2]
    assert driver.stops == [("work", 4), ("main", 2)]


def test_out_of_the_main_coroutine_goes_to_who_runs_the_loop():
    async def main() -> None:
        driver.start()
        await asyncio.sleep(0)

    def run() -> str:
        asyncio.run(main())
        return "done"

    driver = Driver(["over", "over", "over"])
    assert run() == "done"
    assert driver.stops[:2] == [("main", 2), ("run", 2)]


def test_asynchronous_generator():
    async def source() -> AsyncIterator[int]:
        for number in range(2):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        driver.start()
        found = []
        async for number in source():
            found.append(number)
        return found

    driver = Driver(["over", "over", "into", "over", "over", "over", "over"], skip=skip_library)
    assert asyncio.run(main()) == [0, 1]
    assert driver.stops[:7] == [
        ("main", 2),
        ("main", 3),
        ("source", 1),
        ("source", 2),
        ("source", 3),
        ("source", 1),
        ("source", 2),
    ]


def test_only_its_own_thread_stops():
    barrier = threading.Barrier(2)

    def work() -> int:
        barrier.wait()
        return outer(1)

    def run() -> int:
        driver.start()
        thread.start()
        barrier.wait()
        a = outer(2)
        thread.join()
        return a

    thread = threading.Thread(target=work)
    driver = Driver(["over"] * 3 + ["into"] * 3 + ["out", "out"])
    run()
    assert driver.stops[:4] == [("run", 2), ("run", 3), ("run", 4), ("outer", 1)]
    assert {stop[0] for stop in driver.stops} <= {"run", "outer", "inner"}


def test_two_threads_step_at_once():
    def run(driver: Driver) -> None:
        driver.start()
        for _ in range(50):
            outer(1)

    drivers = [Driver(["over"] * 40), Driver(["into"] * 40)]
    threads = [threading.Thread(target=run, args=(driver,)) for driver in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {stop[0] for stop in drivers[0].stops} == {"run"}
    assert [len(driver.stops) for driver in drivers] == [40, 40]
    assert {stop[0] for stop in drivers[1].stops} == {"run", "outer", "inner"}


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
    generator = numbers()
    next(generator)
    with pytest.raises(ValueError, match="does not run in this thread"):
        _engine.step(generator.gi_frame, "over", print)  # type: ignore[attr-defined]


def test_off_the_end_of_a_thread():
    driver = Driver(["out"] * 9)
    thread = threading.Thread(target=lambda: driver.start())
    thread.start()
    thread.join()
    assert [stop[0] for stop in driver.stops[:2]] == ["run", "_bootstrap_inner"]


@pytest.mark.skipif(MONITORING is not None, reason="steps by sys.monitoring")
def test_another_tools_trace_function_is_a_reason():
    def trace(*_: object) -> Any:
        return trace

    sys.settrace(trace)
    try:
        with pytest.raises(RuntimeError, match="another tool traces"):
            _engine.step(sys._getframe(), "over", print)
    finally:
        sys.settrace(None)
