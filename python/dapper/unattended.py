"""Breakpoints of a process that nobody attends, from the file that `DAPPER_BREAKPOINTS` names.

The file is followed while the program runs: what it asks for anew is armed, what is gone from it is
taken out. `DAPPER_LOG_TO` says where messages go, as `dapper run --log-to` does.
"""

import os
import sys

from dapper import _engine, hooks

__all__ = ["read", "watch"]


def read(path: str) -> None:
    """Ask for what the file asks for; nothing of the program is loaded yet."""
    target = _engine.variable("DAPPER_LOG_TO")
    if target:
        try:
            _engine.set_log_target(target)
        except OSError as error:
            sys.stderr.write(f"dapper: {error}; they go to standard error\n")
    _engine.follow_file(path)


def watch(path: str) -> None:
    """Have changes of the file armed while the program runs."""
    path = os.path.abspath(path)  # noqa: PTH100 - pathlib is too dear for every start

    def changed() -> None:
        concerned = _engine.follow_file(path)
        if _engine.is_idle():
            hooks.uninstall()
        else:
            hooks.install()
        _engine.bind(concerned)

    _engine.watch_file(path, changed)
