"""What is set up in this process, and what it has done since: status and figures.

There is one engine in a process, so there is one runtime; every `FrameEvalRuntime` shows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dapper import _engine
from dapper._frame_eval.backend import FrameEvalBackend
from dapper._frame_eval.compatibility_policy import FrameEvalCompatibilityPolicy
from dapper._frame_eval.config import FrameEvalConfig
from dapper._frame_eval.eval_frame_backend import EvalFrameBackend
from dapper._frame_eval.figures import Figures
from dapper._frame_eval.telemetry import record_reason
from dapper._frame_eval.tracing_backend import TracingBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


__all__ = ["FrameEvalRuntime", "FrameEvalStats", "FrameEvalStatus"]

_logger = logging.getLogger("dapper._frame_eval")


@dataclass(frozen=True)
class FrameEvalStatus:
    """What is set up now.

    `backend_type` is the name of the backend's class, `tracing_backend` which of the tracing
    backends it is. `hook_installed` tells that the eval-frame backend is installed: its hook goes
    into the interpreter whenever a frame is left to be met. `hook_active` tells whether it is in
    there at this moment. `conflict` names another debugger that traces beside the backend.
    """

    enabled: bool
    backend_type: str | None
    tracing_backend: str | None
    hook_installed: bool
    hook_active: bool
    fallback_reason: str | None
    conflict: str | None


@dataclass(frozen=True)
class FrameEvalStats:
    """What was done since the figures were last reset.

    `hook_stats` counts frames and events, `backend_stats` breakpoints, `cache_stats` the variants
    that are kept in memory. `performance_data` is empty unless `performance_monitoring` is on.
    """

    hook_stats: Figures
    backend_stats: Figures
    cache_stats: Figures
    performance_data: dict[str, float]


class _Process:
    """The one runtime of this process."""

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self.config = FrameEvalConfig(enabled=False)
        self.backend: FrameEvalBackend | None = None
        self.fallback_reason: str | None = None
        self.began = 0.0
        self.told_overhead = False
        self.former_level: int | None = None
        self.debuggers: list[object] = []
        self.conflict: str | None = None
        # The figures of backends that were shut down, less those that were reset.
        self.former: Counter[str] = Counter()
        self.at_shutdown: list[Callable[[], None]] = []


_process = _Process()


class FrameEvalRuntime:
    """Puts a backend in charge, takes it out again, and reports on it."""

    @property
    def config(self) -> FrameEvalConfig:
        """The configuration that was set up last."""
        return _process.config

    @property
    def backend(self) -> FrameEvalBackend | None:
        """The backend in charge."""
        return _process.backend

    @contextmanager
    def turn(self, timeout: float) -> Iterator[None]:
        """Keep every other change of the setup out; wait `timeout` seconds for one to end."""
        if not _process.turn.acquire(timeout=timeout):
            raise TimeoutError(
                f"another setup or shutdown of frame evaluation took more than {timeout} s: "
                "raise the option 'timeout', or wait for it"
            )
        try:
            yield
        finally:
            _process.turn.release()

    def configure(self, config: FrameEvalConfig) -> None:
        """Remember a configuration; nothing is installed by this."""
        _process.config = config

    def initialize(
        self,
        config: FrameEvalConfig,
        backend: FrameEvalBackend,
        fallback_reason: str | None = None,
    ) -> None:
        """Install `backend` and put it in charge, in place of the one that was."""
        former = _process.backend
        if former is None:
            self._begin(config)
        try:
            backend.install()
        finally:
            if not backend.installed and former is None:
                self._end()
            elif not backend.installed and former is not None:
                former.apply()
        if former is not None:
            backend.take_over(former)
            self._end()
            self._begin(config)
        _process.backend = backend
        _process.config = config
        _process.fallback_reason = fallback_reason

    def shutdown(self) -> None:
        """Take the backend out and leave everything as it was before; its figures stay."""
        backend = _process.backend
        if backend is None:
            return
        self._check_overhead()
        try:
            for leave in _process.at_shutdown:
                leave()
            backend.shutdown()
            _process.former.update(backend.get_statistics())
        finally:
            self._end()
            _process.backend = None
            _process.fallback_reason = None
            _process.conflict = None
            _process.debuggers.clear()
            _process.at_shutdown.clear()
            _process.config = _process.config.replace(enabled=False)

    def at_shutdown(self, leave: Callable[[], None]) -> None:
        """Have `leave` called, once, before the backend is taken out."""
        if leave not in _process.at_shutdown:
            _process.at_shutdown.append(leave)

    def know_debuggers(self, debuggers: Sequence[object]) -> None:
        """Name the debuggers that use the backend: that they trace is no conflict."""
        _process.debuggers[:] = debuggers

    def find_conflict(self) -> str | None:
        """Name another debugger that began to trace beside the backend; it is told once."""
        if _process.backend is None:
            return None
        conflict = FrameEvalCompatibilityPolicy().find_conflict(_process.debuggers).reason
        if conflict is not None and conflict != _process.conflict:
            record_reason("debugger_took_over", conflict)
            _logger.warning("%s: stops and steps of both may meet", conflict)
        _process.conflict = conflict
        return conflict

    def get_status(self) -> FrameEvalStatus:
        """Tell what is set up now."""
        backend = _process.backend
        return FrameEvalStatus(
            enabled=backend is not None,
            backend_type=None if backend is None else type(backend).__name__,
            tracing_backend=backend.kind if isinstance(backend, TracingBackend) else None,
            hook_installed=isinstance(backend, EvalFrameBackend) and backend.installed,
            hook_active=_engine.entry_hook_installed(),
            fallback_reason=_process.fallback_reason,
            conflict=self.find_conflict(),
        )

    def get_stats(self) -> FrameEvalStats:
        """Tell what was done."""
        self._check_overhead()
        return FrameEvalStats(
            hook_stats=Figures(_hook_stats()),
            backend_stats=Figures(self._backend_stats()),
            cache_stats=Figures(_engine.memo_counts()),
            performance_data=self._performance(),
        )

    def reset_stats(self) -> None:
        """Count from nothing again."""
        _engine.reset_counters()
        _process.former.clear()
        if _process.backend is not None:
            _process.former.subtract(_process.backend.get_statistics())
        if _process.config.performance_monitoring and _process.backend is not None:
            _engine.set_metering(True)
            _process.began = time.perf_counter()

    def _backend_stats(self) -> dict[str, int]:
        counts = Counter(dict.fromkeys(FrameEvalBackend.FIGURES, 0))
        counts.update(_process.former)
        if _process.backend is not None:
            counts.update(_process.backend.get_statistics())
        return dict(counts)

    def _begin(self, config: FrameEvalConfig) -> None:
        if config.debug:
            _process.former_level = _logger.level
            _logger.setLevel(logging.DEBUG)
        kept = config.cache_size if config.cache_enabled else 0
        _engine.set_memo(kept, config.cache_ttl)
        _engine.set_store(config.cache_enabled)
        _engine.set_metering(config.performance_monitoring)
        _process.told_overhead = False
        _process.began = time.perf_counter()

    def _end(self) -> None:
        if _process.former_level is not None:
            _logger.setLevel(_process.former_level)
            _process.former_level = None
        _engine.set_memo()
        _engine.set_store(True)
        _engine.set_metering(False)

    def _performance(self) -> dict[str, float]:
        if not _process.config.performance_monitoring or _process.backend is None:
            return {}
        metered = _engine.metered()
        counters = _engine.counters()
        elapsed = max(time.perf_counter() - _process.began, 1e-9)
        seconds = {activity: spent / 1e9 for activity, (_, spent) in metered.items()}
        return {
            "trace_function_calls": counters["trace_events"],
            "frame_eval_calls": counters["frames_inspected"],
            "hits": metered["hit"][0],
            "hit_seconds": seconds["hit"],
            "callback_seconds": seconds["callback"],
            "arming_seconds": seconds["arming"],
            "elapsed_seconds": elapsed,
            "overhead": _engine.overhead(),
        }

    def _check_overhead(self) -> None:
        overhead = self._performance().get("overhead", 0.0)
        threshold = _process.config.trace_overhead_threshold
        if overhead > threshold and not _process.told_overhead:
            _process.told_overhead = True
            said = f"{overhead:.1%} of the time since setup, the threshold is {threshold:.1%}"
            record_reason("trace_overhead_exceeded", said)
            _logger.warning("hits took %s", said)


def _hook_stats() -> dict[str, int]:
    counters = _engine.counters()
    documented = {
        "slow_path_attempts": counters["frames_inspected"],
        "slow_path_activations": counters["frames_swapped"] + counters["frames_promoted"],
        "scoped_trace_installs": counters["watches_installed"],
        "return_events": counters["return_events"],
        "exception_events": counters["exception_events"],
    }
    return documented | counters
