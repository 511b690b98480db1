"""Run one program many ways, each in a child forked from here, so that starting costs little.

Usage: python rerun.py ORDER

ORDER is a JSON file: a list of objects, each with the keys of `Way`. A child leaves three files
behind whose names begin with `out`: `.stdout`, `.stderr` and `.events`, and this process prints
the exit status of each child on a line of its own.

The code of the program is held by a function object, as that of a loaded module is held by the
functions in it: a breakpoint set before the call finds all of it loaded, the module body included.
A program may call `mark()`; the calls are counted, and a breakpoint may be set at any of them.
"""

import builtins
import json
import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import TypedDict

import recorder  # type: ignore[import-not-found]

from dapper import _engine


class Way(TypedDict):
    """How to run the program."""

    program: str
    out: str
    # "plain", "recorded", "loaded" (see above) or "executed" (a probe comes in with `exec`).
    how: str
    backend: str
    promotion: bool
    # The call of `mark()` that arms every line, or 0 for the start; the one that disarms, or 0.
    armed_at: int
    disarmed_at: int
    # Whether another thread arms and disarms.
    elsewhere: bool


def arm(way: Way) -> None:
    """Ask for a probe on every line."""
    _engine.set_every_line([way["program"]])
    _engine.bind([way["program"]])


def disarm(_way: Way) -> None:
    """Give all code back."""
    _engine.set_every_line([])
    _engine.restore()
    if _engine.entry_hook_installed():
        raise RuntimeError("the eval-frame hook is still there")


def carry_out(way: Way, change: Callable[[Way], None]) -> None:
    """Arm or disarm, here or elsewhere."""
    if not way["elsewhere"]:
        change(way)
        return
    thread = threading.Thread(target=change, args=(way,))
    thread.start()
    thread.join()


def prepare(way: Way) -> None:
    """Start the recording of events, and have `mark` do what is asked."""
    calls = 0
    descriptor = -1

    def mark() -> None:
        nonlocal calls
        calls += 1
        if descriptor >= 0:
            os.write(descriptor, b"mark\n")
        if calls == way["armed_at"]:
            carry_out(way, arm)
        if calls == way["disarmed_at"]:
            carry_out(way, disarm)

    builtins.mark = mark  # type: ignore[attr-defined]
    if way["how"] == "recorded":
        descriptor = recorder.watch(way["out"] + ".events", [way["program"]])
    elif way["how"] != "plain":
        session: dict[str, object] = {
            "breakpoints": [],
            "every_line": [],
            "cache_dir": way["out"] + ".store",
            "purity": "allow",
            "profile": "development",
            "measure": False,
        }
        session |= {"events": way["out"] + ".events", "main_pid": os.getpid()}
        _engine.take_up(json.dumps(session))
        _engine.set_promotion(way["promotion"])
        _engine.set_backend(way["backend"])


def run(way: Way) -> None:
    """Run the program as the main script of this process."""
    path = way["program"]
    sys.argv = [path]
    sys.path[0] = os.path.dirname(path)  # noqa: PTH120
    main = recorder.fresh_main()
    loader = type(__loader__)  # type: ignore[name-defined]
    main.__dict__.update(__file__=path, __loader__=loader("__main__", path))
    if sys.version_info < (3, 15):
        main.__dict__.update(__cached__=None)
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib may be one of the watched modules
        source = file.read()
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    body = FunctionType(code, main.__dict__)
    prepare(way)
    try:
        if way["how"] == "executed":
            _engine.set_every_line([path])
            _engine.exec(code, main.__dict__)
            return
        del code
        if way["how"] == "loaded" and way["armed_at"] == 0:
            carry_out(way, arm)
        body()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the interpreter reports any exception
        traceback = error.__traceback__
        while traceback and traceback.tb_frame.f_code.co_filename == __file__:
            traceback = traceback.tb_next
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.exit(1)


def become(way: Way) -> None:
    """Have the standard streams of this child where `way` says."""
    for descriptor, name in ((1, ".stdout"), (2, ".stderr")):
        file = os.open(way["out"] + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)


def main() -> None:
    """Fork a child for each way; a child leaves by the end of this function."""
    with open(sys.argv[1]) as file:  # noqa: PTH123
        ways: list[Way] = json.load(file)
    for way in ways:
        child = os.fork()
        if child == 0:
            become(way)
            run(way)
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
