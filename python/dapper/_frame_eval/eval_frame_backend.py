"""The backend that compiles breakpoints into the code that asked for them."""

from __future__ import annotations

from typing import Literal

from dapper import _engine
from dapper._frame_eval.backend import FrameEvalBackend

__all__ = ["EvalFrameBackend"]


class EvalFrameBackend(FrameEvalBackend):
    """Probes: at import, in loaded functions, or swapped in by the hook when a frame is entered.

    The hook is in the interpreter only while a frame is left that nothing cheaper reaches.
    """

    @property
    def engine_backend(self) -> Literal["eval_frame"]:
        """The engine's word for it."""
        return "eval_frame"

    @property
    def hook_active(self) -> bool:
        """Whether the hook is in the interpreter at this moment."""
        return _engine.entry_hook_installed()
