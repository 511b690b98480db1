"""Exception breakpoints: raised, uncaught and user-unhandled, and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from types import CodeType, FrameType
from typing import Any, Literal

import pytest
from tests.launch import python

from dapper import _engine

MONITORING: Any = getattr(sys, "monitoring", None)
Filter = Literal["raised", "uncaught", "user_unhandled"]
Report = tuple[str | None, str, str]


def is_here(code: CodeType) -> bool:
    return code.co_filename == __file__


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def ask(reports: list[Report]) -> Iterator[Callable[..., None]]:
    """Ask for exceptions; those of this file are noted as (function, type, filter)."""

    def note(frame: FrameType | None, exception: BaseException, kind: str) -> None:
        if frame is None or is_here(frame.f_code):
            name = frame.f_code.co_name if frame else None
            reports.append((name, type(exception).__name__, kind))

    def ask(*filters: Filter, is_user: Callable[[CodeType], bool] | None = is_here) -> None:
        _engine.set_exception_breakpoints(filters, note, is_user=is_user)

    yield ask
    _engine.set_exception_breakpoints([], None)
    assert sys.gettrace() is None
    assert threading.gettrace() is None
    assert sys.excepthook is sys.__excepthook__
    if MONITORING:
        assert [MONITORING.get_tool(number) for number in range(6)] == [None] * 6


def fail() -> None:
    raise ValueError("told")


def through() -> None:
    fail()


def test_raised_once_where_it_was_raised(ask, reports):
    ask("raised")
    with pytest.raises(ValueError, match="told"):
        through()
    assert reports == [("fail", "ValueError", "raised")]


def test_raised_again_is_reported_again(ask, reports):
    def again() -> None:
        try:
            through()
        except ValueError as error:
            str(error)
            raise error  # noqa: TRY201

    ask("raised")
    with pytest.raises(ValueError, match="told"):
        again()
    assert reports == [("fail", "ValueError", "raised"), ("again", "ValueError", "raised")]


def test_raised_in_native_code(ask, reports):
    def convert() -> int:
        return int("x")

    ask("raised")
    with pytest.raises(ValueError, match="invalid literal"):
        convert()
    assert reports == [("convert", "ValueError", "raised")]


def test_chain_is_two_exceptions(ask, reports):
    def chain() -> None:
        try:
            fail()
        except ValueError as error:
            raise KeyError from error

    ask("raised")
    with pytest.raises(KeyError):
        chain()
    assert reports == [("fail", "ValueError", "raised"), ("chain", "KeyError", "raised")]


class Countdown:
    def __init__(self, start: int) -> None:
        self.left = start

    def __iter__(self) -> Countdown:
        return self

    def __next__(self) -> int:
        if self.left == 0:
            raise StopIteration
        self.left -= 1
        return self.left


def test_the_ends_of_iteration_are_not_raised(ask, reports):
    def count() -> Generator[int]:
        yield 1
        yield 2

    async def counting() -> Any:
        yield 1

    async def consume() -> list[int]:
        return [number async for number in counting()]

    ask("raised", "user_unhandled")
    assert list(Countdown(2)) == [1, 0]
    assert [number for number in Countdown(1)] == [0]  # noqa: C416
    assert sum(count()) == 3
    assert next(count(), None) == 1
    generator = count()
    next(generator)
    generator.close()
    assert asyncio.run(consume()) == [1]
    assert reports == []


def test_error_in_the_callback_is_told(ask, capfd):
    def break_down(frame: FrameType | None, *_: object) -> None:
        if frame and is_here(frame.f_code):
            raise RuntimeError("mine")

    _engine.set_exception_breakpoints(["raised"], break_down)
    with pytest.raises(ValueError, match="told"):
        fail()
    assert "RuntimeError: mine" in capfd.readouterr().err


def test_leaving_in_the_callback_replaces_the_exception(ask):
    def leave(frame: FrameType | None, *_: object) -> None:
        if frame and is_here(frame.f_code):
            raise SystemExit(4)

    _engine.set_exception_breakpoints(["raised"], leave)
    with pytest.raises(SystemExit):
        fail()


def test_thrown_into_a_coroutine(ask, reports):
    async def work() -> None:
        await asyncio.sleep(10)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ask("raised")
    asyncio.run(main())
    assert ("work", "CancelledError", "raised") not in reports[1:]


def call_back(function: Callable[[], object]) -> None:
    """A library that calls the user's code: `sorted` calls the key."""
    sorted([1], key=lambda _: function())  # type: ignore[arg-type, return-value]


def test_user_unhandled_leaves_user_code(ask, reports):
    def is_user(code: CodeType) -> bool:
        return is_here(code) and code.co_name not in ("call_back", "<lambda>")

    def program() -> None:
        try:
            call_back(through)
        except ValueError:
            return

    ask("user_unhandled", is_user=is_user)
    program()
    assert reports == [("through", "ValueError", "user_unhandled")]
    reports.clear()
    with pytest.raises(ValueError, match="told"):
        fail()
    # Out of the test itself, the framework is not the user's; but here the test catches it.
    assert reports == []


def test_user_unhandled_by_default_is_all_but_libraries(ask, reports):
    ask("user_unhandled", is_user=None)
    json_error = pytest.raises(json.JSONDecodeError)
    with json_error:
        json.loads("[", object_hook=lambda _: fail())
    assert reports == []
    with pytest.raises(ValueError, match="told"):
        json.loads("{}", object_hook=lambda _: fail())
    assert reports == [("<lambda>", "ValueError", "user_unhandled")]


def test_step_from_an_exception_goes_to_its_handler(ask):
    stops = []

    def on_stop(frame: FrameType, *_: object) -> None:
        stops.append((frame.f_code.co_name, frame.f_lineno - frame.f_code.co_firstlineno))

    def on_exception(frame: FrameType | None, *_: object) -> None:
        if frame and is_here(frame.f_code):
            _engine.step(frame, "over", on_stop)

    def program() -> str:
        try:
            through()
        except ValueError:
            return "handled"
        return "missed"

    kinds: tuple[Filter, ...] = ("raised", "user_unhandled")
    for kind in kinds:
        _engine.set_exception_breakpoints(
            [kind],
            on_exception,
            is_user=lambda code: code.co_name in ("fail", "through"),
        )
        stops.clear()
        assert program() == "handled"
        _engine.set_exception_breakpoints([], None)
        assert stops == [("program", 3)], kind


def test_mistakes():
    with pytest.raises(ValueError, match='"raised", "uncaught", "user_unhandled"'):
        _engine.set_exception_breakpoints(["caught"], print)  # type: ignore[list-item]


UNCAUGHT = """
import sys, threading
from dapper import _engine

def report(frame, exception, kind):
    print("told", frame and frame.f_code.co_name, type(exception).__name__, kind, flush=True)

_engine.set_exception_breakpoints(["uncaught"], report)

def fail():
    raise ValueError("mine")

def handled():
    try:
        fail()
    except ValueError:
        pass

class Own(threading.Thread):
    def run(self):
        fail()

handled()
for thread in (threading.Thread(target=fail), Own()):
    thread.start()
    thread.join()
print("then", flush=True)
{last}
"""


@pytest.mark.parametrize(
    ("last", "told", "status"),
    [
        ("fail()", ["told fail ValueError uncaught"], 1),
        ("sys.exit(5)", [], 5),
        ("raise KeyboardInterrupt", ["told <module> KeyboardInterrupt uncaught"], -2),
        ("sys.excepthook = lambda *_: None; fail()", ["told fail ValueError uncaught"], 1),
        ("raise StopIteration", ["told <module> StopIteration uncaught"], 1),
    ],
)
def test_uncaught(tmp_path, last, told, status):
    (tmp_path / "program.py").write_text(UNCAUGHT.format(last=last))
    done = python(tmp_path / "program.py", cwd=tmp_path)
    if MONITORING is None and "excepthook" in last:
        # What replaces the hook and does not go on to it is all that runs.
        told = []
    lines = done.out.splitlines()
    assert lines == ["told fail ValueError uncaught"] * 2 + ["then"] + told, done.err
    assert done.status == status
    assert done.err.count("Exception in thread") == 2


def test_uncaught_in_a_module_that_is_run(tmp_path):
    (tmp_path / "program.py").write_text(UNCAUGHT.format(last="fail()"))
    done = python("-m", "program", cwd=tmp_path)
    assert done.out.splitlines()[-1] == "told fail ValueError uncaught"


def test_program_that_raises_nothing_runs_as_before(ask):
    """Nothing is instrumented on 3.12 and later but what reports exceptions."""
    ask("raised", "uncaught", "user_unhandled")
    if MONITORING:
        events = MONITORING.events
        assert sys.gettrace() is None
        assert MONITORING.get_events(0) == events.RAISE | events.PY_UNWIND


def test_hooks_are_given_back():
    def own(*_: object) -> None: ...

    before = threading.excepthook
    _engine.set_exception_breakpoints(["uncaught"], print)
    installed, sys.excepthook = sys.excepthook, own
    try:
        _engine.set_exception_breakpoints([], None)
        assert sys.excepthook is own
        assert threading.excepthook is before
    finally:
        sys.excepthook = getattr(installed, "__wrapped__", installed)
    assert sys.excepthook is sys.__excepthook__ or "pytest" in repr(sys.excepthook)
