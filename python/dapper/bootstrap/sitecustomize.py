"""Starts dapper where it is not installed, and makes way for the user's own `sitecustomize`.

This folder stands first on PYTHONPATH. It leaves `sys.path` again, but stays in the environment,
so that child processes start dapper too.
"""

import importlib
import os
import sys

_here = os.path.dirname(__file__)  # noqa: PTH120 - pathlib is too dear for every start


def _is_here(entry: str) -> bool:
    return os.path.realpath(entry or ".") == os.path.realpath(_here)


sys.path[:] = [entry for entry in sys.path if not _is_here(entry)]

_asked = os.environ.get("DAPPER") or os.environ.get("DAPPER_BREAKPOINTS")
if _asked and not sys.flags.ignore_environment:
    _root = os.path.dirname(os.path.dirname(_here))  # noqa: PTH120 - as above
    sys.path.insert(0, _root)
    try:
        __import__("dapper._boot")
    except ImportError as error:
        sys.stderr.write(f"dapper: the program runs without breakpoints: {error}\n")
    finally:
        sys.path.remove(_root)

_own = sys.modules.pop("sitecustomize", None)
try:
    importlib.import_module("sitecustomize")
except ModuleNotFoundError as error:
    if error.name != "sitecustomize":
        raise
    if _own is not None:
        sys.modules["sitecustomize"] = _own
