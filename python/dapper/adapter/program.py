"""The program in the process of its adapter: its main thread becomes what a plain run is.

The adapter and the server of the session stay in native threads. What cannot be had again is what
the interpreter settled at its start: its options, and what it read from the environment.
"""

import io
import os
import sys
from functools import partial
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import ModuleType

from dapper import _engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from dapper._engine import _AdapterProgram as AdapterProgram

__all__ = ["run"]

_WRITE = 1


def run(asked: "AdapterProgram", *, replaces_path: bool) -> "NoReturn":
    """Run what the adapter says, and end the process with it.

    `replaces_path` says whether the first entry of `sys.path` is that of the adapter's start.
    """
    # In front of the program, and not in it: nothing stops here.
    if asked["cwd"] is not None:
        os.chdir(asked["cwd"])
    for name, value in asked["env"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        _open_stream(name, number, errors)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_engine.leave_program_to_parent)
    sys.argv = list(asked["target"])
    main = _main_module()
    start, folder = _prepare(main)
    sys.modules["__main__"] = main
    if replaces_path:
        del sys.path[0]
    if folder is not None:
        sys.path.insert(0, folder)
    if asked["session"] is None:
        _prepare_for_the_end()
    else:
        os.environ["DAPPER"] = "run"
        os.environ["DAPPER_SESSION"] = asked["session"]
        import dapper._boot  # noqa: F401, PLC0415 - it begins the session
    _engine.run_program(start)


def _open_stream(name: str, number: int, errors: str) -> None:
    """Have what is printed be written at once, as with `PYTHONUNBUFFERED`."""
    raw = io.FileIO(number, "w", closefd=False)
    raw.name = f"<{name}>"
    stream = io.TextIOWrapper(
        raw,
        encoding="utf-8",
        errors=errors,
        newline="\n",
        write_through=True,
    )
    stream.mode = "w"  # type: ignore[misc]
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _main_module() -> ModuleType:
    """Make what the interpreter begins a program with."""
    main = ModuleType("__main__")
    names = vars(sys.modules["__main__"])
    vars(main)["__builtins__"] = sys.modules["builtins"]
    vars(main)["__loader__"] = BuiltinImporter
    # Which of these there are depends on the version.
    if "__annotations__" in names:
        vars(main)["__annotations__"] = {}
    if "__cached__" in names:
        vars(main)["__cached__"] = None
    return main


def _prepare(main: ModuleType) -> "tuple[Callable[[], object], str | None]":
    """Return what runs the command line, and what is to stand first on `sys.path`."""
    names = vars(main)
    code: object
    execute: Callable[..., object] = exec
    option = sys.argv[0]
    if option in ("-c", "-m"):
        names.pop("__cached__", None)
    if option == "-c":
        code = compile(sys.argv.pop(1), "<string>", "exec", dont_inherit=True)
        return partial(execute, code, names), None if sys.flags.safe_path else ""
    if option == "-m":
        module = sys.argv.pop(1)
        folder = None if sys.flags.safe_path else os.getcwd()  # noqa: PTH109 - as runpy has it
        return partial(_run_module(), module), folder
    if os.path.isdir(option) or _is_archive(option):  # noqa: PTH112 - as below
        return partial(_run_module(), "__main__", alter_argv=False), option
    path = os.path.join(os.getcwd(), option)  # noqa: PTH109, PTH118 - as the interpreter does
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", path)
        code = compiled.get_code("__main__")
        names["__loader__"] = compiled
    else:
        loader = SourceFileLoader("__main__", path)
        code = compile(loader.get_data(path), path, "exec", dont_inherit=True)
        names["__loader__"] = loader
    names["__file__"] = path
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - what `sys.path` holds is text
    return partial(execute, code, names), None if sys.flags.safe_path else folder


def _run_module() -> "Callable[..., object]":
    from runpy import _run_module_as_main  # type: ignore[attr-defined]  # noqa: PLC0415 - as it says

    run: Callable[..., object] = _run_module_as_main
    return run


def _is_archive(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is too dear for every start
        return file.read(4) == b"PK\x03\x04"


def _prepare_for_the_end() -> None:
    leave = os._exit

    def _exit(status: int) -> None:
        _engine.conclude_session(status)
        leave(status)

    os._exit = _exit  # type: ignore[assignment]
