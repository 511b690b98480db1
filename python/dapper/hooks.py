"""Where the interpreter is hooked while a session runs, and how the hooks come off again.

Three names are replaced: `SourceFileLoader.get_code`, and `exec` in the globals of `runpy` and of
pytest's assertion rewriter. What stands in for them is native and does what they did for every
file that no breakpoint names.
"""

import sys
from importlib.machinery import SourceFileLoader

from dapper import _engine

__all__ = ["install", "installed", "uninstall"]

# The modules that run code objects of files by `exec` in their own globals.
_EXECUTORS = ("runpy", "_pytest.assertion.rewrite")


def install() -> None:
    """Hook the loader and the modules that execute code; without effect the second time."""
    if "get_code" not in installed():
        stand_in = _engine.GetCode(SourceFileLoader, SourceFileLoader.get_code)
        SourceFileLoader.get_code = stand_in  # type: ignore[method-assign, assignment]
    for name in _EXECUTORS:
        module = sys.modules.get(name)
        if module is not None and "exec" not in vars(module):
            vars(module)["exec"] = _engine.exec


def uninstall() -> None:
    """Take the hooks off, except where another tool has put its own over ours."""
    if isinstance(vars(SourceFileLoader).get("get_code"), _engine.GetCode):
        del SourceFileLoader.get_code
    for name in _EXECUTORS:
        module = sys.modules.get(name)
        if module is not None and vars(module).get("exec") is _engine.exec:
            del vars(module)["exec"]
    _engine.cancel_main()


def installed() -> list[str]:
    """Name what is hooked now."""
    found = []
    if isinstance(vars(SourceFileLoader).get("get_code"), _engine.GetCode):
        found.append("get_code")
    for name in _EXECUTORS:
        module = sys.modules.get(name)
        if module is not None and vars(module).get("exec") is _engine.exec:
            found.append(f"{name}.exec")
    if _engine.awaits_main():
        found.append("eval_frame")
    return found
