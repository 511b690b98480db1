"""Where frame evaluation is turned on and off: configuration in, the best possible backend out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dapper._frame_eval.compatibility_policy import FrameEvalCompatibilityPolicy
from dapper._frame_eval.config import FrameEvalConfig, FrameEvalConfigError
from dapper._frame_eval.eval_frame_backend import EvalFrameBackend
from dapper._frame_eval.runtime import FrameEvalRuntime
from dapper._frame_eval.telemetry import get_frame_eval_telemetry, record_reason
from dapper._frame_eval.tracing_backend import TracingBackend, best_tracing_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dapper._frame_eval.backend import FrameEvalBackend
    from dapper._frame_eval.tracing_backend import TracingKind

__all__ = [
    "FrameEvalConfig",
    "FrameEvalConfigError",
    "FrameEvalManager",
    "FrameEvalUnavailableError",
    "frame_eval_manager",
]

_logger = logging.getLogger("dapper._frame_eval")


class FrameEvalUnavailableError(RuntimeError):
    """What was asked for cannot be had here, and nothing else may be taken instead."""


class FrameEvalManager:
    """Checks a configuration, asks the policy, and puts the backend it chooses in charge."""

    def __init__(self) -> None:
        self.policy = FrameEvalCompatibilityPolicy()
        self.runtime = FrameEvalRuntime()
        self._told: str | None = None

    @property
    def config(self) -> FrameEvalConfig:
        """The configuration that was set up last."""
        return self.runtime.config

    @property
    def backend(self) -> FrameEvalBackend | None:
        """The backend in charge."""
        return self.runtime.backend

    @property
    def is_active(self) -> bool:
        """Whether a backend is in charge."""
        return self.backend is not None

    def setup_frame_eval(
        self,
        config: FrameEvalConfig | Mapping[str, object] | None = None,
        *,
        debuggers: Iterable[object] = (),
    ) -> bool:
        """Set up what `config` says, and tell whether a backend is in charge now.

        Without a configuration, the defaults count. One that is not `enabled` takes out what is
        set up. What cannot be had as asked is replaced by tracing, or refused with
        `FrameEvalUnavailableError` when `fallback_to_tracing` is off. Breakpoints that were set
        through the former backend stay.
        `debuggers` are those that are to use the backend: that they trace is no conflict.
        """
        wanted = FrameEvalConfig.of(config)
        with self.runtime.turn(wanted.timeout):
            if not wanted.enabled:
                self.shutdown_frame_eval()
                self.runtime.configure(wanted)
                return False
            if self.is_active and wanted == self.config:
                return True
            known = list(debuggers)
            self.runtime.know_debuggers(known)
            return self._set_up(wanted, known)

    def shutdown_frame_eval(self) -> None:
        """Take everything out: hooks, breakpoints, tracing and the options that were set."""
        with self.runtime.turn(self.config.timeout):
            if self.is_active:
                _logger.debug("shutting down %s", type(self.backend).__name__)
            self.runtime.shutdown()

    shutdown = shutdown_frame_eval

    def get_debug_info(self) -> dict[str, object]:
        """Tell everything that is known: for people and for reports of problems."""
        eligibility = self.policy.can_use_eval_frame()
        return {
            "runtime_status": self.runtime.get_status(),
            "runtime_stats": self.runtime.get_stats(),
            "config": self.config.as_dict(),
            "eval_frame_eligible": eligibility.eligible,
            "eval_frame_reason": eligibility.reason,
            "telemetry": get_frame_eval_telemetry(),
        }

    def _set_up(self, config: FrameEvalConfig, debuggers: list[object]) -> bool:
        reason = None
        if config.backend != "tracing" and config.bytecode_optimization:
            reason = self._refusal(debuggers)
            if reason is None:
                reason = self._try(config, EvalFrameBackend(config), None)
            if reason is None:
                self._told = None
                return True
            reason = f"the eval-frame backend cannot be used: {reason}"
            self._require_fallback(config, reason)
        fallback_reason = reason
        for kind in _tracing_kinds(config):
            eligibility = self.policy.can_use_tracing(kind, debuggers)
            refused = eligibility.reason
            if refused is None:
                refused = self._try(config, TracingBackend(config, kind), fallback_reason)
            if refused is None:
                if fallback_reason is None:
                    self._told = None
                else:
                    self._fall_back(fallback_reason, kind)
                return True
            reason = f"tracing by {kind} cannot be used: {refused}"
            fallback_reason = reason if fallback_reason is None else f"{fallback_reason}; {reason}"
            if not config.fallback_to_tracing:
                raise FrameEvalUnavailableError(reason)
        self.runtime.shutdown()
        self.runtime.configure(config.replace(enabled=False))
        self._tell(f"nothing is set up: {fallback_reason}")
        return False

    def _refusal(self, debuggers: list[object]) -> str | None:
        eligibility = self.policy.can_use_eval_frame(debuggers)
        if eligibility.reason_code is not None:
            record_reason(eligibility.reason_code, eligibility.reason or "")
        return eligibility.reason

    def _try(
        self, config: FrameEvalConfig, backend: FrameEvalBackend, fallback_reason: str | None
    ) -> str | None:
        try:
            self.runtime.initialize(config, backend, fallback_reason)
        except (RuntimeError, OSError, ValueError) as error:
            reason = f"{type(backend).__name__} could not be installed: {error}"
            record_reason("backend_install_failed", reason)
            return reason
        _logger.debug("set up %s", type(backend).__name__)
        return None

    def _require_fallback(self, config: FrameEvalConfig, reason: str) -> None:
        if not config.fallback_to_tracing:
            raise FrameEvalUnavailableError(f"{reason} ('fallback_to_tracing' is off)")
        if not config.selective_tracing:
            raise FrameEvalUnavailableError(f"{reason} ('selective_tracing' is off)")

    def _fall_back(self, reason: str, kind: TracingKind) -> None:
        record_reason("fallback_to_tracing", reason)
        self._tell(f"falling back to tracing by {kind}: {reason}")

    def _tell(self, reason: str) -> None:
        """Log a reason, unless it is the one that was logged last."""
        if reason != self._told:
            self._told = reason
            _logger.warning("%s", reason)


def _tracing_kinds(config: FrameEvalConfig) -> list[TracingKind]:
    """List the tracing backends to try, the wanted one first."""
    if config.tracing_backend == "auto":
        best = best_tracing_kind()
        return [best] if best == "settrace" else [best, "settrace"]
    if config.tracing_backend == "sys_monitoring":
        return ["sys_monitoring", "settrace"]
    return ["settrace"] if best_tracing_kind() == "settrace" else ["settrace", "sys_monitoring"]


frame_eval_manager = FrameEvalManager()
