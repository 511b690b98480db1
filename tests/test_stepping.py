"""Stepping into, over and out of functions, generators and exceptions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from types import CodeType

import pytest
from tests.stepping import Driver, inner, leaving_nothing, outer, skip_library

clean = pytest.fixture(autouse=True)(leaving_nothing)


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


def test_generator_that_is_not_resumed():
    def run() -> int:
        driver.start()
        for number in numbers():
            if number:
                break
        return number

    driver = Driver(["over", "into", "over", "over", "over"])
    assert run() == 1
    assert driver.stops[:5] == [
        ("run", 2),
        ("numbers", 1),
        ("numbers", 2),
        ("run", 5),
        ("test_generator_that_is_not_resumed", 10),
    ]


def test_generator_that_is_closed_runs_its_handlers():
    def guarded() -> Generator[int]:
        try:
            yield 1
        finally:
            closed.append(1)

    def run() -> int:
        driver.start()
        generator = guarded()
        found = next(generator)
        generator.close()
        return found

    closed: list[int] = []
    driver = Driver(["over", "over", "into", "over", "over", "over", "over"])
    assert run() == 1
    assert driver.stops[:6] == [
        ("run", 2),
        ("run", 3),
        ("guarded", 1),
        ("guarded", 2),
        ("guarded", 4),
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


def test_with_statement():
    def run() -> None:
        driver.start()
        with managed() as value:
            assert value
        assert value

    driver = Driver(["over", "into", "out", "over", "over", "over"], skip=skip_library)
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
