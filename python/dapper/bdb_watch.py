"""What a watch of a debugger does, and which one this interpreter offers."""

from __future__ import annotations

import sys
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dapper import _engine

if TYPE_CHECKING:
    import bdb
    from collections.abc import Callable
    from types import CodeType, FrameType

__all__ = ["Due", "Reach", "Watch", "Watcher", "store_locals", "thread", "watch"]


class Reach(Enum):
    """How much of what a watcher waits for a watch can tell it of."""

    NOTHING = "it has to trace everything"
    BREAKPOINTS = "it has to trace the frames that have a trace function"
    EVERYTHING = "it need not trace"


class Due(NamedTuple):
    """A stop at a breakpoint whose condition held or failed in the line."""

    frame: FrameType
    point: bdb.Breakpoint
    failed: bool


class Watcher(Protocol):
    """Who is told of events."""

    # One bit, which no other watcher has, or 0: whose threads they are in which the engine's
    # breakpoints act. It is given by the watch, to those that leave conditions to it.
    mark: int
    # Whether it judges its breakpoints as `bdb` does.
    known_condition: bool

    dispatch: Callable[[FrameType, str, Any], Any]
    # The frame, line and offset of the line event that was the last one it was told of by tracing.
    told: tuple[FrameType, int, int] | None

    # How far the watch reaches now.
    reach: Reach
    # Whether calls are to be told of, in code of files with breakpoints.
    follows_calls: bool

    @property
    def waits_for_frame(self) -> bool:
        """Whether frames with a trace function are to be followed beside the breakpoints."""

    def canonic(self, file: str) -> str:
        """Return the name by which breakpoints know a file."""

    def lines_of(self, file: str) -> set[int]:
        """Return the lines of this file that hold a breakpoint."""

    def functions_in(self, file: str) -> set[tuple[int, str]]:
        """Return the functions with a breakpoint, by the line of their `def` and their name."""

    def lines_in(self, code: CodeType) -> frozenset[int] | None:
        """Return the lines of this code at which a breakpoint may be hit; `None` is all."""

    def calls_in(self, code: CodeType) -> bool:
        """Tell whether calls of this code are to be told."""

    def at_line(self, frame: FrameType, *, wanted: bool) -> None:
        """Carry out a line event; `wanted` tells that a breakpoint may be hit there."""

    def at_due(self, due: Due) -> None:
        """Stop at a breakpoint; its line is not passed a second time."""

    def at_event(self, frame: FrameType, event: str, arg: object) -> None:
        """Carry out any other event."""


class Watch(Protocol):
    """Tells watchers what happens at lines and in frames of the threads that they own."""

    def join(self, watcher: Watcher) -> str | None:
        """Add a watcher, or say why it cannot be served."""

    def leave(self, watcher: Watcher) -> None:
        """Forget a watcher."""

    def change(self, watcher: Watcher, files: set[str]) -> None:
        """Follow a watcher's breakpoints in these files."""

    def pause(self, watcher: Watcher) -> None:
        """Tell a watcher nothing more until it enters again."""

    def enter(self, watcher: Watcher, frame: FrameType) -> Reach:
        """Begin to watch or go on, where `frame` is the innermost one."""

    def leaves_out(self, watcher: Watcher, frame: FrameType) -> bool:
        """Tell whether a breakpoint may be missed in `frame`, its callers or a suspended frame."""

    def stop(self, watcher: Watcher, frame: FrameType) -> None:
        """Tell a watcher, by an event in which it may stop, of the line that a frame is at."""

    def go_on(self, frame: FrameType) -> None:
        """Let a frame go on that the watcher was told of, in a thread that it owns."""

    def is_evaluating(self, frame: FrameType) -> bool:
        """Tell whether a frame runs for a condition that is evaluated in a line."""

    def saved(self, watcher: Watcher) -> int:
        """Count the passes of a watcher's breakpoints at which nobody had to be told."""


class _Thread(threading.local):
    # Who watches this thread instead of tracing it.
    owner: Watcher | None = None
    # What the next jump of this thread is to bring about: a stop, and an exception behind it.
    due: Due | None = None
    raised: BaseException | None = None

    def own(self, owner: Watcher | None) -> None:
        self.owner = owner
        _engine.own_thread(0 if owner is None else owner.mark)


thread = _Thread()


def _locals_are_copied() -> bool:
    # Up to 3.12 `f_locals` of a function is a copy, which the caller of a trace function writes
    # back.
    return type(sys._getframe().f_locals) is dict  # noqa: SLF001 - the documented name


_LOCALS_ARE_COPIED = _locals_are_copied()


def store_locals(frame: FrameType) -> None:
    """Write what was changed in `f_locals` back to the frame, as after a trace function."""
    if _LOCALS_ARE_COPIED:
        _engine.store_locals(frame)


def watch() -> Watch:
    """Return the watch of this process."""
    if not _watches:
        if hasattr(sys, "monitoring"):
            from dapper.bdb_monitor import Monitor  # noqa: PLC0415 - needs `sys.monitoring`

            _watches.append(Monitor())
        else:
            from dapper.bdb_probes import Probes  # noqa: PLC0415 - loads the import hook

            _watches.append(Probes())
    return _watches[0]


_watches: list[Watch] = []
