"""Run a program and step into everything that its first thread does, from its first line on.

Usage: python stepper.py EVENTS PROGRAM

EVENTS gets one line for each stop: qualified name and line number.
"""

import os
import sys
from types import CodeType, FrameType

from recorder import run_script, show  # type: ignore[import-not-found]

from dapper import _engine


def main() -> None:
    """Step through what the command line names."""
    events, program = sys.argv[1:]
    sys.argv = [program]
    sys.path[0] = os.path.dirname(os.path.abspath(program))  # noqa: PTH100, PTH120
    descriptor = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    write = os.write

    def skip(code: CodeType) -> bool:
        return code.co_filename != program

    def on_stop(frame: FrameType, _event: str, _argument: object) -> None:
        write(descriptor, f"{frame.f_code.co_qualname}\t{frame.f_lineno}\n".encode())
        _engine.step(frame, "into", on_stop, skip=skip)

    def on_hit(hit: _engine.Hit) -> None:
        _engine.unwatch_all()
        on_stop(hit.frame, "line", None)

    def prepare(code: CodeType) -> None:
        lines = sorted({line for _, _, line in code.co_lines() if line})
        wanted = [(line, _engine.add(program, line, "stop", None, on_hit)) for line in lines]
        reason = _engine.watch_code(code, wanted)
        if reason is not None:
            sys.exit(f"not watched: {reason}")

    show(lambda: run_script(program, prepare))


if __name__ == "__main__":
    main()
