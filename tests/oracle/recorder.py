"""Record the line events of a program: the slow, trusted side of the oracle.

Usage: python recorder.py EVENTS FILES (PROGRAM | -m MODULE) [ARGUMENT...]

FILES are the absolute paths to watch, joined by `os.pathsep`.
EVENTS gets one line for each event: index of the file in FILES, qualified name, line number, and
whether the event is spurious.
Events are written as they happen, so that an exit of any kind loses none.
The program runs in a fresh `__main__`, and its traceback is shown without the recorder's frames.
"""

import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

# When a Python function that was called without a C call returns or raises, 3.12 takes the last
# inline cache of the calling instruction for the previous instruction. It has no line, so that a
# jump target right behind it (`a and f() or b`), or a handler of the same line, raises the event of
# the line once more.
SPURIOUS_BEHIND_CACHE = sys.version_info[:2] == (3, 12)
CACHE = 0
PUSH_EXC_INFO = 35


def behind_cache(frame: FrameType, raised_at_cache: bool) -> bool:
    """Tell whether control came to this instruction from an inline cache."""
    code = frame.f_code.co_code
    raised = raised_at_cache and code[frame.f_lasti] == PUSH_EXC_INFO
    return raised or code[frame.f_lasti - 2] == CACHE


def watch(events: str, files: list[str]) -> int:
    """Trace every thread from now on; returns the descriptor that events are written to."""
    descriptor = os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    index = {file: number for number, file in enumerate(files)}
    write = os.write

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in index:
            return None
        before = f"{index[code.co_filename]}\t{code.co_qualname}\t"
        last = 0
        raised_at_cache = False

        def local(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal last, raised_at_cache
            if event == "line":
                again, last = last == frame.f_lineno, frame.f_lineno
                spurious = SPURIOUS_BEHIND_CACHE and again and behind_cache(frame, raised_at_cache)
                write(descriptor, f"{before}{last}\t{spurious:d}\n".encode())
            elif event == "exception":
                # Kept until the next one: RERAISE goes back to where the exception came from.
                raised_at_cache = frame.f_code.co_code[frame.f_lasti] == CACHE
            return local

        return local

    threading.settrace(enter)
    sys.settrace(enter)
    return descriptor


def fresh_main() -> ModuleType:
    """Replace `__main__` by a module as the interpreter makes it."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    if sys.version_info < (3, 14):
        module.__dict__.update(__annotations__={})
    sys.modules["__main__"] = module
    return module


def run_script(path: str, prepare: Callable[[CodeType], object] = lambda _: None) -> None:
    """Run the file `path` the way `python path` does, once its code is prepared."""
    main = fresh_main()
    loader = type(__loader__)  # type: ignore[name-defined]
    main.__dict__.update(__file__=path, __loader__=loader("__main__", path))
    if sys.version_info < (3, 15):
        main.__dict__.update(__cached__=None)
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib may be one of the watched modules
        source = file.read()
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    prepare(code)
    exec(code, main.__dict__)


def run_module(name: str) -> None:
    """Run the module `name` the way `python -m name` does."""
    import runpy

    fresh_main()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def main() -> None:
    """Record what the command line names."""
    events, files, *command = sys.argv[1:]
    if command[0] == "-m":
        sys.argv = command[1:]
        sys.path[0] = os.getcwd()  # noqa: PTH109
        run: Callable[[str], None] = run_module
        target = command[1]
    else:
        sys.argv = command
        sys.path[0] = os.path.dirname(os.path.abspath(command[0]))  # noqa: PTH100, PTH120
        run, target = run_script, command[0]
    watch(events, files.split(os.pathsep))
    show(lambda: run(target))


def show(run: Callable[[], None]) -> None:
    """Run a program, and report what it raises as if it had run alone."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the interpreter reports any exception
        traceback = error.__traceback__
        here = os.path.dirname(__file__)  # noqa: PTH120
        while traceback and os.path.dirname(traceback.tb_frame.f_code.co_filename) == here:  # noqa: PTH120
            traceback = traceback.tb_next
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.exit(1)


if __name__ == "__main__":
    main()
