"""The backends that change no code: they watch the lines of the original."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from dapper._frame_eval.backend import FrameEvalBackend

if TYPE_CHECKING:
    from dapper._frame_eval.config import FrameEvalConfig

__all__ = ["TracingBackend", "best_tracing_kind"]

TracingKind = Literal["settrace", "sys_monitoring"]


def best_tracing_kind() -> TracingKind:
    """Name the cheaper one of the tracing backends that this interpreter has."""
    return "sys_monitoring" if hasattr(sys, "monitoring") else "settrace"


class TracingBackend(FrameEvalBackend):
    """Line events of code objects with breakpoints, by `sys.settrace` or `sys.monitoring`."""

    def __init__(self, config: FrameEvalConfig, kind: TracingKind) -> None:
        super().__init__(config)
        self.kind: TracingKind = kind

    @property
    def engine_backend(self) -> TracingKind:
        """The engine's word for it."""
        return self.kind
