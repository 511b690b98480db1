"""Why things went another way than asked for: counted by reason, with a log of the last ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from dapper import _engine
from dapper._frame_eval.figures import Figures

if TYPE_CHECKING:
    from dapper._engine import _ReasonCode as ReasonCode

__all__ = [
    "FrameEvalTelemetry",
    "TelemetryEvent",
    "get_frame_eval_telemetry",
    "record_reason",
    "reset_frame_eval_telemetry",
]

_logger = logging.getLogger("dapper._frame_eval")

# The reasons that are errors which were survived, not decisions.
_ERRORS = (
    "backend_install_failed",
    "bytecode_injection_failed",
    "callback_failed",
    "condition_failed",
    "integration_failed",
    "store_unavailable",
)


class TelemetryEvent(NamedTuple):
    """One occurrence of a reason: when (seconds since the epoch), which, and what was said."""

    time: float
    reason_code: str
    detail: str


class FrameEvalTelemetry(NamedTuple):
    """What happened since the last reset.

    `reason_counts` holds every reason code, as attribute and as key; `recent_events` holds the
    last occurrences, oldest first.
    """

    reason_counts: Figures
    recent_events: tuple[TelemetryEvent, ...]

    @property
    def errors(self) -> int:
        """How many of the occurrences were errors that were survived."""
        return sum(self.reason_counts[code] for code in _ERRORS)


def get_frame_eval_telemetry() -> FrameEvalTelemetry:
    """Take a snapshot of the telemetry of this process."""
    return FrameEvalTelemetry(
        Figures(_engine.reason_counts()),
        tuple(TelemetryEvent(*event) for event in _engine.reason_log()),
    )


def reset_frame_eval_telemetry() -> None:
    """Count from nothing again, and empty the log of events."""
    _engine.reset_reasons()


def record_reason(code: ReasonCode, detail: str) -> None:
    """Count one occurrence of a reason, and log it for those who debug the debugger."""
    _engine.record_reason(code, detail)
    _logger.debug("%s: %s", code, detail)
