"""Whether this interpreter, as it is now, can hold a backend: tests of what it can do.

What runs the process (an editor, a test runner, a measuring tool) is no reason. A reason is what
would go wrong: an interpreter that the engine does not know, or another debugger that is tracing.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from dapper import _engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dapper._engine import _ReasonCode as ReasonCode

__all__ = ["Eligibility", "FrameEvalCompatibilityPolicy"]

# Packages whose trace functions watch without taking the program over.
_MEASURING = frozenset({"coverage", "trace"})

# What bdb calls its tool where it uses sys.monitoring.
_BDB_TOOL = "bdbtracer"


class Eligibility(NamedTuple):
    """A verdict, true or false in itself, with the reason of a refusal."""

    eligible: bool
    reason: str | None = None
    reason_code: ReasonCode | None = None

    def __bool__(self) -> bool:
        return self.eligible


_ELIGIBLE = Eligibility(eligible=True)


class FrameEvalCompatibilityPolicy:
    """Decides which backends the running interpreter can hold."""

    def can_use_eval_frame(self, debuggers: Iterable[object] = ()) -> Eligibility:
        """Tell whether the eval-frame backend can be used, and if not, why.

        `debuggers` are those that use this very backend: that they trace is no conflict.
        """
        refusal = _engine.unsupported() or _engine.eval_frame_refusal()
        if refusal is not None:
            return Eligibility(eligible=False, reason=refusal, reason_code="eval_frame_unavailable")
        if _is_turned_off():
            return Eligibility(
                eligible=False,
                reason="DAPPER_EXPERIMENTAL_FRAME_EVAL_311=0 turns it off on CPython 3.11",
                reason_code="policy_disabled",
            )
        return self.find_conflict(debuggers)

    def can_use_tracing(self, kind: str, debuggers: Iterable[object] = ()) -> Eligibility:
        """Tell whether the tracing backend `kind` ("settrace" or "sys_monitoring") can be used."""
        if kind == "sys_monitoring":
            if hasattr(sys, "monitoring"):
                return _ELIGIBLE
            return Eligibility(
                eligible=False,
                reason="sys.monitoring needs CPython 3.12 or newer",
                reason_code="backend_install_failed",
            )
        tracer = _foreign_tracer(list(debuggers), measuring=True)
        if tracer is None:
            return _ELIGIBLE
        return Eligibility(
            eligible=False,
            reason=f"the trace function is taken by {tracer}",
            reason_code="debugger_conflict",
        )

    def find_conflict(self, debuggers: Iterable[object] = ()) -> Eligibility:
        """Tell whether another debugger is tracing now; its own `debuggers` are none."""
        known = list(debuggers)
        tracer = _foreign_tracer(known, measuring=False)
        if tracer is not None:
            return Eligibility(
                eligible=False,
                reason=f"another debugger is tracing: {tracer}",
                reason_code="debugger_conflict",
            )
        tool = _foreign_tool(known)
        if tool is not None:
            return Eligibility(
                eligible=False,
                reason=f"another debugger holds the DEBUGGER_ID of sys.monitoring: {tool}",
                reason_code="debugger_conflict",
            )
        return _ELIGIBLE


def _is_turned_off() -> bool:
    # CPython 3.11 is the one supported version without sys.monitoring.
    off = _engine.variable("DAPPER_EXPERIMENTAL_FRAME_EVAL_311") == "0"
    return off and not hasattr(sys, "monitoring")


def _foreign_tracer(debuggers: list[object], *, measuring: bool) -> str | None:
    """Name whoever set the trace function of this thread or of new ones, if that is not us."""
    for trace in (sys.gettrace(), threading.gettrace()):
        if trace is None:
            continue
        owner = getattr(trace, "__self__", None) or trace
        if any(owner is debugger for debugger in debuggers):
            continue
        module = owner.__module__ if owner is trace else type(owner).__module__
        package = (module or type(owner).__module__).partition(".")[0]
        if package == "dapper" or (package in _MEASURING and not measuring):
            continue
        name = getattr(trace, "__qualname__", None) or type(trace).__qualname__
        return f"{module}.{name}"
    return None


def _foreign_tool(debuggers: list[object]) -> str | None:
    """Name the tool that holds the debugger's id of sys.monitoring, if that is not us."""
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is None:
        return None
    tool: str | None = monitoring.get_tool(monitoring.DEBUGGER_ID)
    if tool is None or tool.startswith("dapper"):
        return None
    if tool == _BDB_TOOL and any(
        getattr(debugger, "backend", None) == "monitoring" for debugger in debuggers
    ):
        return None
    return tool
