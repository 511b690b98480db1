"""Lines that are watched from outside: frames, threads, generators, other tools, and the end."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest

from dapper import _engine

MONITORING: Any = getattr(sys, "monitoring", None)
BACKENDS = ["sys_monitoring", "settrace"] if MONITORING else ["settrace"]
FILE = __file__


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every test leaves the interpreter as it was."""
    yield
    _engine.unwatch_all()
    _engine.clear()
    assert_nothing_installed()


def assert_nothing_installed() -> None:
    assert sys.gettrace() is None
    assert threading.gettrace() is None
    if MONITORING:
        assert [MONITORING.get_tool(number) for number in range(6)] == [None] * 6


def line_of(code: CodeType, offset: int) -> int:
    return code.co_firstlineno + offset


def breakpoint_at(
    function: Callable[..., Any], offset: int, on_hit: Callable[[Any], object]
) -> tuple[int, _engine.Breakpoint]:
    """A breakpoint on a line of `function`, counted from its first."""
    line = line_of(function.__code__, offset)
    return line, _engine.add(FILE, line, "stop", None, on_hit)


def add(x: int) -> int:
    y = x + 1
    return y * 2


def count_to(n: int) -> Iterator[int]:
    i = 0
    while i < n:
        i += 1
        yield i


def test_watched_line_stops_with_its_frame(backend):
    seen: list[Any] = []
    wanted = breakpoint_at(add, 2, lambda hit: seen.append((hit.frame.f_locals["y"], hit.line)))
    assert _engine.watch_code(add.__code__, [wanted], backend=backend) is None
    assert wanted[1].tier == "tracing"
    assert add(4) == 10
    assert seen == [(5, wanted[0])]
    _engine.unwatch_code(add.__code__)
    add(5)
    assert len(seen) == 1


def test_other_code_is_not_watched(backend):
    """Identity counts: an equal code object is another one."""
    seen: list[Any] = []
    other = add.__code__.replace()
    assert other == add.__code__
    wanted = breakpoint_at(add, 1, seen.append)
    _engine.watch_code(other, [wanted], backend=backend)
    add(1)
    assert not seen


def test_watch_replaces_an_earlier_one(backend):
    first: list[Any] = []
    second: list[Any] = []
    _engine.watch_code(add.__code__, [breakpoint_at(add, 1, first.append)], backend=backend)
    _engine.watch_code(add.__code__, [breakpoint_at(add, 2, second.append)], backend=backend)
    add(1)
    assert (len(first), len(second)) == (0, 1)


def test_two_probes_on_one_line_fire_in_order(backend):
    seen: list[Any] = []
    wanted = [
        breakpoint_at(add, 1, lambda _: seen.append("first")),
        breakpoint_at(add, 1, lambda _: seen.append("second")),
    ]
    _engine.watch_code(add.__code__, wanted, backend=backend)
    add(1)
    assert seen == ["first", "second"]


def test_line_that_was_given_up_can_be_watched_again(backend):
    """A location that answered that nobody wants it sends its events again."""
    seen: list[Any] = []
    _engine.watch_code(add.__code__, [breakpoint_at(add, 1, seen.append)], backend=backend)
    add(1)
    add(1)
    _engine.watch_code(add.__code__, [breakpoint_at(add, 2, seen.append)], backend=backend)
    add(1)
    assert [hit.line for hit in seen] == [line_of(add.__code__, offset) for offset in (1, 1, 2)]


def test_one_line_function_and_loop(backend):
    seen: set[int] = set()
    function: Any = lambda n: [seen.add(i) for i in range(n)] and None  # type: ignore[func-returns-value]  # noqa: E731
    code = function.__code__
    hits: list[Any] = []
    wanted = (
        code.co_firstlineno,
        _engine.add(FILE, code.co_firstlineno, "stop", None, hits.append),
    )
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    for each in [code, *inner]:
        _engine.watch_code(each, [wanted], backend=backend)
    function(3)
    # The call, and each jump back to the beginning of the line.
    assert len(hits) == (5 if inner else 4)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_leaving_a_stop_reaches_the_program(backend, error):
    def leave(_hit: object) -> None:
        raise error

    _engine.watch_code(add.__code__, [breakpoint_at(add, 2, leave)], backend=backend)
    for _ in range(2):
        with pytest.raises(error) as caught:
            add(1)
        assert caught.traceback[-2].lineno + 1 == line_of(add.__code__, 2)


def test_leaving_a_stop_at_a_jump_reaches_the_program(backend):
    hits: list[Any] = []

    def leave(hit: Any) -> None:
        hits.append(hit)
        if len(hits) == 3:
            raise KeyboardInterrupt

    def loop() -> str:
        try:
            for _ in range(9): pass  # fmt: skip  # noqa: E701
        except KeyboardInterrupt:
            return "caught"
        return "missed"

    _engine.watch_code(loop.__code__, [breakpoint_at(loop, 2, leave)], backend=backend)
    if backend == "settrace" and sys.version_info[:2] in ((3, 12), (3, 13)):
        # There CPython passes the handlers over when a trace function raises at a jump.
        with pytest.raises(KeyboardInterrupt):
            loop()
    else:
        assert loop() == "caught"
    assert len(hits) == 3


def test_error_of_a_callback_is_not_the_programs(backend, capfd):
    def fail(_hit: object) -> None:
        raise ValueError("mine")

    _engine.watch_code(add.__code__, [breakpoint_at(add, 2, fail)], backend=backend)
    assert add(1) == 4
    assert add(1) == 4
    assert capfd.readouterr().err.count("ValueError: mine") == 1


def test_given_frame_only(backend):
    hits: list[Any] = []

    def walk(depth: int) -> int:
        if depth == 2:
            frame = sys._getframe()
            reason = _engine.watch_code(walk.__code__, [wanted], [frame], backend)
            assert reason is None
            del frame
        below = walk(depth - 1) if depth else 0
        return below + 1

    wanted = breakpoint_at(walk, 7, lambda hit: hits.append(hit.frame.f_locals["depth"]))
    assert walk(4) == 5
    assert hits == [2]
    # The frame has left, and with it the watch.
    assert_nothing_installed()


def test_frame_left_by_an_exception_ends_the_watch(backend):
    hits: list[Any] = []

    def fail() -> None:
        _engine.watch_code(fail.__code__, [wanted], [sys._getframe()], backend)
        hits.append(1)
        raise ValueError

    wanted = breakpoint_at(fail, 2, lambda hit: hits.append(hit.line))
    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert hits == [wanted[0], 1]
    assert_nothing_installed()


def test_watch_keeps_no_local_alive(backend):
    class Local: ...

    def hold() -> None:
        local = Local()
        _engine.watch_code(hold.__code__, [wanted], [sys._getframe()], backend)
        del local

    wanted = breakpoint_at(hold, 3, lambda _hit: None)
    hold()
    assert not [found for found in gc.get_objects() if type(found) is Local]


def test_suspended_generator(backend):
    generator, other = count_to(3), count_to(3)
    assert next(generator) == next(other) == 1
    hits: list[Any] = []
    wanted = breakpoint_at(count_to, 3, lambda hit: hits.append(hit.frame.f_locals["i"]))
    assert _engine.watch_code(count_to.__code__, [wanted], [generator], backend) is None
    assert next(other) == 2
    assert next(generator) == 2
    assert hits == [1]
    assert list(generator) == [3]
    assert hits == [1, 2]
    assert_nothing_installed()
    assert list(other) == [3]


def test_generator_that_vanishes_ends_the_watch(backend):
    generator = count_to(3)
    next(generator)
    wanted = breakpoint_at(count_to, 3, lambda _hit: None)
    _engine.watch_code(count_to.__code__, [wanted], [generator], backend)
    del generator
    gc.collect()
    assert_nothing_installed()


def test_exhausted_generator_is_no_frame(backend):
    generator = count_to(0)
    list(generator)
    wanted = breakpoint_at(count_to, 3, lambda _hit: None)
    assert _engine.watch_code(count_to.__code__, [wanted], [generator], backend) is None
    assert_nothing_installed()


def test_suspended_coroutine_and_asynchronous_generator(backend):
    hits: list[Any] = []

    async def numbers() -> Any:
        for i in range(3):
            await asyncio.sleep(0)
            yield i

    async def consume(ready: asyncio.Event) -> list[int]:
        await ready.wait()
        found = []
        async for i in source:
            found.append(i)  # noqa: PERF401 - a line of its own
        return found

    async def main() -> list[int]:
        ready = asyncio.Event()
        consumer = consume(ready)
        task = asyncio.create_task(consumer)
        await asyncio.sleep(0)
        await anext(source)
        wanted = breakpoint_at(consume, 2, lambda hit: hits.append(hit.function))
        assert _engine.watch_code(consume.__code__, [wanted], [consumer], backend) is None
        wanted = breakpoint_at(numbers, 2, lambda hit: hits.append(hit.function))
        assert _engine.watch_code(numbers.__code__, [wanted], [source], backend) is None
        ready.set()
        return await task

    source = numbers()
    assert asyncio.run(main()) == [1, 2]
    prefix = "test_suspended_coroutine_and_asynchronous_generator.<locals>."
    assert hits == [f"{prefix}consume"] + [f"{prefix}numbers"] * 2
    assert_nothing_installed()


def spin(stop: threading.Event) -> int:
    passes = 0
    while not stop.is_set():
        passes += 1
        time.sleep(0.001)
    return passes


@pytest.fixture
def spinning() -> Iterator[threading.Thread]:
    stop = threading.Event()
    thread = threading.Thread(target=spin, args=(stop,))
    thread.start()
    time.sleep(0.05)
    yield thread
    stop.set()
    thread.join()


def frame_of(thread: threading.Thread) -> FrameType:
    assert thread.ident is not None
    frame: FrameType | None = sys._current_frames()[thread.ident]
    while frame and frame.f_code is not spin.__code__:
        frame = frame.f_back
    assert frame
    return frame


@pytest.mark.parametrize("given", [True, False])
def test_live_loop_in_another_thread(backend, spinning, given):
    hit = threading.Event()
    idents = set()

    def stopped(_hit: object) -> None:
        idents.add(threading.get_ident())
        hit.set()

    wanted = breakpoint_at(spin, 3, stopped)
    frames = [frame_of(spinning)] if given else None
    assert _engine.watch_code(spin.__code__, [wanted], frames, backend) is None
    assert hit.wait(10)
    assert idents == {spinning.ident}
    _engine.unwatch_all()
    time.sleep(0.05)
    assert_nothing_installed()


def test_thread_that_starts_later(backend):
    hits: list[Any] = []
    wanted = breakpoint_at(add, 1, lambda _hit: hits.append(threading.get_ident()))
    _engine.watch_code(add.__code__, [wanted], backend=backend)
    thread = threading.Thread(target=add, args=(1,))
    thread.start()
    thread.join()
    assert hits == [thread.ident]


def test_another_trace_function_is_respected():
    seen: list[Any] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code is add.__code__:
            seen.append(event)
        return trace

    sys.settrace(trace)
    try:
        reason = _engine.watch_code(
            add.__code__, [breakpoint_at(add, 1, lambda _hit: None)], backend="settrace"
        )
        assert reason is not None
        assert "another tool traces thread" in reason
        assert sys.gettrace() is trace
        add(1)
    finally:
        sys.settrace(None)
    assert seen == ["call", "line", "line", "return"]


def test_trace_function_is_given_back_after_another_debugger_borrowed_it():
    hits: list[Any] = []
    _engine.watch_code(add.__code__, [breakpoint_at(add, 1, hits.append)], backend="settrace")
    ours = sys.gettrace()
    assert ours is not None
    sys.settrace(None)
    add(1)
    assert not hits
    sys.settrace(ours)
    add(1)
    assert len(hits) == 1


def test_unknown_backend():
    with pytest.raises(ValueError, match='"eval_frame", "sys_monitoring", "settrace"'):
        _engine.watch_code(add.__code__, [], backend="bpf")


if MONITORING is None:

    def test_monitoring_is_refused_where_there_is_none():
        wanted = breakpoint_at(add, 1, lambda _hit: None)
        reason = _engine.watch_code(add.__code__, [wanted], backend="sys_monitoring")
        assert reason == "this interpreter has no sys.monitoring"
        assert wanted[1].reason == reason


if MONITORING:

    @pytest.fixture
    def every_id() -> Iterator[None]:
        for number in range(6):
            MONITORING.use_tool_id(number, "another")
        yield
        for number in range(6):
            MONITORING.free_tool_id(number)

    @pytest.mark.usefixtures("every_id")
    def test_no_tool_id_left():
        wanted = breakpoint_at(add, 1, lambda _hit: None)
        reason = _engine.watch_code(add.__code__, [wanted])
        assert reason == "other tools hold every sys.monitoring id"

    def test_other_tools_keep_their_events():
        lines: list[int] = []
        hits: list[Any] = []
        number = MONITORING.DEBUGGER_ID
        MONITORING.use_tool_id(number, "another")
        event = MONITORING.events.LINE

        def line(_code: CodeType, number: int) -> None:
            lines.append(number)

        MONITORING.register_callback(number, event, line)
        MONITORING.set_local_events(number, add.__code__, event)
        try:
            _engine.watch_code(add.__code__, [breakpoint_at(add, 2, hits.append)])
            assert "dapper" in [MONITORING.get_tool(each) for each in range(6)]
            add(1)
            _engine.unwatch_all()
            add(1)
        finally:
            MONITORING.set_local_events(number, add.__code__, 0)
            MONITORING.register_callback(number, event, None)
            MONITORING.free_tool_id(number)
        assert lines == [line_of(add.__code__, offset) for offset in (1, 2, 1, 2)]
        assert len(hits) == 1


def test_cycles_leave_nothing_behind(backend):
    wanted = breakpoint_at(add, 1, lambda _hit: None)
    counts = []
    for _ in range(3):
        for _ in range(200):
            _engine.watch_code(add.__code__, [wanted], backend=backend)
            add(1)
            _engine.unwatch_all()
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[-1] - counts[0] < 20
    assert_nothing_installed()
