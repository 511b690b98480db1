"""The options of frame evaluation: their defaults, their checks, and the forms they come in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard, get_args

from dapper import _engine

__all__ = ["FrameEvalConfig", "FrameEvalConfigError"]

Backend = Literal["auto", "tracing", "eval_frame"]
TracingKind = Literal["auto", "settrace", "sys_monitoring"]

# Options with two documented names: the second one is the one that counts.
_SYNONYMS = {"max_cache_size": "cache_size", "fallback_on_error": "fallback_to_tracing"}

# The option of a launch that turns frame evaluation on, by both names it is documented under.
_LAUNCH_SWITCHES = ("frameEval", "useFrameEval")


class FrameEvalConfigError(ValueError):
    """An option or its value is not one of the allowed ones; the message names it and them."""


def _enabled_by_default() -> bool:
    name = "DAPPER_USE_FRAME_EVAL"
    value = _engine.variable(name) or ""
    if value not in ("", "0", "1"):
        raise FrameEvalConfigError(f"{name} is {value!r}: it has to be 0 or 1")
    return value == "1"


@dataclass(frozen=True, kw_only=True)
class FrameEvalConfig:
    """What `FrameEvalManager.setup_frame_eval` is to do. Every option is checked when it is made.

    `max_cache_size` and `fallback_on_error` are other names of `cache_size` and
    `fallback_to_tracing`, and always have the same values as these.
    """

    enabled: bool = field(default_factory=_enabled_by_default)
    """Whether anything is set up; `DAPPER_USE_FRAME_EVAL=1` makes this true by default."""
    backend: Backend = "auto"
    """The family of backends."""
    tracing_backend: TracingKind = "auto"
    """The tracing backend, where one is used."""
    fallback_to_tracing: bool = True
    """Whether tracing is used where the eval-frame backend cannot be; else setup fails."""
    debug: bool = False
    """Whether every decision is logged, on the logger `dapper._frame_eval`."""
    cache_size: int = 1000
    """How many variants of loaded code are kept in memory; 0 keeps none."""
    cache_ttl: float | None = None
    """For how many seconds a variant is kept in memory; `None` is as long as there is room."""
    cache_enabled: bool = True
    """Whether variants are kept at all: in memory, and in the store on disk."""
    optimize: bool = True
    """Whether functions are given the variant for good; else it is swapped in at each entry."""
    timeout: float = 30.0
    """For how many seconds one change of the setup or of breakpoints waits for another."""
    conditional_breakpoints_enabled: bool = True
    """Whether conditions are evaluated before the debugger is called; else it is called always."""
    condition_budget_s: float = 0.1
    """How long one evaluation of a condition may take before it is told."""
    selective_tracing: bool = True
    """Whether frames that run already are traced until they leave; else later ones stop alone."""
    bytecode_optimization: bool = True
    """Whether bytecode may be rewritten; without it there are only the tracing backends."""
    performance_monitoring: bool = False
    """Whether the engine's own time is measured."""
    trace_overhead_threshold: float = 0.1
    """The share of the time that the engine may take before it is told, while measured."""
    max_cache_size: int | None = None
    fallback_on_error: bool | None = None

    def __post_init__(self) -> None:
        for name in ("enabled", "fallback_to_tracing", "debug", "cache_enabled", "optimize"):
            self._check_bool(name)
        for name in ("conditional_breakpoints_enabled", "selective_tracing"):
            self._check_bool(name)
        for name in ("bytecode_optimization", "performance_monitoring"):
            self._check_bool(name)
        self._check_choice("backend", get_args(Backend))
        self._check_choice("tracing_backend", get_args(TracingKind))
        self._check_number("timeout", "a number of seconds above 0")
        self._check_number("condition_budget_s", "a number of seconds above 0")
        self._check_number("trace_overhead_threshold", "a share of the time above 0, such as 0.05")
        if self.cache_ttl is not None:
            self._check_number("cache_ttl", "a number of seconds above 0, or None")
        self._settle_synonyms()
        self._check_size("cache_size")
        self._check_bool("fallback_to_tracing")
        self._check_sense()

    @classmethod
    def of(cls, options: FrameEvalConfig | Mapping[str, object] | None) -> FrameEvalConfig:
        """Make a configuration of a mapping of options; one that is made already is returned."""
        if isinstance(options, FrameEvalConfig):
            return options
        named: dict[str, Any] = {} if options is None else dict(options)
        known = [option.name for option in dataclasses.fields(cls)]
        for name in named:
            if name not in known:
                raise FrameEvalConfigError(
                    f"option {name!r} is not known: the options are {', '.join(sorted(known))}"
                )
        for synonym, name in _SYNONYMS.items():
            if synonym in named and name in named and named[synonym] != named[name]:
                raise FrameEvalConfigError(
                    f"options {synonym!r} and {name!r} are one option with two values, "
                    f"{named[synonym]!r} and {named[name]!r}: give one of them"
                )
        return cls(**named)

    @classmethod
    def from_launch(cls, launch: Mapping[str, object]) -> FrameEvalConfig:
        """Make a configuration of the `frameEval` and `frameEvalConfig` of a launch.

        Both are looked for in the launch configuration itself and in the `arguments` of a launch
        request; what else is in there is the launcher's.
        """
        arguments = launch.get("arguments", launch)
        if not _is_mapping(arguments):
            raise FrameEvalConfigError(
                f"option 'arguments' is {arguments!r}: it has to be an object"
            )
        options = arguments.get("frameEvalConfig", {})
        if not _is_mapping(options):
            raise FrameEvalConfigError(
                f"option 'frameEvalConfig' is {options!r}: it has to be an object of options"
            )
        named = dict(options)
        for switch in _LAUNCH_SWITCHES:
            if switch not in arguments:
                continue
            on = arguments[switch]
            if not isinstance(on, bool):
                raise FrameEvalConfigError(
                    f"option {switch!r} is {on!r}: it has to be true or false"
                )
            if named.setdefault("enabled", on) != on:
                raise FrameEvalConfigError(
                    f"options {switch!r} and 'enabled' contradict each other: give one of them"
                )
        return cls.of(named)

    def replace(self, **changes: object) -> FrameEvalConfig:
        """Make a configuration that differs in these options."""
        for synonym, name in _SYNONYMS.items():
            if name in changes or synonym in changes:
                changes.setdefault(synonym, changes.get(name))
                changes.setdefault(name, changes[synonym])
        return type(self).of(self.as_dict() | changes)

    def as_dict(self) -> dict[str, Any]:
        """Return every option with its value."""
        return dataclasses.asdict(self)

    def _settle_synonyms(self) -> None:
        for synonym, name in _SYNONYMS.items():
            value = getattr(self, synonym)
            if value is None:
                value = getattr(self, name)
            object.__setattr__(self, synonym, value)
            object.__setattr__(self, name, value)

    def _check_bool(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, bool):
            raise FrameEvalConfigError(f"option {name!r} is {value!r}: it has to be True or False")

    def _check_choice(self, name: str, allowed: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            listed = ", ".join(repr(choice) for choice in allowed)
            raise FrameEvalConfigError(
                f"option {name!r} is {value!r}: it has to be one of {listed}"
            )

    def _check_size(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise FrameEvalConfigError(
                f"option {name!r} is {value!r}: it has to be a whole number, 0 or above"
            )

    def _check_number(self, name: str, allowed: str) -> None:
        value = getattr(self, name)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or value <= 0:
            raise FrameEvalConfigError(f"option {name!r} is {value!r}: it has to be {allowed}")

    def _check_sense(self) -> None:
        if self.backend == "eval_frame" and not self.bytecode_optimization:
            raise FrameEvalConfigError(
                "option 'backend' is 'eval_frame', which rewrites bytecode, "
                "and 'bytecode_optimization' forbids that: change one of them"
            )
        if not self.selective_tracing and (
            self.backend == "tracing" or not self.bytecode_optimization
        ):
            raise FrameEvalConfigError(
                "option 'selective_tracing' is False, which forbids all tracing, and no other "
                "backend is asked for: change it, 'backend' or 'bytecode_optimization'"
            )


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
