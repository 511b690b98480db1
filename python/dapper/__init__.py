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
    add_breakpoints,
    add_function_breakpoint,
    breakpoints,
    clear_breakpoints,
    remove_breakpoint,
    start,
    status,
    stop,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dapper.debug import (
        breakpoint as breakpoint,  # noqa: A004 - the name is debugpy's
    )
    from dapper.debug import (
        configure,
        connect,
        debug_this_thread,
        is_client_connected,
        listen,
        log_to,
        trace_this_thread,
        wait_for_client,
    )

# `breakpoint` is left out: a star import must not take the builtin one away.
__all__ = [
    "Breakpoint",
    "Config",
    "Hit",
    "Status",
    "__version__",
    "add_breakpoint",
    "add_breakpoints",
    "add_function_breakpoint",
    "breakpoints",
    "clear_breakpoints",
    "configure",
    "connect",
    "debug_this_thread",
    "is_client_connected",
    "listen",
    "log_to",
    "remove_breakpoint",
    "start",
    "status",
    "stop",
    "trace_this_thread",
    "wait_for_client",
]

_DEBUG = frozenset(
    (
        "breakpoint",
        "configure",
        "connect",
        "debug_this_thread",
        "is_client_connected",
        "listen",
        "log_to",
        "trace_this_thread",
        "wait_for_client",
    )
)


def __getattr__(name: str) -> object:
    if name in _DEBUG:
        from dapper import debug  # noqa: PLC0415 - only a process that is debugged pays for it

        return getattr(debug, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
