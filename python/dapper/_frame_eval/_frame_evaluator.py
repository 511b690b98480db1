"""The low level: turn frame evaluation on and off, and look at the running thread."""

from __future__ import annotations

from dapper._engine import ThreadInfo
from dapper._engine import thread_info as get_thread_info
from dapper._frame_eval.frame_eval_main import frame_eval_manager

__all__ = ["ThreadInfo", "frame_eval_func", "get_thread_info", "stop_frame_eval"]


def frame_eval_func() -> bool:
    """Turn frame evaluation on, with the options that were set up last; tell whether it is on."""
    return frame_eval_manager.setup_frame_eval(frame_eval_manager.config.replace(enabled=True))


def stop_frame_eval() -> None:
    """Turn frame evaluation off, and take everything out."""
    frame_eval_manager.shutdown_frame_eval()
