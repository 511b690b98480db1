"""Driving the stepper through a program: a script of steps, and the stops that they made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

from dapper import _engine

Stop = tuple[str, int]


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
