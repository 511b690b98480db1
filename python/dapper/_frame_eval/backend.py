"""What all backends have in common: one engine, reached in different ways.

A backend holds the breakpoints that a debugger set through it and hands every stop to the trace
callback: `callback(frame, event, arg)`, called from the stopped frame on its thread. Events are
"line" (`arg` is the hit, or None at the end of a step), "return" and "exception".
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dapper import _engine, api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import CodeType, FrameType

    from dapper._engine import Breakpoint, Hit
    from dapper._engine import _BreakpointTier as BreakpointTier
    from dapper._engine import _ExceptionFilter as ExceptionFilter
    from dapper._frame_eval.config import FrameEvalConfig

__all__ = ["FrameEvalBackend", "LineBreakpoint", "TraceCallback"]

_logger = logging.getLogger("dapper._frame_eval")

TraceCallback = Callable[["FrameType", str, Any], object]
EngineBackend = Literal["eval_frame", "sys_monitoring", "settrace"]
StepMode = Literal["into", "over", "out"]

# The spellings of exception filters in use, without case and punctuation.
_FILTERS: dict[str, ExceptionFilter] = {
    "raised": "raised",
    "uncaught": "uncaught",
    "userunhandled": "user_unhandled",
}

# Breakpoints that reached the program as probes: no trace function is needed for them.
_PROBE_TIERS: frozenset[BreakpointTier] = frozenset({"import", "bound", "entry"})


@dataclass(frozen=True)
class LineBreakpoint:
    """A breakpoint as a debugger asks for it."""

    line: int
    condition: str | None = None
    hit_condition: str | None = None


class _Stops:
    """Where the stops of a backend go; it outlives a change of the backend."""

    __slots__ = ("_told", "callback")

    def __init__(self) -> None:
        self.callback: TraceCallback | None = None
        # The breakpoints whose condition has failed.
        self._told: set[int] = set()

    def on_hit(self, hit: Hit) -> None:
        """Carry out what the engine calls at a hit."""
        if hit.error is not None:
            self._tell(hit.breakpoint)
        self.deliver(hit.frame, "line", hit)

    def _tell(self, point: Breakpoint) -> None:
        where = f"{point.file}:{point.requested_line}"
        _logger.debug("condition_failed: %s: %s", where, point.last_error)
        if point.id not in self._told:
            self._told.add(point.id)
            said = "condition %r of %s failed: %s"
            _logger.warning(said, point.condition, where, point.last_error)

    def deliver(self, frame: FrameType, event: str, arg: object) -> None:
        """Hand a stop to the trace callback."""
        callback = self.callback
        if callback is not None:
            callback(frame, event, arg)

    def deliver_exception(
        self,
        frame: FrameType | None,
        error: BaseException,
        filter_: str,  # noqa: ARG002 - the engine's signature
    ) -> None:
        """Hand an exception to the trace callback."""
        if frame is not None:
            self.deliver(frame, "exception", error)


class FrameEvalBackend(ABC):
    """Installs one way of reaching code, and keeps what was asked of it."""

    FIGURES = ("breakpoints_set", "breakpoints_optimized", "trace_calls_saved")

    def __init__(self, config: FrameEvalConfig) -> None:
        self.config = config
        self.installed = False
        self._began_session = False
        # How the session reached code, and the budget that it had, before this backend.
        self._before: tuple[EngineBackend, bool, float] = ("eval_frame", True, 0.1)
        self._armed: dict[str, list[Breakpoint]] = {}
        self._stops = _Stops()
        self._turn = threading.RLock()
        self._counts = dict.fromkeys(self.FIGURES, 0)

    @property
    @abstractmethod
    def engine_backend(self) -> EngineBackend:
        """The engine's word for it."""

    def install(self) -> None:
        """Have the engine reach code this way, and begin a session if there is none."""
        if not api.status().active:
            api.start()
            self._began_session = True
        self._before = (_engine.backend(), _engine.promotion(), _engine.condition_budget())
        self.apply()
        self.installed = True

    def apply(self) -> None:
        """Have the engine reach code this way, now and until told otherwise."""
        _engine.set_condition_budget(self.config.condition_budget_s)
        _engine.set_promotion(self.config.optimize)
        _engine.set_scoped_tracing(self.config.selective_tracing)
        _engine.set_backend(self.engine_backend)

    def shutdown(self) -> None:
        """Take everything out that came through this backend, and leave the engine as it was."""
        if not self.installed:
            return
        self.installed = False
        _engine.cancel_step()
        _engine.set_exception_breakpoints([], None)
        with self._turn:
            gone = [armed for of_file in self._armed.values() for armed in of_file]
            self._armed.clear()
            self._retire(gone)
            self._stops.callback = None
        backend, promotion, budget = self._before
        _engine.set_condition_budget(budget)
        _engine.set_backend(backend)
        _engine.set_promotion(promotion)
        _engine.set_scoped_tracing(True)
        if self._began_session:
            self._began_session = False
            api.stop()

    def take_over(self, other: FrameEvalBackend) -> None:
        """Go on with the breakpoints and the callback of a backend that this one replaces."""
        with self._turn, other._turn:
            self._armed, other._armed = other._armed, {}
            self._stops, other._stops = other._stops, _Stops()
            self._counts, other._counts = other._counts, dict.fromkeys(other._counts, 0)
            self._began_session, other._began_session = other._began_session, False
            self._before = other._before
            other.installed = False

    def set_trace_callback(self, callback: TraceCallback | None) -> None:
        """Set what is called at every stop; without it, hits are only counted."""
        self._stops.callback = callback

    def set_breakpoints(
        self,
        file: str | os.PathLike[str],
        lines: Iterable[int | LineBreakpoint | Mapping[str, Any]],
    ) -> list[Breakpoint]:
        """Give `file` these breakpoints in place of those it had through this backend."""
        self._require_installed()
        name = os.fspath(file)
        asked = [_line_breakpoint(line) for line in lines]
        added = [(line.line, self._terms(line), self._stops.on_hit) for line in asked]
        with self._turn:
            key = os.path.realpath(name)
            gone = self._armed.pop(key, [])
            self._count_gone(gone)
            handles = api.exchange_breakpoints(name, gone, added)
            if handles:
                self._armed[key] = handles
            self._counts["breakpoints_set"] += len(handles)
        return handles

    def clear_breakpoints(self) -> None:
        """Take out every breakpoint that was set through this backend."""
        with self._turn:
            for file in list(self._armed):
                self.set_breakpoints(file, ())

    def breakpoints(self) -> list[Breakpoint]:
        """Return the breakpoints that were set through this backend."""
        with self._turn:
            return [armed for of_file in self._armed.values() for armed in of_file]

    def step(
        self,
        mode: StepMode,
        frame: FrameType,
        *,
        skip: Callable[[CodeType], bool] | None = None,
        returns: bool = False,
        exceptions: bool = False,
    ) -> None:
        """Have the trace callback called when the step is done; to be asked for at a stop.

        `frame` is where the thread is stopped; `skip` tells code that is passed through. With
        `returns` and `exceptions` the step ends at these, too, before it comes to a line.
        """
        self._require_installed()
        deliver = self._stops.deliver
        _engine.step(frame, mode, deliver, skip=skip, returns=returns, exceptions=exceptions)

    def cancel_step(self) -> None:
        """Forget a step that is going on in this thread."""
        _engine.cancel_step()

    def set_exception_breakpoints(
        self,
        filters: Iterable[str],
        *,
        is_user: Callable[[CodeType], bool] | None = None,
    ) -> None:
        """Stop at exceptions: "raised", "uncaught" and "user_unhandled"; none of them: not at all.

        `is_user` tells which code is the user's own.
        """
        self._require_installed()
        wanted = [_exception_filter(name) for name in filters]
        deliver = self._stops.deliver_exception if wanted else None
        _engine.set_exception_breakpoints(wanted, deliver, is_user=is_user)

    def get_statistics(self) -> dict[str, int]:
        """Return how many breakpoints there were, became probes, and what that saved."""
        with self._turn:
            counts = dict(self._counts)
            for of_file in self._armed.values():
                for armed in of_file:
                    if armed.tier in _PROBE_TIERS:
                        counts["breakpoints_optimized"] += 1
                        counts["trace_calls_saved"] += _passes(armed)
        return counts

    def _retire(self, gone: list[Breakpoint]) -> None:
        self._count_gone(gone)
        by_file: dict[str, list[Breakpoint]] = {}
        for armed in gone:
            by_file.setdefault(armed.file, []).append(armed)
        for file, handles in by_file.items():
            api.exchange_breakpoints(file, handles, [])

    def _count_gone(self, gone: list[Breakpoint]) -> None:
        for armed in gone:
            if armed.tier in _PROBE_TIERS:
                self._counts["breakpoints_optimized"] += 1
                self._counts["trace_calls_saved"] += _passes(armed)

    def _terms(self, line: LineBreakpoint) -> dict[str, str | None]:
        if not self.config.conditional_breakpoints_enabled:
            return {}
        return {"condition": line.condition, "hit_condition": line.hit_condition}

    def _require_installed(self) -> None:
        if not self.installed:
            raise RuntimeError(f"{type(self).__name__} is not installed: call install() first")


def _line_breakpoint(asked: int | LineBreakpoint | Mapping[str, Any]) -> LineBreakpoint:
    if isinstance(asked, LineBreakpoint):
        return asked
    if isinstance(asked, int):
        return LineBreakpoint(asked)
    unknown = set(asked) - {"line", "condition", "hit_condition"}
    if unknown or "line" not in asked:
        raise ValueError(
            f"breakpoint {asked!r} needs a 'line' and may have a 'condition' "
            "and a 'hit_condition', no more"
        )
    return LineBreakpoint(asked["line"], asked.get("condition"), asked.get("hit_condition"))


def _passes(point: Breakpoint) -> int:
    """Count how often the line was passed, as far as that is known.

    In the line nobody counts the passes at which a condition is false.
    """
    if point.condition is None or point.evaluations is None:
        return point.hits + point.errors
    return point.evaluations


def _exception_filter(name: str) -> ExceptionFilter:
    plain = "".join(letter for letter in name.lower() if letter.isalpha())
    if plain not in _FILTERS:
        allowed = ", ".join(repr(filter_) for filter_ in _FILTERS.values())
        raise ValueError(f"exception filter {name!r} is not one of {allowed}")
    return _FILTERS[plain]
