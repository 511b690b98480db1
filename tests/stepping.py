"""Driving the stepper through a program: a script of steps, and the stops that they made."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

from dapper import _engine


class Driver:
    """Takes the next of `modes` at each stop, and notes (function, line from its first, ...).

    What is not a line is noted with its event and argument.
    """

    def __init__(
        self,
        modes: Sequence[str],
        *,
        skip: Callable[[CodeType], bool] | None = None,
        returns: bool = False,
        exceptions: bool = False,
    ) -> None:
        self.modes = list(modes)
        self.options: dict[str, Any] = {
            "skip": skip,
            "returns": returns,
            "exceptions": exceptions,
        }
        self.stops: list[Any] = []

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """Remember one stop."""
        code = frame.f_code
        stop: tuple[Any, ...] = (code.co_name, frame.f_lineno - code.co_firstlineno)
        if event != "line":
            stop += (event, argument)
        self.stops.append(stop)

    def on_stop(self, frame: FrameType, event: str, argument: object) -> None:
        """Note the stop, and step on."""
        self.note(frame, event, argument)
        self.go(frame)

    def go(self, frame: FrameType) -> None:
        """Take the next step, or let the program run."""
        if self.modes:
            mode: Any = self.modes.pop(0)
            _engine.step(frame, mode, self.on_stop, **self.options)

    def on_hit(self, hit: _engine.Hit) -> None:
        """Begin at a breakpoint."""
        self.note(hit.frame, "line", None)
        self.go(hit.frame)

    def start(self) -> None:
        """Begin in the caller."""
        self.go(sys._getframe(1))


MONITORING: Any = getattr(sys, "monitoring", None)


def tools() -> list[str]:
    """The monitoring tools of this interpreter."""
    if MONITORING is None:
        return []
    return [name for name in map(MONITORING.get_tool, range(6)) if name]


def leaving_nothing() -> Iterator[None]:
    """A fixture: every step ends with nothing installed."""
    yield
    left = [*tools(), sys.gettrace()]
    _engine.cancel_step()
    _engine.unwatch_all()
    _engine.clear()
    assert left == [None]
    assert tools() == []
    assert sys.gettrace() is None
    assert threading.gettrace() is None


# Without docstrings: the tests count their lines.
def inner(x: int) -> int:
    y = x + 1
    return y


def outer(x: int) -> int:
    a = inner(x)
    b = inner(a)
    return a + b


def skip_library(code: CodeType) -> bool:
    """Pass through everything but tests."""
    return "/tests/" not in code.co_filename
