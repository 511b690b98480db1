"""Conditions of a debugger's breakpoints, compiled once.

A condition is the user's, evaluated at a hit: what it raises is shown at the prompt, as `bdb` does,
and never reaches the program.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dapper import _engine

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["holds"]


def holds(condition: str, frame: FrameType) -> bool | None:
    """Tell whether a condition holds in a frame; `None` when it failed."""
    # What it calls passes no breakpoint, as under a trace function.
    owner = _engine.own_thread(0)
    try:
        return bool(eval(_compiled(condition), frame.f_globals, frame.f_locals))  # noqa: S307 - what a condition is
    except BaseException:  # noqa: BLE001 - as bdb does
        return None
    finally:
        _engine.own_thread(owner)


@lru_cache(maxsize=256)
def _compiled(condition: str) -> CodeType:
    # As `eval` reads a string.
    return compile(condition.lstrip(" \t"), "<string>", "eval", dont_inherit=True)
