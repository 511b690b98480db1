"""Starts dapper in an interpreter whose environment asks for it, and does nothing in any other.

`site` calls `start` through `dapper.start` (3.15 and later) or `dapper.pth` (before).
It lies beside the package so that an interpreter that is not asked never imports the package.
"""

import os
import sys

__all__ = ["start"]


def start() -> None:
    """Import `dapper._boot` when it is asked for and the environment counts (no -E, no -I)."""
    asked = os.environ.get("DAPPER") or os.environ.get("DAPPER_BREAKPOINTS")
    if asked and not sys.flags.ignore_environment:
        __import__("dapper._boot")
