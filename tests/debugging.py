"""The same debugging session with the debugger of the standard library and with ours."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from tests.launch import python

__all__ = ["Session", "run"]


@dataclass(frozen=True)
class Session:
    """What one run of a program under a debugger wrote, and its exit status."""

    status: int
    out: str
    err: str

    def assert_same(self, stock: Session) -> None:
        """Compare every byte, and show where the two part."""
        for mine, its in ((self.out, stock.out), (self.err, stock.err)):
            difference = difflib.unified_diff(
                its.splitlines(), mine.splitlines(), "stock", "dapper", lineterm=""
            )
            assert mine == its, "\n".join(difference)
        assert self.status == stock.status


def run(module: str, *args: str | Path, cwd: Path, stdin: str = "", **changes: str) -> Session:
    """Run a command line of pdb, with nobody's settings."""
    changes = {"HOME": str(cwd / "home"), "PYTHON_COLORS": "0", **changes}
    store = {"DAPPER_CACHE_DIR": str(cwd / "store")}
    done = python("-m", module, *args, cwd=cwd, stdin=stdin, **store, **changes)
    return Session(done.status, done.out, done.err)
