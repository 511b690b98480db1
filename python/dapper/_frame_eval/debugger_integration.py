"""Speeds up debuggers that are built on `bdb`, and tells what that was good for."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, TypedDict

from dapper import _engine
from dapper._frame_eval.frame_eval_main import frame_eval_manager
from dapper._frame_eval.runtime import FrameEvalRuntime
from dapper._frame_eval.telemetry import get_frame_eval_telemetry, record_reason

if TYPE_CHECKING:
    from bdb import Bdb
    from collections.abc import Mapping
    from typing import Any

    from dapper._frame_eval.config import FrameEvalConfig
    from dapper.bdb_integration import Integration

__all__ = ["DebuggerFrameEvalBridge", "IntegrationStatistics", "get_integration_statistics"]

_logger = logging.getLogger("dapper._frame_eval")

# What an integration and a backend both count.
_SHARED_COUNTS = ("breakpoints_optimized", "trace_calls_saved")


class IntegrationStatistics(TypedDict):
    """The sections of the statistics."""

    config: dict[str, Any]
    integration_stats: dict[str, int]
    performance_data: dict[str, float]
    trace_stats: dict[str, float]


class _Integrations:
    """The debuggers that are integrated now, and the figures of those that were."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._live: dict[int, tuple[Bdb, Integration]] = {}
        self._former: Counter[str] = Counter()
        self._total = 0

    def debuggers(self) -> list[Bdb]:
        with self._turn:
            return [debugger for debugger, _ in self._live.values()]

    def holds(self, debugger: object) -> bool:
        with self._turn:
            return id(debugger) in self._live

    def add(self, debugger: Bdb, integration: Integration) -> None:
        with self._turn:
            self._live[id(debugger)] = (debugger, integration)
            self._total += 1

    def release(self, debugger: object) -> bool:
        with self._turn:
            held = self._live.pop(id(debugger), None)
        if held is None:
            return False
        integration = held[1]
        # A released integration has no breakpoints left to count.
        counts = _counts_of(integration)
        integration.release()
        with self._turn:
            self._former.update(counts)
        return True

    def release_all(self) -> None:
        for debugger in self.debuggers():
            self.release(debugger)

    def statistics(self) -> Counter[str]:
        with self._turn:
            counts = Counter(self._former)
            for _, integration in self._live.values():
                counts.update(_counts_of(integration))
            counts["integrations_enabled"] = len(self._live)
            counts["integrations_total"] = self._total
        return counts


_integrations = _Integrations()


class DebuggerFrameEvalBridge:
    """Lends the engine to debuggers: breakpoints become probes, commands stay what they are."""

    def __init__(self, config: FrameEvalConfig | Mapping[str, object] | None = None) -> None:
        self.manager = frame_eval_manager
        self._config = config

    def auto_integrate_debugger(self, debugger: Bdb) -> bool:
        """Speed up `debugger`, and tell whether that worked.

        Frame evaluation is turned on if it is off. A debugger that cannot be integrated goes on
        as it was: the reason is logged and counted as `integration_failed`.
        """
        try:
            self.integrate_debugger(debugger)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(debugger).__qualname__} is not integrated: {error}"
            record_reason("integration_failed", reason)
            _logger.warning("%s", reason)
            return False
        return True

    def integrate_debugger(self, debugger: Bdb) -> None:
        """Speed up `debugger`; raise what is in the way."""
        # These load bdb, which a program without a debugger does not need.
        import bdb  # noqa: PLC0415

        from dapper import bdb_integration  # noqa: PLC0415

        if not isinstance(debugger, bdb.Bdb):
            raise TypeError(f"{type(debugger).__qualname__} is not built on bdb.Bdb")
        if _integrations.holds(debugger):
            return
        wanted = self.manager.config if self._config is None else self._config
        options = type(self.manager.config).of(wanted).replace(enabled=True)
        self.manager.setup_frame_eval(options, debuggers=[debugger, *_integrations.debuggers()])
        if not self.manager.is_active:
            raise RuntimeError("frame evaluation could not be set up")
        integration = bdb_integration.integrate(debugger)
        if integration.reason is not None:
            integration.release()
            raise RuntimeError(integration.reason)
        _integrations.add(debugger, integration)
        self.manager.runtime.at_shutdown(_integrations.release_all)

    def remove_integration(self, debugger: Bdb) -> bool:
        """Give `debugger` back as it was; tell whether it was integrated."""
        return _integrations.release(debugger)

    def shutdown(self) -> None:
        """Give all debuggers back as they were, and turn frame evaluation off."""
        self.manager.shutdown_frame_eval()

    def get_integration_statistics(self) -> IntegrationStatistics:
        """Tell what `get_integration_statistics` tells."""
        return get_integration_statistics()


def get_integration_statistics() -> IntegrationStatistics:
    """Tell what is set up, what was done for debuggers, and what it cost.

    `performance_data` is empty unless `performance_monitoring` is on.
    """
    runtime = FrameEvalRuntime()
    stats = runtime.get_stats()
    integrations = _integrations.statistics()
    for name in _SHARED_COUNTS:
        integrations[name] += stats.backend_stats.get(name) or 0
    integrations["errors_handled"] += get_frame_eval_telemetry().errors
    names = ("integrations_enabled", "integrations_total", *_SHARED_COUNTS, "errors_handled")
    return {
        "config": runtime.config.as_dict() | {"enabled": runtime.backend is not None},
        "integration_stats": {name: integrations[name] for name in (*names, "stops")},
        "performance_data": stats.performance_data,
        "trace_stats": _trace_stats(),
    }


def _counts_of(integration: Integration) -> Counter[str]:
    return Counter({name: count for name, count in integration.statistics().items() if count})


def _trace_stats() -> dict[str, float]:
    counters = _engine.counters()
    inspected = counters["frames_inspected"]
    touched = counters["frames_swapped"] + counters["frames_promoted"]
    return {
        "frames_inspected": inspected,
        "fast_path_hits": inspected - touched,
        "frames_watched": counters["frames_watched"],
        "trace_events": counters["trace_events"],
        "trace_rate": touched / inspected if inspected else 0.0,
        "cache_hits": _engine.memo_counts()["hits"],
    }
