"""Run a program with every line of its code watched by the engine, and no probe compiled in.

Usage: python watcher.py EVENTS BACKEND PROGRAM

EVENTS gets the engine's record of hits.
"""

import atexit
import os
import sys
from types import CodeType

from recorder import run_script, show  # type: ignore[import-not-found]

from dapper import _engine


def watch(code: CodeType, backend: str) -> None:
    """Watch every line of `code` and of the code inside it."""
    lines = sorted({line for _, _, line in code.co_lines() if line})
    wanted = [(line, _engine.add(code.co_filename, line, "count")) for line in lines]
    reason = _engine.watch_code(code, wanted, backend=backend)
    if reason is not None:
        sys.exit(f"not watched: {reason}")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            watch(constant, backend)


def main() -> None:
    """Watch and run what the command line names."""
    events, backend, program = sys.argv[1:]
    sys.argv = [program]
    sys.path[0] = os.path.dirname(os.path.abspath(program))  # noqa: PTH100, PTH120
    _engine.record_to(events)
    atexit.register(_engine.flush)
    show(lambda: run_script(program, lambda code: watch(code, backend)))


if __name__ == "__main__":
    main()
