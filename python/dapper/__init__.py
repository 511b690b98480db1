"""Breakpoints compiled into Python programs.

A breakpoint is spliced into the bytecode of the one line that asked for it; nothing else in the
program slows down. `start` begins a session, `add_breakpoint` asks for a breakpoint in a file that
is loaded or not loaded yet, `stop` takes everything out again:

    import dapper

    dapper.start()
    dapper.add_breakpoint("app/models.py", 42, on_hit=lambda hit: print(hit.frame.f_locals))
    import app
"""

from dapper._engine import Breakpoint, Hit, __version__
from dapper.api import (
    Config,
    Status,
    add_breakpoint,
    add_function_breakpoint,
    breakpoints,
    clear_breakpoints,
    remove_breakpoint,
    start,
    status,
    stop,
)

__all__ = [
    "Breakpoint",
    "Config",
    "Hit",
    "Status",
    "__version__",
    "add_breakpoint",
    "add_function_breakpoint",
    "breakpoints",
    "clear_breakpoints",
    "remove_breakpoint",
    "start",
    "status",
    "stop",
]
