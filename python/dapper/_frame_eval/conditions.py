"""Conditions of breakpoints, evaluated in the frame that was hit, before the debugger is called."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from dapper._frame_eval.telemetry import record_reason

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Condition"]

_logger = logging.getLogger("dapper._frame_eval")


class Condition:
    """An expression that lets a hit through when it is true in the frame.

    One that fails lets the hit through as well, so that its error is seen; it is logged once. The
    budget is soft: an evaluation that takes longer ends, is counted, and is logged once.
    """

    __slots__ = ("_budget_s", "_code", "_told_budget", "_told_error", "text", "where")

    def __init__(self, text: str, where: str, budget_s: float) -> None:
        try:
            self._code = compile(text.strip(), f"<condition of {where}>", "eval")
        except SyntaxError as error:
            raise ValueError(f"condition {text!r} of {where} is no expression: {error}") from None
        self.text = text
        self.where = where
        self._budget_s = budget_s
        self._told_error = False
        self._told_budget = False

    def holds(self, frame: FrameType) -> bool:
        """Evaluate it in `frame`."""
        began = time.perf_counter()
        try:
            return bool(eval(self._code, frame.f_globals, frame.f_locals))  # noqa: S307
        except Exception as error:  # noqa: BLE001 - whatever the user's expression raises
            record_reason("condition_failed", f"{self.where}: {self.text}: {error!r}")
            if not self._told_error:
                self._told_error = True
                _logger.warning("condition %r of %s failed: %r", self.text, self.where, error)
            return True
        finally:
            self._check_budget(time.perf_counter() - began)

    def _check_budget(self, took: float) -> None:
        if took <= self._budget_s:
            return
        record_reason("condition_budget_exceeded", f"{self.where}: {self.text}: {took:.3f} s")
        if not self._told_budget:
            self._told_budget = True
            _logger.warning(
                "condition %r of %s took %.3f s, its budget is %.3f s",
                self.text,
                self.where,
                took,
                self._budget_s,
            )
