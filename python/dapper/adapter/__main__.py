"""The command `dapper-adapter`; the folder can be run as well, by any supported interpreter.

An editor waits for the answer, so nothing of the package is imported but the engine.
"""

import os
import site
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import NoReturn

    from dapper._engine import _AdapterProgram as AdapterProgram

__all__ = ["main"]

# `pathlib` is too dear for every start.
_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
_PACKAGE = os.path.dirname(_HERE)  # noqa: PTH120


def main(argv: "list[str] | None" = None) -> int:
    """Run the command line and return its exit status."""
    engine = _engine()
    outcome = engine.adapter_main(
        sys.argv[1:] if argv is None else argv,
        {
            "executable": sys.executable,
            "bootstrap": os.path.join(_PACKAGE, "bootstrap"),  # noqa: PTH118
            "starts_itself": _starts_itself(os.path.dirname(_PACKAGE)),  # noqa: PTH120
            "adapter": _HERE,
        },
    )
    if not isinstance(outcome, int):
        _become(outcome, engine)
    return outcome


def _become(program: "AdapterProgram", engine: "ModuleType") -> "NoReturn":
    """Run a program in the main thread, while the adapter goes on in others."""
    # The program's main module is another one.
    globals()["__name__"] = "dapper.adapter.__main__"
    sys.modules["dapper._engine"] = engine
    root = os.path.dirname(_PACKAGE)  # noqa: PTH120
    sys.path.insert(0, root)
    try:
        from dapper.adapter.program import run  # noqa: PLC0415 - only a program needs it
    finally:
        sys.path.remove(root)
    is_folder = sys.path[:1] == [_HERE]
    run(program, replaces_path=is_folder or not sys.flags.safe_path)


def _engine() -> "ModuleType":
    """Return the engine, of which a folder that is run knows no more than where it is."""
    if __package__:
        from dapper import _engine  # noqa: PLC0415 - the package is there

        return _engine
    from importlib.machinery import (  # noqa: PLC0415
        EXTENSION_SUFFIXES,
        ExtensionFileLoader,
        ModuleSpec,
    )

    for suffix in EXTENSION_SUFFIXES:
        path = os.path.join(_PACKAGE, "_engine" + suffix)  # noqa: PTH118
        if os.path.exists(path):  # noqa: PTH110
            loader = ExtensionFileLoader("dapper._engine", path)
            module = loader.create_module(ModuleSpec("dapper._engine", loader, origin=path))
            loader.exec_module(module)
            return module
    sys.exit(f"dapper adapter: {_PACKAGE} has no engine for this interpreter: reinstall dapper")


def _starts_itself(folder: str) -> bool:
    """Tell whether `site` starts dapper in every interpreter like this one."""
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    is_file = os.path.isfile(os.path.join(folder, "dapper.pth"))  # noqa: PTH113, PTH118
    return is_file and folder in folders and not sys.flags.no_site


if __name__ == "__main__":
    sys.exit(main())
